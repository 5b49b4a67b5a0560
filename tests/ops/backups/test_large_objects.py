"""A large object that the backup's login may not read is named before anything is dumped."""

from __future__ import annotations

import re

import pytest

from ops.backups.errors import BackupError
from ops.models import BackupKind, BackupState
from tests.ops.backups.conftest import Backups

OTHERS = "SELECT lo_from_bytea({}, 'x'); "


def test_the_objects_of_another_role_are_named_and_the_next_step_helps(backups: Backups) -> None:
    backups.execute(OTHERS.format(600001) + OTHERS.format(600002) + OTHERS.format(600003))
    backups.execute("ALTER LARGE OBJECT 600003 OWNER TO srvc_owner")

    with pytest.raises(BackupError) as caught:
        backups.take()

    steps = re.findall(r"GRANT [^;]+;", str(caught.value))
    assert [number for step in steps for number in re.findall(r"\d+", step)] == ["600001", "600002"]
    assert backups.stored == []
    for step in steps:
        backups.execute(step)
    taken = backups.take()
    assert taken.state == BackupState.TAKEN
    rows = {each["name"]: each["rows"] for each in taken.manifest["proof"]["tables"]}
    assert rows["pg_largeobject"] == 3


def test_an_object_that_everybody_may_read_is_in_nobodys_way(backups: Backups) -> None:
    backups.execute(OTHERS.format(600001))
    backups.execute("GRANT SELECT ON LARGE OBJECT 600001 TO PUBLIC")

    assert backups.take().state == BackupState.TAKEN


@pytest.mark.parametrize("kind", [BackupKind.SCHEMA, BackupKind.TABLES])
def test_a_backup_without_large_objects_does_not_ask_for_them(
    kind: BackupKind, backups: Backups
) -> None:
    backups.execute(OTHERS.format(600001))
    tables = ("public.auth_group",) if kind == BackupKind.TABLES else ()

    assert backups.take(kind=kind, tables=tables).state == BackupState.TAKEN
