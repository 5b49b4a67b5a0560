"""Physical backups on the run's own server, of whatever version it is."""

from __future__ import annotations

import pytest

from ops.backups.errors import UnsupportedError
from ops.backups.physical import replicating_server
from ops.backups.take import Request, ask_for_backup, take_backup
from ops.models import BackupKind
from ops.postgres.endpoint import Endpoint
from tests.ops.backups.archive import receive
from tests.ops.backups.conftest import ASKER, Backups


@pytest.fixture
def refusal(backups: Backups) -> str:
    """What an older server's operator is told."""
    return (
        "Base and incremental backups and WAL need PostgreSQL 17 or newer; this server is "
        f"{Endpoint.of('owner').major}. Nothing was taken. What is possible there: full backups "
        "(`manage.py backup --full`) as often as you can bear to lose what came after, and the "
        "provider's own point-in-time recovery."
    )


@pytest.mark.parametrize("kind", [BackupKind.BASE, BackupKind.INCREMENTAL])
def test_an_older_server_is_refused_and_told_what_is_possible(
    backups: Backups, refusal: str, kind: BackupKind
) -> None:
    if Endpoint.of("owner").major >= 17:
        # Taken in test_physical.py, on a server that holds less than every test's database.
        assert replicating_server().timeline == 1
        return
    run = ask_for_backup(Request(kind=kind), by=ASKER)
    with pytest.raises(UnsupportedError) as refused:
        take_backup(run)
    assert str(refused.value) == refusal
    assert backups.stored == []


def test_wal_of_an_older_server_is_not_archived(backups: Backups, refusal: str) -> None:
    if Endpoint.of("owner").major >= 17:
        assert replicating_server().timeline == 1
        return
    with pytest.raises(UnsupportedError) as refused:
        receive()
    assert str(refused.value) == refusal
    assert backups.stored == []
