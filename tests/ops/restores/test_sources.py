"""Of the backups in a storage the newest is found without a catalogue."""

from __future__ import annotations

import itertools
import os
import secrets

import pytest

from ops.backups import naming
from ops.backups.manifest import Manifest
from ops.models import BackupState
from ops.restores.complete.sources import known_source, newest_stored
from ops.restores.errors import RefusedError
from ops.restores.past.pasts import newest_full_backup
from ops.restores.requests import RestoreRequest
from ops.rls.router import as_owner_by_default
from tests.ops.backups.conftest import Backups


def test_of_two_backups_in_one_second_the_newer_is_found(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every name gets the same second, and the newer one sorts first.
    monkeypatch.setattr(naming, "DATE", "%Y-%m-%d-000000")
    tokens = itertools.count(0xFFFFFF, -1)
    monkeypatch.setattr(secrets, "token_hex", lambda length: f"{next(tokens):06x}")
    backups.take(kind="full")
    newer = backups.take(kind="full")
    assert newest_stored().origin == f"the backup {newer.name}"


def test_a_damaged_manifest_is_passed_over_and_told_when_nothing_is_left(backups: Backups) -> None:
    older = backups.take(kind="full")
    newer = backups.take(kind="full")
    manifests = backups.folder / "manifests"
    (manifests / f"{newer.name}.json").write_text("{}")
    assert newest_stored().origin == f"the backup {older.name}"
    (manifests / f"{older.name}.json").write_text("{}")
    with pytest.raises(RefusedError, match="There is no full backup of development"):
        newest_stored()


@pytest.mark.parametrize(
    ("harm", "state"), [("gone", BackupState.MISSING), ("cut off", BackupState.FAILED)]
)
def test_a_backup_whose_file_is_gone_or_cut_off_is_refused_once_and_known_from_then_on(
    backups: Backups, harm: str, state: str
) -> None:
    older = backups.take(kind="full")
    newer = backups.take(kind="full")
    file = backups.folder / Manifest.of_row(newer.manifest).archive.name
    if harm == "gone":
        file.unlink()
    else:
        os.truncate(file, 1000)
    with as_owner_by_default():
        with pytest.raises(RefusedError) as refused:
            known_source(RestoreRequest(backup=newer.name))
        # The sentence leads to the one that is good.
        assert older.name in str(refused.value)
        newer.refresh_from_db()
        assert newer.state == state
        assert newest_full_backup().name == older.name
