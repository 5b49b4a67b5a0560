"""Named moments: made before something risky, and restored to by their name.

A point is a record in the server's WAL. What one can restore to is kept in the catalogue, for the
WAL itself can't be searched; the segment is closed at once, so that the point is in the archive as
soon as the receiver has stored it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from django.conf import settings
from django.db import IntegrityError, transaction

from ops.backups.physical import OLDEST_MAJOR
from ops.models import Backup, RestorePoint, Run, RunKind
from ops.models.backups import PHYSICAL
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import one_line
from ops.postgres.roles import MAINTENANCE_DATABASE
from ops.restores.errors import RefusedError
from ops.restores.moments.live import Live, live_server
from ops.restores.moments.targets import require_point_name
from ops.runs import OWNER, Asker, ask, running

_MAKE = """
    SELECT clock_timestamp(), pg_create_restore_point(%s)::text
"""


@dataclass(frozen=True)
class _Server:
    endpoint: Endpoint
    live: Live


def ask_for_restore_point(name: str, *, by: Asker) -> Run:
    """Record that somebody wants a restore point. Nothing is made yet.

    Raises RefusedError for a name that can't be one, or that is taken.
    """
    _require_free(require_point_name(name))
    return ask(RunKind.RESTORE_POINT, name, by=by, arguments={"name": name})


def make_restore_point(run: Run) -> RestorePoint:
    """Make the restore point a run asks for, and return its row.

    Raises RefusedError where the server can't have one; nothing is made then. What would keep
    anybody from restoring to it is said.
    """
    with running(run) as own:
        name = require_point_name(str(run.arguments.get("name") or run.subject))
        _require_free(name)
        server = _server()
        endpoint = server.endpoint.at(MAINTENANCE_DATABASE)
        with transaction.atomic(using=OWNER):
            # The row first: a name that somebody else has taken meanwhile leaves no point behind.
            point = _reserved(name, server.live, run.asked_by)
            point.made_at, point.lsn = _make(endpoint, name)
            point.save(update_fields=["made_at", "lsn"])
        own.say(f"{name} is the moment {point.made_at:%Y-%m-%d %H:%M:%S.%f} UTC, at {point.lsn}.")
        for warning in [*_close_segment(endpoint), *_warnings(server.live)]:
            own.say(f"WARNING: {warning}")
    return point


def _require_free(name: str) -> None:
    taken = RestorePoint.objects.filter(name=name).first()
    if taken is not None:
        raise RefusedError(
            f"There is a restore point {name} already, of {taken.made_at:%Y-%m-%d %H:%M:%S} UTC. "
            "Nothing was made. Choose another name: a point can't be moved."
        )


def _server() -> _Server:
    endpoint = Endpoint.of(OWNER)
    if endpoint.major < OLDEST_MAJOR:
        raise RefusedError(
            f"Restore points need PostgreSQL {OLDEST_MAJOR} or newer; this server is "
            f"{endpoint.major}. Nothing was made: nobody could restore to it. Take a full backup "
            "instead (`manage.py backup`)."
        )
    with endpoint.connect() as connection:
        row = connection.execute("SELECT current_setting('wal_level')").fetchone()
    if row is not None and row[0] == "minimal":
        raise RefusedError(
            "The server writes too little WAL for restore points (wal_level is minimal). Nothing "
            "was made. As a superuser: ALTER SYSTEM SET wal_level = 'replica', and restart it."
        )
    live = live_server()
    if live is None:
        raise RefusedError(
            "The server went away. Nothing was made. See that it runs, and run this again."
        )
    return _Server(endpoint, live)


def _reserved(name: str, live: Live, made_by: str) -> RestorePoint:
    try:
        with transaction.atomic(using=OWNER):
            return RestorePoint.objects.create(
                name=name,
                lsn="",
                timeline=live.timeline,
                system_identifier=live.system_identifier,
                made_at=live.at,
                made_by=made_by,
            )
    except IntegrityError:
        _require_free(name)
        raise


def _make(endpoint: Endpoint, name: str) -> tuple[datetime, str]:
    try:
        with endpoint.connect() as connection:
            row = connection.execute(_MAKE, [name]).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        raise RefusedError(
            f"The server does not let {endpoint.user} make restore points. Nothing was made. "
            "`manage.py provision` with a superuser's URL allows it; on a managed service that "
            "does not, take a full backup instead (`manage.py backup`)."
        ) from None
    except psycopg.Error as error:
        raise RefusedError(
            f"The server refused the restore point {name}: {one_line(error)}. Nothing was made."
        ) from None
    assert row is not None
    return row[0], str(row[1])


def _close_segment(endpoint: Endpoint) -> list[str]:
    """Have the server close the segment with the point in it; return why it does not."""
    try:
        with endpoint.connect() as connection:
            connection.execute("SELECT pg_switch_wal()")
    except psycopg.Error as error:
        why = one_line(error)
        return [f"its segment of WAL could not be closed ({why}): it is stored once that is full."]
    return []


def _warnings(live: Live) -> list[str]:
    """Return what would keep anybody from restoring to it, in sentences."""
    found = []
    if not live.receiving:
        found.append(
            "no walreceiver fetches the server's WAL, so the point is not in the archive and can't "
            "be restored to. Start `manage.py walreceiver` before the server needs the room."
        )
    bases = Backup.objects.of_environment(settings.ENVIRONMENT).good().of_kind(*PHYSICAL)
    if not any(
        str(server) == live.system_identifier
        for server in bases.values_list("manifest__server__system_identifier", flat=True)
    ):
        found.append(
            "there is no base backup of this server from before the point, so it can't be restored "
            "to. Take one (`manage.py backup --base`) before the next point."
        )
    return found
