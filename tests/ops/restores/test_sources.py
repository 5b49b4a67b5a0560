"""Of the backups in a storage the newest is found without a catalogue."""

from __future__ import annotations

import itertools
import secrets

import pytest

from ops.backups import naming
from ops.restores.complete.sources import newest_stored
from ops.restores.errors import RefusedError
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
