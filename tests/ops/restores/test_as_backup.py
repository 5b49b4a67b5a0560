"""What is on a private server becomes a backup like any other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops.backups.deep import prove
from ops.backups.inspection import inspect
from ops.backups.proof import Proof
from ops.backups.scratch import Scratch
from ops.backups.scratch import scratch as private_server
from ops.progress import CancelledError, Counter
from ops.restores.as_backup import as_backup
from ops.restores.private import PrivateDatabase
from tests.ops.backups.conftest import Backups

HOLDS = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)


def private(place: Scratch) -> PrivateDatabase:
    with place.connect() as connection:
        connection.execute('CREATE DATABASE "it\'s a ""name"""')
    found = PrivateDatabase(place, 'it\'s a "name"', "the file x.sql", HOLDS)
    with found.connect() as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('one'), ('two')")
    return found


@pytest.mark.usefixtures("backups")
def test_a_private_database_becomes_a_proven_backup(tmp_path: Path, backups: Backups) -> None:
    cancelled = Counter()
    cancelled.cancel()
    with private_server() as place:
        database = private(place)
        manifest, vault = as_backup(database, tmp_path / "aside", Counter())
        with pytest.raises(CancelledError):
            as_backup(database, tmp_path / "cancelled", cancelled)
    assert (manifest.kind, manifest.environment) == ("full", "development")
    assert manifest.taken_at == "2026-11-22T14:05:00+00:00"
    assert manifest.details["origin"] == "the file x.sql"
    assert manifest.database["name"] == 'it\'s a "name"'
    assert manifest.archive.encryption == "none"
    assert manifest.proof is not None
    (table,) = Proof.from_json(manifest.proof).tables
    assert (table.schema, table.name, table.rows) == ("public", "kept", 2)
    seen = inspect(manifest.name, vault, Counter())
    assert seen.manifest == manifest
    assert prove(seen, vault, Counter()).startswith("Restored and equal: 1 tables, 2 rows")
    assert backups.folder.exists() is False
    left = [path for path in (tmp_path / "cancelled").rglob("*") if path.is_file()]
    assert left == []
