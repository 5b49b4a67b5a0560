"""Health checks of what only this app knows."""

from __future__ import annotations

from collections.abc import Iterator

from ops.health.context import Context
from ops.health.contract import HOURLY, Check, Reported, check
from ops.models import Area, Severity

# A worker takes what is queued within seconds; one that is busy with another import, in minutes.
_WAITED = "1 hour"

# Whoever works on an import holds its lock (crm/imports/uploads.py), and PostgreSQL lets go of it
# when that process dies. An advisory lock's number stands in pg_locks as two halves.
_IMPORTS = """
    SELECT r.id, r.status, r.kind, r.user_id, r.updated_at, EXISTS (
        SELECT FROM pg_locks l, hashtextextended('crm.imports.run ' || r.id, 0) AS number
        WHERE l.locktype = 'advisory' AND l.objsubid = 1
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.classid::bigint = (number >> 32) & 4294967295
          AND l.objid::bigint = number & 4294967295)
    FROM public.imports r
    WHERE r.status IN ('queued', 'running') AND r.updated_at < %s - %s::interval
    ORDER BY r.id
"""


@check(Area.INTEGRITY, "Imports that wait or were left in the middle", every=HOURLY)
def stuck_imports(context: Context) -> Iterator[Reported]:
    """Somebody uploaded a file and sees it wait. Nothing is imported until a worker takes it, and
    what a worker left in the middle is not imported at all.
    """
    for number, status, kind, account, since, is_held in context.rows(
        _IMPORTS, [context.now, _WAITED]
    ):
        if status == "running" and is_held:
            continue
        is_left = status == "running"
        yield Reported(
            str(number),
            Severity.WARNING,
            f"Import {number} was left in the middle" if is_left else f"Import {number} waits",
            f"{kind.capitalize()} of account {account}, unchanged since {since:%Y-%m-%d %H:%M} "
            "UTC. "
            + (
                "Its worker stopped, so nothing of it was imported; its page says so to whoever "
                "opens it, and the file has to be uploaded again."
                if is_left
                else "No worker takes it: run one, and see why the last one ended."
            ),
            f"UPDATE public.imports SET status = 'refused', content = '', finished_at = now(), "  # noqa: S608
            f"message = 'The worker stopped in the middle. Nothing was imported; upload the file "
            f"again.' WHERE id = {number} AND status = 'running';"
            if is_left
            else "manage.py worker --queue-name default",
            f"import {number}",
        )


CHECKS: tuple[Check, ...] = (stuck_imports,)
