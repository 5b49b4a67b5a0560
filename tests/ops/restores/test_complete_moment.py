"""A moment takes the live database's place, through the same comparison and swap as a backup."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections
from pytest_django import Settings

from ops.backups.wal.slot import drop_slot
from ops.models import BackupKind, RestoreState
from ops.postgres.endpoint import Endpoint
from ops.restores.complete.restore import ask_for_restore, dry_run, restore
from ops.restores.errors import UnreachableError
from ops.restores.moments.points import ask_for_restore_point, make_restore_point
from ops.restores.requests import RestoreRequest
from tests.factories import make_business
from tests.ops.backups.archive import receive
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.replicating import server_of_a_module
from tests.ops.restores.restorable import Restorable, made_restorable

server = server_of_a_module()


@pytest.fixture
def live(backups: Backups, settings: Settings) -> Iterator[Restorable]:
    settings.RESTORE_WAL_WAIT_SECONDS = 0
    with made_restorable(backups) as found:
        yield found
    endpoint = Endpoint.replication()
    assert endpoint is not None
    drop_slot(endpoint)


def test_a_restore_point_becomes_the_live_database(live: Restorable) -> None:
    make_business(name="Before")
    receive()
    live.backups.take(kind=BackupKind.BASE)
    make_restore_point(ask_for_restore_point("before-import", by=ASKER))
    before = live.proof()
    live.backups.execute("UPDATE public.accounts SET name = 'After'")
    receive()
    connections.close_all()

    request = RestoreRequest(moment="before-import", safety_backup=False)
    plan = dry_run(request)
    assert plan.refusals == ()
    assert plan.steps[0].startswith("the moment before-import becomes a backup with proof")
    with pytest.raises(UnreachableError):
        dry_run(RestoreRequest(moment="2999-01-01"))

    row = restore(ask_for_restore(request, by=ASKER))
    assert row.state == RestoreState.SWAPPED
    assert [each for each in live.differences(before) if "sequence" not in each] == []
    assert live.scalar("SELECT name FROM public.accounts") == "Before"
    assert "before-import" in row.origin
