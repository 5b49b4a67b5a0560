"""What moves while a backup is taken, or is in the database and in no dump, is no fault of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ops.backups import logical
from ops.backups.dump_restore.administrator_needs import LEFT_OUT_DETAIL
from ops.backups.inspection import read_manifest
from ops.backups.manifest import Manifest
from ops.backups.proof import Proof, SequenceProof
from ops.backups.vault import Vault
from ops.backups.verify import ask_for_verification, verify_backup
from ops.models import Backup, BackupState
from tests.ops.backups.conftest import ASKER, Backups


def proven(backup: Backup) -> Backup:
    verify_backup(ask_for_verification(backup, by=ASKER, deep=True))
    return Backup.objects.get(pk=backup.pk)


def while_dumping(monkeypatch: pytest.MonkeyPatch, backups: Backups, statement: str) -> None:
    """Let a statement run after the sequences are read and before pg_dump begins."""
    store = logical._store

    def later(*arguments: Any) -> Any:
        backups.execute(statement)
        return store(*arguments)

    monkeypatch.setattr(logical, "_store", later)


def sequences_of(backup: Backup) -> dict[str, SequenceProof]:
    proof = Manifest.of_row(backup.manifest).proof
    assert proof is not None
    return {each.name: each for each in Proof.from_json(proof).sequences}


def test_a_sequence_that_starts_over_or_is_set_back_meanwhile_is_no_difference(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups.execute(
        "CREATE SEQUENCE turning MAXVALUE 5000 CYCLE; CREATE SEQUENCE clock MAXVALUE 3 CYCLE;"
        "CREATE SEQUENCE nightly; CREATE SEQUENCE restarted; CREATE SEQUENCE plain;"
        "SELECT setval('turning', 4999), setval('clock', 3), setval('nightly', 100),"
        " setval('restarted', 100), setval('plain', 100);"
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO srvc_owner"
    )
    while_dumping(
        monkeypatch,
        backups,
        "SELECT nextval('turning') FROM generate_series(1, 9);"
        "SELECT nextval('clock'), setval('nightly', 5), nextval('plain');"
        "ALTER SEQUENCE restarted RESTART",
    )

    taken = proven(backups.take())

    found = sequences_of(taken)
    assert {name for name, each in found.items() if each.may_go_back} == {
        "turning",
        "clock",
        "nightly",
        "restarted",
    }
    assert taken.state == BackupState.PROVEN, taken.state_note


def test_a_sequence_that_stands_still_is_compared_exactly(backups: Backups) -> None:
    backups.execute("CREATE SEQUENCE turning CYCLE; GRANT ALL ON turning TO srvc_owner")

    found = sequences_of(backups.take())

    assert not any(each.may_go_back for each in found.values())


@pytest.fixture
def subscribed(backups: Backups) -> Iterator[Backups]:
    """Return an installation that gets another one's changes."""
    backups.execute(
        "CREATE SUBSCRIPTION news CONNECTION 'host=/nowhere' PUBLICATION there"
        " WITH (connect = false, slot_name = NONE);"
        "COMMENT ON SUBSCRIPTION news IS 'from there'"
    )
    yield backups
    backups.execute("DROP SUBSCRIPTION news")


def test_a_subscription_is_not_in_an_owners_dump_and_named(subscribed: Backups) -> None:
    taken = proven(subscribed.take())

    assert taken.state == BackupState.PROVEN, taken.state_note
    told = read_manifest(taken.name, Vault.primary()).details
    assert told[LEFT_OUT_DETAIL] == ["comment on subscription news", "subscription news"]
