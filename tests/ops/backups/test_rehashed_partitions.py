"""Rows that a restore puts into other partitions are proven, and none of them may be lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ops.backups.dump_restore.comparing import Restored
from ops.backups.manifest import Manifest
from ops.backups.placement import rehashed_partitions
from ops.backups.proof import Proof
from ops.backups.verify import ask_for_verification, verify_backup
from ops.models import Backup, BackupState, RecoveryState, RestoreState
from ops.postgres.endpoint import Endpoint
from ops.restores.complete.restore import ask_for_restore, restore
from ops.restores.partial.recover import ask_for_recovery, recover
from ops.restores.requests import RecoverRequest, RestoreRequest
from ops.runs import OWNER
from tests.harness import database
from tests.ops.backups.conftest import ASKER
from tests.ops.backups.copies import proof_of, rolled_back
from tests.ops.backups.kinds import KINDS
from tests.ops.backups.kinds.loading import Corpus, loaded

pytestmark = pytest.mark.long

REHASHED = [each.schema for each in KINDS if "rehashed" in each.name]


@pytest.fixture(scope="module")
def corpus(
    django_test_environment: None, django_db_blocker: Any, worker_id: str
) -> Iterator[Corpus]:
    with django_db_blocker.unblock():
        kinds = [each for each in KINDS if "rehashed" in each.name or each.name == "partition_list"]
        with loaded(f"{worker_id}_rehashed", refused=False, of=kinds) as found:
            yield found


@pytest.fixture(scope="module")
def taken(corpus: Corpus) -> Backup:
    assert corpus.unmade == {}
    return corpus.backups.take()


@pytest.fixture(scope="module")
def copy(corpus: Corpus, taken: Backup) -> str:
    """The database that the backup was restored into."""
    name = f"{corpus.name}_copy"
    request = RestoreRequest(backup=taken.name, as_name=name)
    done = restore(ask_for_restore(request, by=ASKER))
    assert done.state == RestoreState.BESIDE
    return name


def compared(copy: str, taken: Backup, schema: str) -> list[tuple[str, str]]:
    """Return what differs of a schema's rows in the restored database, and where."""
    place = replace(Endpoint.of(OWNER), database=copy)
    with rolled_back(copy) as connection:
        found = proof_of(connection)
    manifest = Manifest.of_row(taken.manifest)
    return [
        (each.what, each.where)
        for each in Restored(place, manifest).rows_differ(found)
        if each.where.startswith(f"{schema}.")
    ]


def test_a_backup_with_rows_that_move_is_proven(taken: Backup) -> None:
    verify_backup(ask_for_verification(taken, by=ASKER, deep=True))

    found = Backup.objects.get(pk=taken.pk)
    assert (found.state, found.state_note[:19]) == (BackupState.PROVEN, "Restored and equal:")


def test_each_kind_really_has_other_rows_in_its_partitions(copy: str, taken: Backup) -> None:
    before = {(each.schema, each.name): each for each in _proof(taken).tables}
    with rolled_back(copy) as connection:
        after = {(each.schema, each.name): each for each in proof_of(connection).tables}

    moved = {key[0] for key, each in before.items() if key[0] in REHASHED and after[key] != each}
    assert moved == set(REHASHED)


def test_only_partitions_below_such_a_hash_are_added_up(copy: str) -> None:
    with rolled_back(copy) as connection:
        found = rehashed_partitions(connection)

    assert {schema for schema, _ in found} == set(REHASHED)
    ranged = {key[1]: table[1] for key, table in found.items() if "ranged_and" in key[0]}
    assert ranged == {"h1": "h", "h2": "h"}  # and r1, by range, is compared by itself


def test_rows_are_recovered_from_them(corpus: Corpus, taken: Backup) -> None:
    with corpus.owner() as connection:
        connection.execute(b"DELETE FROM k_partition_rehashed_enum.t WHERE b > 110")

    request = RecoverRequest(tables=("k_partition_rehashed_enum.t",), backup=taken.name)
    done = recover(ask_for_recovery(request, by=ASKER))

    assert done.state == RecoveryState.APPLIED
    with corpus.owner() as connection:
        row = connection.execute(b"SELECT count(*) FROM k_partition_rehashed_enum.t").fetchone()
    assert row == (120,)


@pytest.mark.parametrize("schema", REHASHED)
def test_a_lost_and_a_changed_row_are_found(schema: str, copy: str, taken: Backup) -> None:
    whole = "h" if "ranged_and" in schema else "t"
    assert compared(copy, taken, schema) == []
    with database.connect(copy) as connection:
        connection.execute(f"UPDATE {schema}.t SET b = 500 WHERE b = 100".encode())
        assert compared(copy, taken, schema) == [("content", f"{schema}.{whole}")]
        connection.execute(f"DELETE FROM {schema}.t WHERE b = 500".encode())
        assert compared(copy, taken, schema) == [("rows", f"{schema}.{whole}")]


def _proof(taken: Backup) -> Proof:
    proof = Manifest.of_row(taken.manifest).proof
    assert proof is not None
    return Proof.from_json(proof)
