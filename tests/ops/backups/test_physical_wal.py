"""A base backup brings the WAL from its own beginning to its end, whatever the server does."""

from __future__ import annotations

import pytest

from ops.backups.errors import BackupError
from ops.backups.take import Request, ask_for_backup, take_backup
from ops.models import Backup, BackupKind
from ops.postgres.endpoint import Endpoint
from tests.harness.waiting import wait_until
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


def free_slots(backups: Backups) -> int:
    """Return how many are free, once those of sessions that have just ended are."""
    wait_until(lambda: not any(slot.startswith("srvc_backup_") for slot in slots(backups)))
    with backups.connect() as connection:
        row = connection.execute("SHOW max_replication_slots").fetchone()
    assert row is not None
    return int(row[0]) - len(slots(backups))


def test_wal_that_a_checkpoint_would_remove_stays_until_the_backup_has_it(backups: Backups) -> None:
    busy = Busy(backups)
    taken = take_base(busy)
    slot = f"srvc_backup_{taken.name[-6:]}"
    assert busy.slots == [(slot, True)]
    assert busy.said == []
    # The server takes a moment to notice that a session with a temporary slot has ended.
    wait_until(lambda: slot not in slots(backups))


def test_without_a_free_slot_it_says_so_and_a_removed_segment_ends_it(backups: Backups) -> None:
    replication = Endpoint.replication()
    assert replication is not None
    with replication.connect() as holder:
        for number in range(free_slots(backups)):
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
