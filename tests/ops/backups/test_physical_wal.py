"""A base backup brings the WAL from its own beginning to its end, whatever the server does."""

from __future__ import annotations

import pytest

from ops.backups.errors import BackupError
from ops.backups.take import Request, ask_for_backup, take_backup
from ops.models import Backup, BackupKind
from ops.postgres.endpoint import Endpoint
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.replicating import During, server_of_a_module

server = server_of_a_module()


class Busy(During):
    """Lets a server write and checkpoint while its files are copied, and keeps what was said."""

    def __init__(self, backups: Backups) -> None:
        super().__init__(self._work)
        self._backups = backups
        self.slots: list[tuple[str, bool]] = []
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def _work(self) -> None:
        with self._backups.connect() as connection:
            self.slots = connection.execute(
                "SELECT slot_name, temporary FROM pg_replication_slots"
                " WHERE slot_name LIKE 'srvc_backup_%' AND active"
            ).fetchall()
            for _ in range(4):
                connection.execute("SELECT pg_switch_wal(), txid_current()")
                connection.execute("CHECKPOINT")


def take_base(busy: Busy) -> Backup:
    return take_backup(ask_for_backup(Request(kind=BackupKind.BASE), by=ASKER), busy)


def slots(backups: Backups) -> set[str]:
    with backups.connect() as connection:
        found = connection.execute("SELECT slot_name FROM pg_replication_slots").fetchall()
    return {name for (name,) in found}


def test_wal_that_a_checkpoint_would_remove_stays_until_the_backup_has_it(backups: Backups) -> None:
    busy, before = Busy(backups), slots(backups)
    taken = take_base(busy)
    assert busy.slots == [(f"srvc_backup_{taken.name[-6:]}", True)]
    assert busy.said == []
    assert slots(backups) == before


def test_without_a_free_slot_it_says_so_and_a_removed_segment_ends_it(backups: Backups) -> None:
    replication = Endpoint.replication()
    assert replication is not None
    with backups.connect() as connection:
        row = connection.execute("SHOW max_replication_slots").fetchone()
        assert row is not None
        free = int(row[0]) - len(slots(backups))
    with replication.connect() as holder:
        for number in range(free):
            holder.execute(f"CREATE_REPLICATION_SLOT taken_{number} TEMPORARY PHYSICAL".encode())
        busy = Busy(backups)
        with pytest.raises(BackupError) as refused:
            take_base(busy)
    assert "".join(busy.said) == (
        "The server has no free replication slot to keep WAL for this backup: a checkpoint "
        "meanwhile may end it. Raise max_replication_slots."
    )
    assert str(refused.value).startswith(
        "The server broke the copy off. Its log says why; mostly it has removed WAL that the backup"
        " still needed: "
    )
    assert str(refused.value).endswith(
        "Nothing that looks like a backup was left. Raise max_slot_wal_keep_size and "
        "max_replication_slots, and run this again."
    )
    assert backups.stored == []
