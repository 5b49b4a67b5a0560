"""Checks of the area replication: standbys, slots, and whoever fetches WAL for the archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from ops import words
from ops.backups.physical import OLDEST_MAJOR
from ops.backups.plan import plan
from ops.backups.wal.slot import SLOT
from ops.health.context import Context
from ops.health.contract import OFTEN, Check, Reported, check
from ops.health.quoting import literal
from ops.health.steps import as_superuser
from ops.models import Area, BackupKind, Severity

_LAGS = """
    SELECT coalesce(nullif(r.application_name, ''), 'a standby'),
        coalesce(host(r.client_addr), 'this machine'), r.replay_lsn::text,
        greatest(0, pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn))::bigint,
        coalesce(extract(epoch FROM r.replay_lag), 0)::float8
    FROM pg_stat_replication r
    WHERE r.replay_lsn IS NOT NULL AND r.state <> 'backup' AND r.pid NOT IN
        (SELECT active_pid FROM pg_replication_slots
         WHERE slot_name = %s AND active_pid IS NOT NULL)
    ORDER BY 1, 2
"""
_STANDBYS = (
    "SELECT application_name, client_addr, state, sync_state, sent_lsn, replay_lsn, replay_lag "
    "FROM pg_stat_replication;"
)


@check(Area.REPLICATION, "Standbys that lag behind", every=OFTEN)
def replication_lag(context: Context) -> Iterator[Reported]:
    """Who reads from a standby that lags reads what was true before; who fails over to it loses
    what it does not have yet."""
    if context.facts.in_recovery or not context.value("SELECT count(*) FROM pg_stat_replication"):
        return
    context.require_statistics("How far standbys are")
    limits, known = context.limits, context.memory.get("standbys", {})
    kept: dict[str, dict[str, str]] = {}
    for name, address, position, behind, lag in context.rows(_LAGS, [SLOT]):
        key = f"{name} on {address}"
        # The server tells the lag of what was replayed last: one that replays nothing any more
        # seems as quick as ever, and is known by standing still.
        seconds = lag if behind else 0.0
        if behind:
            last = known.get(key, {})
            stands = last.get("at") == position
            since = last["since"] if stands else context.now.isoformat()
            kept[key] = {"at": position, "since": since}
            stood = (context.now - datetime.fromisoformat(since)).total_seconds()
            seconds = max(seconds, stood)
        if seconds >= limits.replication_lag_seconds or behind >= limits.replication_lag_bytes:
            yield Reported(
                key,
                Severity.WARNING,
                f"The standby {name} lags behind",
                f"{name} on {address} has yet to replay {words.size(behind)} of WAL, and is "
                f"{words.duration(seconds)} behind.",
                _STANDBYS,
                f"standby {name}",
            )
    context.memory["standbys"] = kept


@check(Area.REPLICATION, "A standby that does not follow, or that commits wait for", every=OFTEN)
def standby(context: Context) -> Iterator[Reported]:
    """A standby that does not follow is none when it is needed; commits wait for ever for a
    synchronous one that is away."""
    if context.facts.in_recovery:
        yield from _this_standby(context)
        return
    wanted: str = context.value("SELECT current_setting('synchronous_standby_names')")
    if not wanted:
        return
    context.require_statistics("Which standbys are synchronous")
    if not context.value(
        "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')"
    ):
        yield Reported(
            "synchronous",
            Severity.CRITICAL,
            "Commits wait for a standby that is away",
            f"synchronous_standby_names is {wanted!r}, and no such standby is connected. "
            "Transactions that write do not end until one is.",
            as_superuser(
                "ALTER SYSTEM SET synchronous_standby_names = '';\nSELECT pg_reload_conf();"
            ),
        )


def _this_standby(context: Context) -> Iterator[Reported]:
    follows = bool(context.setting("primary_conninfo"))
    paused, receives, lag = context.one(
        "SELECT pg_is_wal_replay_paused(), EXISTS (SELECT FROM pg_stat_wal_receiver),"
        " CASE WHEN pg_last_wal_receive_lsn() IS DISTINCT FROM pg_last_wal_replay_lsn()"
        " THEN coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0)"
        " ELSE 0 END::float8"
    )
    if follows and not receives:
        yield Reported(
            "receiver",
            Severity.CRITICAL,
            "This standby receives nothing from its primary",
            "No process fetches WAL (primary_conninfo): the primary is away, or does not let it "
            "in. What it answers grows old.",
            "manage.py dblogs",
        )
    if paused:
        yield Reported(
            "paused",
            Severity.WARNING,
            "This standby does not replay what it receives",
            "Somebody paused it (pg_wal_replay_pause). What it answers grows old, and the WAL "
            "fills its disk.",
            "SELECT pg_wal_replay_resume();",
        )
    elif lag >= context.limits.replication_lag_seconds:
        yield Reported(
            "lag",
            Severity.WARNING,
            "This standby lags behind",
            f"The last transaction that it replayed is {words.duration(lag)} old, and it has "
            "received more.",
            "SELECT * FROM pg_stat_wal_receiver;",
        )


@dataclass(frozen=True)
class _Slot:
    name: str
    active: bool
    status: str  # reserved, extended, unreserved, lost; "" when it keeps nothing yet
    reason: str  # why it was given up, since PostgreSQL 17
    inactive: float  # seconds


def _slots(context: Context, *, ours: bool) -> list[_Slot]:
    """The slots that last, with how long nobody has read from them: the server's word since
    PostgreSQL 17, before that since when a look saw it first."""
    known: dict[str, str] = context.memory.get("inactive", {})
    kept: dict[str, str] = {}
    found = []
    for name, active, status, reason, since in context.rows(
        "SELECT s.slot_name::text, s.active, coalesce(s.wal_status, ''),"
        " coalesce(to_jsonb(s) ->> 'invalidation_reason', ''),"
        " (to_jsonb(s) ->> 'inactive_since')::timestamptz"
        " FROM pg_replication_slots s WHERE NOT s.temporary AND (s.slot_name = %s) = %s"
        " ORDER BY s.slot_name",
        [SLOT, ours],
    ):
        inactive = 0.0
        if not active:
            kept[name] = known.get(name, context.now.isoformat())
            from_when = since or datetime.fromisoformat(kept[name])
            inactive = max(0.0, (context.now - from_when).total_seconds())
        found.append(_Slot(name, active, status, reason, inactive))
    context.memory["inactive"] = kept
    return found


@check(Area.REPLICATION, "Replication slots that nobody reads from, or that are lost", every=OFTEN)
def replication_slots(context: Context) -> Iterator[Reported]:
    """The server keeps WAL, and rows that were deleted, for a slot's reader; when that one never
    comes back the disk fills, and when the server gives up the reader has to begin anew."""
    for slot in _slots(context, ours=False):
        subject = f"replication slot {slot.name}"
        if slot.status == "lost" or slot.reason:
            yield Reported(
                slot.name,
                Severity.WARNING,
                f"The replication slot {slot.name} is lost",
                "The server has removed WAL that its reader did not have yet"
                f"{f' ({slot.reason})' if slot.reason else ''}. Whoever reads from it has to begin "
                "anew, with another slot.",
                as_superuser(f"SELECT pg_drop_replication_slot({literal(slot.name)});"),
                subject,
            )
        elif slot.status == "unreserved":
            yield Reported(
                slot.name,
                Severity.CRITICAL,
                f"The replication slot {slot.name} is about to be lost",
                "The next checkpoint may remove WAL that its reader does not have yet. Let the "
                "reader go on now, or allow the server to keep more.",
                as_superuser(
                    "ALTER SYSTEM SET max_slot_wal_keep_size = '16GB';\nSELECT pg_reload_conf();"
                ),
                subject,
            )
        elif not slot.active and slot.inactive >= context.limits.slot_inactive_seconds:
            yield Reported(
                slot.name,
                Severity.WARNING,
                f"Nobody reads from the replication slot {slot.name}",
                f"For {words.duration(slot.inactive)} nobody has; the server keeps WAL for it. Let "
                "its reader go on, or drop the slot when there is none any more.",
                as_superuser(f"SELECT pg_drop_replication_slot({literal(slot.name)});"),
                subject,
            )


def _too_old(major: int) -> Reported:
    # Nothing that is run would make it go but one of the two; and full backups are as good as ever.
    return Reported(
        "version",
        Severity.WARNING,
        f"PostgreSQL {major} can't be archived by SRVC",
        f"DATABASE_REPLICATION_URL is set, and base backups and WAL need PostgreSQL {OLDEST_MAJOR} "
        "or newer: neither is taken. Full backups are, and what was written since the newest would "
        "be lost with the server. Remove DATABASE_REPLICATION_URL, or upgrade the server.",
        f"grep -n DATABASE_REPLICATION_URL .env.{settings.ENVIRONMENT}"
        if settings.PRODUCTION_LIKE
        else "grep -n DATABASE_REPLICATION_URL .env",
    )


@check(Area.REPLICATION, "WAL that is not fetched for the archive", every=OFTEN)
def wal_receiver(context: Context) -> Iterator[Reported]:
    """Moments between two base backups can be restored only out of WAL that walreceiver has
    stored."""
    if not settings.REPLICATION_URL or context.facts.in_recovery:
        return
    if context.facts.major < OLDEST_MAJOR:
        yield _too_old(context.facts.major)
        return
    severity = Severity.CRITICAL if settings.PRODUCTION_LIKE else Severity.WARNING
    slots = _slots(context, ours=True)
    if not slots:
        # Elsewhere nobody has promised any moment.
        if settings.PRODUCTION_LIKE and plan().of(BackupKind.BASE).cadence:
            yield Reported(
                "missing",
                severity,
                "WAL is not archived",
                "There is no replication slot for it, so walreceiver has never run on this server "
                "(or the database was restored since). Only the moments of backups can be "
                "restored. Take a base backup once it runs.",
                "manage.py walreceiver",
            )
        return
    (slot,) = slots
    if slot.status == "lost":
        yield Reported(
            "lost",
            Severity.CRITICAL,
            "WAL for the archive is lost",
            "Nobody fetched it for so long that the server removed it. Moments from then on can't "
            "be restored until walreceiver has made the slot anew and a base backup was taken.",
            "manage.py walreceiver",
        )
    elif not slot.active and (
        slot.inactive >= context.limits.slot_inactive_seconds or slot.status == "unreserved"
    ):
        yield Reported(
            "stopped",
            Severity.CRITICAL if slot.status == "unreserved" else severity,
            "Nobody fetches WAL for the archive",
            f"walreceiver does not run for {words.duration(slot.inactive)}. A failure of the disk "
            "now would lose all that was written since.",
            "manage.py walreceiver",
        )


CHECKS: tuple[Check, ...] = (replication_lag, standby, replication_slots, wal_receiver)
