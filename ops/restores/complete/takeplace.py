"""The last steps of a complete restore: writes closed, a backup of what is there, the swap."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import Error, connections
from django.utils import timezone
from psycopg.types.json import Json

from ops.backups.errors import BusyError
from ops.backups.take import Request, ask_for_backup, copy_off_site, take_backup
from ops.models import Backup, RestoreState
from ops.postgres.endpoint import Connection, Endpoint
from ops.progress import Progress
from ops.restores.complete.beside import name_beside
from ops.restores.complete.job import Job
from ops.restores.complete.servercheck import require_no_backup_running
from ops.restores.complete.sources import Source
from ops.restores.complete.steps import WRITES_CLOSED
from ops.words import duration

_LOOK_EVERY = 1.0  # seconds
_MARKED = """
    UPDATE public.ops_restore SET state = %(state)s, beside = '', kept_database = %(kept)s,
        kept_until = %(until)s, swapped_at = now(), phases = %(phases)s, note = %(note)s,
        safety_backup_id = %(backup)s WHERE id = %(id)s
"""


def take_place(job: Job, source: Source, beside: Endpoint) -> None:
    """Let a database that was proven beside take the live one's place. Raises OpsError.

    However it ends, either the old or the new one is whole under the live name: what the new one
    says about its restore was written before the swap, and is true by it.
    """
    from ops.restores.complete.closing import writes_closed
    from ops.restores.complete.swap import swap, take_the_place

    live, kept = job.live, name_beside(job.live.database, "before", job.mark)
    if job.row is not None:
        _wait_for_backups(job.told)
    closed = time.monotonic()
    backup = None
    with writes_closed(f"restore {job.mark}", job.told, endpoint=live):
        if job.row is not None and job.request.safety_backup:
            with job.steps.step("backed up what was there") as step:
                backup = _safety_backup(job)
                step.found = backup.name
        job.told.check()
        connections.close_all()
        began = time.monotonic()
        if job.row is None:
            refused = swap(live.database, beside.database, kept, endpoint=live)
        else:
            refused = take_the_place(
                live.database,
                beside.database,
                kept,
                endpoint=live,
                progress=job.told,
                record=lambda connection: _mark(connection, job, source, kept, backup),
            )
    connections.close_all()
    # From here on nothing may fail any more: the restore has happened.
    now = time.monotonic()
    job.steps.done += [
        {"name": "swapped", "seconds": round(now - began, 3), "found": f"{kept} is kept"},
        {
            "name": WRITES_CLOSED,
            "seconds": round(now - closed, 3),
            "found": "as long as nothing could be changed, with what was done meanwhile",
        },
    ]
    job.note = " ".join([told(job, source, kept, backup), *refused])
    with suppress(Error):
        job.keep(phases=job.steps.done, note=job.note)
    for sentence in refused:
        job.told.say(sentence)
    _afterwards(job, backup)


def _wait_for_backups(progress: Progress) -> None:
    """Wait with open writes until nobody takes a full backup: ours would meet its lock."""
    told = False
    while True:
        try:
            require_no_backup_running()
        except BusyError:
            if not told:
                progress.phase("waiting for a full backup that is being taken")
            told = True
            progress.check()
            time.sleep(_LOOK_EVERY)
        else:
            return


def _safety_backup(job: Job) -> Backup:
    run = ask_for_backup(
        Request(label=f"before_restore_{job.mark}", jobs=job.request.jobs), by=job.by
    )
    # Copied off-site when writes are open again.
    return take_backup(run, job.told, off_site=False)


def _mark(
    connection: Connection, job: Job, source: Source, kept: str, backup: Backup | None
) -> None:
    """Write into the restored database that it is restored: by the swap that becomes true."""
    assert job.row is not None
    values: dict[str, Any] = {
        "state": RestoreState.SWAPPED,
        "kept": kept,
        "until": timezone.now() + timedelta(days=settings.RESTORE_KEEP_DAYS),
        "phases": Json(job.steps.done),
        "note": told(job, source, kept, backup),
        "backup": backup.pk if backup else None,
        "id": job.row.pk,
    }
    connection.execute(_MARKED, values)


def told(job: Job, source: Source, kept: str, backup: Backup | None) -> str:
    """Return what became of a restore, in sentences."""
    compared = next((each["found"] for each in job.steps.done if each["name"] == "compared"), "")
    done = f"Restored from {source.origin} in {duration(job.steps.seconds())}: {compared}."
    done = " ".join([done, *job.warnings])
    if job.row is None:
        return done
    former = f"What was there is in {backup.name}, and" if backup else "The database of before"
    return f"{done} {former} is kept as {kept} for {settings.RESTORE_KEEP_DAYS} days."


def _afterwards(job: Job, backup: Backup | None) -> None:
    """Copy the safety backup off-site, and drop old databases that were kept for long enough."""
    if backup is not None:
        run = backup.runs.newest_first().first()
        if run is not None:
            with suppress(Exception):  # the next backup makes up for it, and its run says why
                copy_off_site(run, backup, job.told)
    with suppress(Exception):
        from ops.restores.complete.kept import expire

        expire(timezone.now())
