"""What the last reading of the WAL archive (`manage.py verify --wal`) found in it."""

from __future__ import annotations

from collections.abc import Iterator

from ops import words
from ops.backups.wal.checking import WAL
from ops.backups.wal.names import lsn
from ops.health.checks.archive import anchors
from ops.health.context import Context
from ops.health.contract import HOURLY, Check, Reported, check
from ops.models import Area, RunKind, Severity

_BAD = """
    SELECT w.segment, w.storage, w.system_identifier, w.timeline,
        (('x' || lpad(split_part(w.end_lsn, '/', 1), 8, '0'))::bit(32)::bigint << 32)
        + ('x' || lpad(split_part(w.end_lsn, '/', 2), 8, '0'))::bit(32)::bigint,
        b ->> 'why', last.began
    FROM (
        SELECT arguments, coalesce(started_at, asked_at) AS began FROM ops_run
        WHERE kind = %s AND arguments ->> 'kind' = %s AND arguments ? 'through'
        ORDER BY id DESC LIMIT 1
    ) last, jsonb_array_elements(last.arguments -> 'bad') b
    JOIN ops_walsegment w ON w.id = (b ->> 'row')::bigint
    WHERE w.end_lsn <> ''
    ORDER BY w.id
"""


@check(Area.BACKUPS, "Damaged WAL segments", every=HOURLY)
def wal_contents(context: Context) -> Iterator[Reported]:
    """A segment that can't be read ends every recovery that needs it, at that point."""
    bases = context.once(anchors)
    for segment, storage, system, timeline, end, why, began in context.rows(
        _BAD, [RunKind.VERIFY.value, WAL]
    ):
        behind_it = any(
            anchor.system_identifier == system
            and (anchor.timeline, anchor.start) >= (timeline, end)
            for anchor in bases
        )
        meaning = (
            "A base backup was taken since, so only moments between the two are lost."
            if behind_it
            else f"No moment after {lsn(end)} can be restored, until there is a newer base backup."
        )
        yield Reported(
            f"{storage} {system} {segment}",
            Severity.INFO if behind_it else Severity.CRITICAL,
            "A stored WAL segment is damaged or missing",
            f"{segment} in {storage} was read {words.ago(began, context.now)}: {why} {meaning}",
            "manage.py verify --wal" if behind_it else "manage.py backup --base",
        )


CHECKS: tuple[Check, ...] = (wal_contents,)
