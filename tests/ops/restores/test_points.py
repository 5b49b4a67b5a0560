"""Named moments: made, listed, refused; and the newest WAL, fetched when somebody asks for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command

from ops.backups.wal.slot import drop_slot
from ops.models import BackupKind, RestorePoint, Run, RunStatus
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.restores.errors import RefusedError
from ops.restores.moments.points import ask_for_restore_point, make_restore_point
from ops.restores.moments.recovering import Target, reach
from tests.ops.backups.archive import receive
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.replicating import server_of_a_module

server = server_of_a_module()
NO_RECEIVER = (
    "WARNING: no walreceiver fetches the server's WAL, so the point is not in the archive and "
    "can't be restored to. Start `manage.py walreceiver` before the server needs the room."
)
NO_BASE = (
    "WARNING: there is no base backup of this server from before the point, so it can't be "
    "restored to. Take one (`manage.py backup --base`) before the next point."
)


@pytest.fixture(autouse=True)
def _no_slot(backups: Backups) -> Iterator[None]:
    """Leave no slot to the next test, whose catalogue knows nothing of it."""
    yield
    endpoint = Endpoint.replication()
    assert endpoint is not None
    drop_slot(endpoint)


def scalar(backups: Backups, query: str) -> Any:
    with backups.connect() as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_a_point_by_command(backups: Backups) -> None:
    before = scalar(backups, "SELECT clock_timestamp()")
    process = backups.manage("restorepoint", "development", "before-import", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    point = RestorePoint.objects.get()
    told = json.loads(out)
    assert (told["name"], told["lsn"], told["timeline"]) == ("before-import", point.lsn, 1)
    assert told["message"].endswith(f"{NO_RECEIVER} {NO_BASE}")
    assert before < point.made_at < scalar(backups, "SELECT clock_timestamp()")
    run = Run.objects.get()
    assert (run.kind, run.status) == ("point", RunStatus.DONE)
    # It is in a segment that was closed behind it.
    assert scalar(
        backups, f"SELECT pg_walfile_name('{point.lsn}') < pg_walfile_name(pg_current_wal_lsn())"
    )
    listed = StringIO()
    call_command("restorepoint", "--list", stdout=listed)
    names = [line.split()[0] for line in listed.getvalue().splitlines()]
    assert names == ["Name", "before-import"]

    with pytest.raises(RefusedError, match="There is a restore point before-import already"):
        ask_for_restore_point("before-import", by=ASKER)
    for words in (["a", "b"], [], ["before-import"], ["2026-11-22"]):
        with pytest.raises(CommandError) as refused:
            call_command("restorepoint", *words)
        assert refused.value.returncode == 2
    assert RestorePoint.objects.count() == 1


def test_a_login_that_may_not_make_points_leaves_none_behind(backups: Backups) -> None:
    function = "pg_catalog.pg_create_restore_point(text)"
    postgres = Endpoint.of("owner").at("postgres")
    with backups.connect() as connection:
        info = connection.info.get_parameters()

    def administer(statement: str) -> None:
        with psycopg.connect(**{**info, "dbname": "postgres"}, autocommit=True) as connection:
            connection.execute(statement.encode())

    administer(f"REVOKE EXECUTE ON FUNCTION {function} FROM {postgres.user}")
    try:
        with pytest.raises(RefusedError) as refused:
            make_restore_point(ask_for_restore_point("p", by=ASKER))
    finally:
        administer(f"GRANT EXECUTE ON FUNCTION {function} TO {postgres.user}")
    assert str(refused.value).startswith(
        "The server does not let srvc_owner make restore points. Nothing was made. "
    )
    assert not RestorePoint.objects.exists()
    assert Run.objects.get().status == RunStatus.FAILED


def test_what_the_archive_lacks_yet_is_fetched_from_the_server(backups: Backups) -> None:
    backups.execute("CREATE TABLE public.seen (word text)")
    receive()
    backups.take(kind=BackupKind.BASE)
    process = backups.manage("walreceiver")
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "fetching WAL of server" in line:
                break
        while not scalar(backups, "SELECT bool_or(active) FROM pg_replication_slots"):
            assert process.poll() is None
        backups.execute("INSERT INTO public.seen VALUES ('in')")
        moment: datetime = scalar(backups, "SELECT clock_timestamp()").astimezone(UTC)
        found = reach(Target.at(moment), Counter())
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert found.note.startswith("WAL up to ")
    assert found.note.endswith(" was fetched for this.")
    assert found.backup.kind == BackupKind.BASE
