"""What the WAL archive has, and what is missing in it."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from ops import words
from ops.backups.wal.gaps import Anchor, Gap, gaps
from ops.backups.wal.names import lsn
from ops.backups.wal.slot import SLOT
from ops.backups.wal.windows import stored_anchors, stored_pieces, systems_of_others
from ops.health.context import Context
from ops.health.contract import HOURLY, Reported, check
from ops.models import Area, Severity
from ops.readiness.reading import readiness
from ops.readiness.value import USUAL_DELAY, Readiness

_WAITING = 48 << 20  # bytes: the segment that is open, and two that are on their way


@check(Area.BACKUPS, "Gaps in the WAL archive", every=HOURLY)
def wal_archive(context: Context) -> Iterator[Reported]:
    """Where a segment is missing, no moment after it can be restored until the next base backup."""
    own, ask = settings.ENVIRONMENT, context.ask
    newest = max(context.once(anchors), key=lambda each: each.moment, default=None)
    others = systems_of_others(own, ask)
    for gap in gaps(each for each in stored_pieces(ask) if each.system_identifier not in others):
        yield _gap(gap, newest)
    yield from _behind(context)


def _gap(gap: Gap, newest: Anchor | None) -> Reported:
    behind_it = (
        newest is not None
        and newest.system_identifier == gap.system_identifier
        and (newest.timeline, newest.start) >= (gap.timeline, gap.end)
    )
    meaning = (
        "A base backup was taken since, so only moments between the two are lost."
        if behind_it
        else "No moment after it can be restored, until there is a base backup that is newer."
    )
    return Reported(
        f"{gap.system_identifier} {gap.timeline} {lsn(gap.start)}",
        Severity.INFO if behind_it else Severity.CRITICAL,
        "WAL is missing from the archive",
        f"{str(gap)[:1].upper()}{str(gap)[1:]}. {meaning}",
        "manage.py backups --rebuild" if behind_it else "manage.py backup --base",
    )


def _behind(context: Context) -> Iterator[Reported]:
    if not settings.REPLICATION_URL or context.facts.in_recovery:
        return
    rows = context.rows(
        "SELECT greatest(0, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))::bigint,"
        " (SELECT max(closed_at) FROM ops_walsegment WHERE end_lsn <> '')"
        # Nobody there to fetch it is told by the check wal_receiver.
        " FROM pg_replication_slots WHERE slot_name = %s AND active",
        [SLOT],
    )
    for kept, closed_at in rows:
        # On a server that nobody writes to time passes, and nothing is waiting.
        if kept < _WAITING or closed_at is None or context.now - closed_at <= USUAL_DELAY:
            continue
        since = words.duration((context.now - closed_at).total_seconds())
        yield Reported(
            "behind",
            Severity.WARNING,
            "WAL reaches the archive late",
            f"walreceiver runs, and has stored nothing for {since}; {words.size(kept)} are "
            "waiting. A failure of the disk now would lose that much work. See what it says: the "
            "storage may be away, or slow.",
            "manage.py backups",
        )


def anchors(context: Context) -> list[Anchor]:
    """Return this environment's physical backups, which WAL is replayed from."""
    return stored_anchors(settings.ENVIRONMENT, context.ask)


def ready(context: Context) -> Readiness:
    """How ready this environment is to be restored, read once for all checks of a run."""
    return context.once(_read)


def _read(context: Context) -> Readiness:
    return readiness(context.now, late=context.limits.late, ask=context.ask)
