"""A restore is taken back: the database it replaced, kept since, takes its place again.

What is undone is kept in its turn, with everything that users wrote since the restore.
"""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connections
from django.utils import timezone

from ops.models import Restore, RestoreState, Run, RunKind
from ops.postgres import server
from ops.postgres.endpoint import Connection, Endpoint
from ops.progress import Counter, Progress, Several
from ops.restores import approval
from ops.restores.complete.beside import name_beside
from ops.restores.complete.closing import writes_closed
from ops.restores.complete.kept import expire, opened
from ops.restores.complete.lock import one_restore_at_a_time
from ops.restores.complete.swap import take_the_place
from ops.restores.errors import RefusedError
from ops.runs import OWNER, Asker, ask, refresh_connection, running

_SHOWN = 3
_MARKED = """
    UPDATE public.ops_restore SET state = %(state)s, undone_at = now(), undone_by = %(by)s,
        kept_database = %(kept)s, kept_until = %(until)s WHERE id = %(id)s
"""


def ask_for_undo(restore: Restore, *, by: Asker) -> Run:
    """Record that somebody wants a restore taken back. Raises RefusedError when it can't be."""
    require_undoable(restore)
    return ask(RunKind.UNDO, str(restore), by=by, arguments={"restore": restore.pk})


def undo_restore(run: Run, progress: Progress | None = None) -> Restore:
    """Take back the restore that a run names; returns its row.

    Raises OpsError; the live database is as it was then.
    """
    told = progress or Counter()
    approval.require(run, told)
    live = Endpoint.of(OWNER)
    with running(run) as own, one_restore_at_a_time(live, run) as session:
        row = Restore.objects.get(pk=run.arguments["restore"])
        require_undoable(row)
        refused = _swap_back(row, run, live, session, Several(own, told))
        row.refresh_from_db()
        own.say(
            f"{row.database} is what it was before that restore. What was undone is kept as "
            f"{row.kept_database} for {settings.RESTORE_KEEP_DAYS} days."
        )
        for sentence in refused:
            own.say(sentence)
            told.say(sentence)
        expire(timezone.now(), live)
    return row


def require_undoable(restore: Restore) -> None:
    """Raise RefusedError, which says why, for a restore that can't be taken back."""
    if restore.state == RestoreState.UNDONE:
        raise RefusedError(f"{restore} was undone already, by {restore.undone_by}.")
    if restore.state != RestoreState.SWAPPED or restore.swapped_at is None:
        raise RefusedError(f"{restore} replaced nothing, so there is nothing to take back.")
    if not restore.kept_database or restore.dropped_at is not None:
        raise RefusedError(
            f"The database that {restore} replaced is not kept any more, so it can't be taken "
            f"back. Nothing was changed.{_other_way(restore)}"
        )
    later = Restore.objects.filter(
        database=restore.database, state=RestoreState.SWAPPED, swapped_at__gt=restore.swapped_at
    ).newest_first()
    if (newer := later.first()) is not None:
        raise RefusedError(
            f"{newer} came after it and has to be undone first. Nothing was changed. "
            f"`manage.py restore --undo {newer.pk}`"
        )


def _other_way(restore: Restore) -> str:
    if restore.safety_backup is None:
        return ""
    return f" Its rows are in a backup: `manage.py restore {restore.safety_backup.name}`"


def _swap_back(
    row: Restore, run: Run, live: Endpoint, session: Connection, told: Progress
) -> list[str]:
    told.phase("looking at the former database")
    if not server.database_exists(session, row.kept_database):
        raise RefusedError(
            f"{row.kept_database} is not on the server any more: somebody dropped it. Nothing was "
            f"changed.{_other_way(row)}"
        )
    undone = name_beside(live.database, "undone", row.pk)
    values: dict[str, Any] = {
        "state": RestoreState.UNDONE,
        "by": run.asked_by,
        "kept": undone,
        "until": timezone.now() + timedelta(days=settings.RESTORE_KEEP_DAYS),
        "id": row.pk,
    }
    with opened(session, row.kept_database):
        _require_same_schema(live, row)
        with writes_closed(f"undoing restore {row.pk}", told, endpoint=live):
            connections.close_all()
            refused = take_the_place(
                live.database,
                row.kept_database,
                undone,
                endpoint=live,
                progress=told,
                record=lambda connection: connection.execute(_MARKED, values),
            )
    refresh_connection()
    return refused


def _require_same_schema(live: Endpoint, row: Restore) -> None:
    """Refuse where the program's schema has moved on since: it could not work on the former one."""
    now, before = _migrations(live), _migrations(live.at(row.kept_database))
    if newer := sorted(now - before):
        more = f" and {len(newer) - _SHOWN} more" if len(newer) > _SHOWN else ""
        raise RefusedError(
            f"The schema has changed since: {row.kept_database} lacks the migrations "
            f"{', '.join(newer[:_SHOWN])}{more}. Nothing was changed. Undo them first (`manage.py "
            f"migrate APP NAME` with the program of then).{_other_way(row)}"
        )


def _migrations(place: Endpoint) -> set[str]:
    with closing(place.connect()) as connection:
        rows = connection.execute("SELECT app || '.' || name FROM public.django_migrations")
        return {name for (name,) in rows}
