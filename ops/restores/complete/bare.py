"""A restore onto a server that has nothing: roles and an empty database, and no catalogue in it.

What the storage holds is enough. What was done is recorded in the database that came out of it.
"""

from __future__ import annotations

import uuid
from contextlib import closing, suppress

import psycopg
from django.conf import settings
from django.db import connections
from django.utils import timezone

from ops.backups.rebuild import ask_to_rebuild, rebuild
from ops.backups.selection import all_tables
from ops.errors import OpsError
from ops.models import Backup, Restore, RestoreState, RunKind
from ops.postgres import server
from ops.postgres.endpoint import Endpoint
from ops.postgres.roles import MAINTENANCE_DATABASE
from ops.progress import Progress
from ops.restores.complete.beside import name_beside
from ops.restores.complete.job import Job
from ops.restores.complete.lock import one_restore_at_a_time
from ops.restores.complete.preflight import Plan, make_plan
from ops.restores.complete.restore import carry_out, clean_up
from ops.restores.complete.sources import Source, newest_stored, stored_source
from ops.restores.complete.steps import Steps
from ops.restores.errors import RefusedError
from ops.restores.requests import RestoreRequest
from ops.runs import OWNER, Asker, record


def is_bare() -> bool:
    """Whether the live database is there and has no table at all, and so no catalogue.

    Raises RefusedError where it is missing, and when it has tables and none of SRVC's: that is
    somebody else's database.
    """
    live = Endpoint.of(OWNER)
    with closing(live.at(MAINTENANCE_DATABASE).connect()) as session:
        if not server.database_exists(session, live.database):
            raise RefusedError(
                f"There is no database {live.database} on this server. Nothing was changed. "
                "`manage.py provision` makes it, with roles and grants; then run this again."
            )
    with closing(live.connect()) as connection:
        row = connection.execute(
            "SELECT to_regclass('public.django_migrations') IS NULL,"
            " to_regclass('public.ops_restore') IS NULL"
        ).fetchone()
        foreign, unmigrated = row or (True, True)
        has_tables = bool(all_tables(connection))
    if not has_tables:
        return True
    if foreign:
        raise RefusedError(
            f"{live.database} has tables, and none of them is SRVC's. Nothing was changed. Check "
            "DATABASE_OWNER_URL."
        )
    if unmigrated:
        raise RefusedError(
            f"{live.database} has no record of restores yet. Nothing was changed. Run `manage.py "
            "migrate` first."
        )
    return False


def bare_source(text: str) -> Source:
    """Return what a name or "" (the newest) means, by the storages alone. Raises OpsError."""
    return stored_source(text) if text else newest_stored()


def plan_bare(source: Source | None, request: RestoreRequest) -> Plan:
    """Return what a restore onto an empty database would do. Raises OpsError."""
    live = Endpoint.of(OWNER)
    with closing(live.at(MAINTENANCE_DATABASE).connect()) as session:
        return make_plan(request, source, session, live)


def restore_bare(
    source: Source | None, request: RestoreRequest, *, by: Asker, progress: Progress
) -> Restore:
    """Restore into an empty database, and record it there; `source` is None for a foreign file.

    Raises OpsError: the database is empty as it was then.
    """
    live = Endpoint.of(OWNER)
    began = timezone.now()
    with one_restore_at_a_time(live) as session:
        clean_up(session, live, progress)
        mark = f"bare_{uuid.uuid4().hex[:6]}"
        job = Job(request, live, mark, by, progress, Steps(progress, lambda done: None), session)
        job.source = source
        carry_out(job)
        if not request.as_name:
            # It was empty, so there is nothing to keep.
            with suppress(psycopg.Error):
                server.drop_database(session, name_beside(live.database, "before", mark))
    connections.close_all()
    if request.as_name:
        return Restore(
            origin=job.origin, database=live.database, beside=request.as_name,
            state=RestoreState.BESIDE, note=job.note, phases=job.steps.done, started_at=began,
        )  # fmt: skip
    return _record(job, by, progress)


def _record(job: Job, by: Asker, progress: Progress) -> Restore:
    """Enter it into the database that was restored, and the storages into its catalogue."""
    note = f"{job.note} {settings.ENVIRONMENT} had nothing before."
    run = record(RunKind.RESTORE, job.origin, by=by, message=note)
    row = Restore.objects.create(
        run=run,
        origin=job.origin[:500],
        holds=job.holds,
        database=job.live.database,
        state=RestoreState.SWAPPED,
        note=note,
        phases=job.steps.done,
        swapped_at=timezone.now(),
    )
    # The data is there whatever the storage says now; `backups --rebuild` can be run again.
    try:
        rebuild(ask_to_rebuild(by=by), progress)
    except OpsError as error:
        progress.say(f"The catalogue of backups could not be read anew: {error}")
    name = job.source.manifest.name if job.source else ""
    row.backup = run.backup = Backup.objects.filter(name=name).first()
    row.save(update_fields=["backup"])
    run.save(update_fields=["backup"])
    return row
