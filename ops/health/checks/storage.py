"""Checks of the area storage: room left, what fills it, and WAL that is kept for somebody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg

from ops import words
from ops.health.context import Context
from ops.health.contract import DAILY, OFTEN, BlindError, Check, Reported, check
from ops.health.disk import Disk, data_is_seen, disk_of, merged, places
from ops.health.growth import Point, days_until_full, last_leap
from ops.health.quoting import literal
from ops.health.steps import as_superuser, granting
from ops.models import Area, Severity

_SEEN = timedelta(days=14)  # of samples that tell how things grow
_SOON = 2.0  # days: no time to wait for a delivery
# A file system without room for files is full, however many bytes are free.
_FILES_SHARE = 0.05


@check(Area.STORAGE, "Disks that are nearly full", every=OFTEN)
def disks(context: Context) -> Iterator[Reported]:
    """On a full disk the database stops, and no backup is taken. Told are the disks of this
    machine: the server's, when it runs here, and those that backups go to."""
    for disk in _disks(context):
        yield from _room(disk, context)
        yield from _forecast(disk, context)


def _disks(context: Context) -> list[Disk]:
    found = []
    if not data_is_seen(context.connection):
        context.blind(
            f"Where the server on this machine keeps its data can't be seen by "
            f"{context.facts.role}, so that its disk is not looked at.",
            granting(context.facts.role, "pg_monitor"),
        )
    for place in places(context.connection):
        try:
            if disk := disk_of(place):
                found.append(disk)
        except BlindError as error:
            context.blind(error.blindness.what)
    return merged(found)


def _room(disk: Disk, context: Context) -> Iterator[Reported]:
    limits, share = context.limits, disk.free / disk.total if disk.total else 1.0
    subject = f"disk of {disk.path}"
    if disk.read_only:
        yield Reported(
            f"{disk.path}: read-only",
            Severity.CRITICAL,
            f"The disk with {disk.holds} can't be written to",
            f"{disk.path} is mounted read-only; systems do so when a disk fails. Save what can "
            "still be read, and look at the kernel's log.",
            "dmesg --level=err,warn",
            subject,
        )
    # A tenth of a very large disk is a lot of room.
    if share < limits.disk_free_share and disk.free < limits.disk_enough_bytes:
        is_critical = share < limits.disk_free_critical_share
        yield Reported(
            f"{disk.path}: room",
            Severity.CRITICAL if is_critical else Severity.WARNING,
            f"The disk with {disk.holds} is nearly full",
            f"{words.size(disk.free)} of {words.size(disk.total)} are free at {disk.path} "
            f"({share:.1%}). When nothing is left the database stops and no backup is taken.",
            f"du --one-file-system --human-readable --max-depth=2 {disk.path}",
            subject,
        )
    if disk.files and disk.files_free < _FILES_SHARE * disk.files:
        yield Reported(
            f"{disk.path}: files",
            Severity.WARNING,
            f"The disk with {disk.holds} has no room for many more files",
            f"{disk.files_free:,} of {disk.files:,} are left at {disk.path}, whatever their size. "
            "Tables, indexes and WAL are files.",
            f"du --one-file-system --inodes --max-depth=2 {disk.path}",
            subject,
        )


def _forecast(disk: Disk, context: Context) -> Iterator[Reported]:
    points: list[Point] = context.rows(
        "SELECT taken_at, value FROM ops_sample WHERE metric = 'disk_free_bytes'"
        " AND subject = %s AND taken_at > %s ORDER BY taken_at",
        [disk.path[-150:], context.now - _SEEN],
    )
    days = days_until_full([*points, (context.now, float(disk.free))])
    if days is not None and days < context.limits.days_until_full:
        yield Reported(
            f"{disk.path}: forecast",
            Severity.CRITICAL if days < _SOON else Severity.WARNING,
            f"The disk with {disk.holds} is soon full",
            f"{words.size(disk.free)} are free at {disk.path}; at the pace of the last days that "
            f"is enough for {days:.1f} days. See what grows, make room, or order a larger disk.",
            "manage.py inspect",
            f"disk of {disk.path}",
        )


@check(Area.STORAGE, "Tables and indexes that grow more than usual", every=DAILY)
def growth(context: Context) -> Iterator[Reported]:
    """What suddenly grows is often a job that repeats itself, or a log that nobody clears.

    Told is what grew on its last day by a gigabyte or more, and by five times the median of the
    days before; of what was measured for less than five days nothing can be told.
    """
    limits = context.limits
    rows = context.rows(
        "WITH recent AS (SELECT metric, subject, taken_at, value FROM ops_sample"
        " WHERE metric IN ('table_bytes', 'index_bytes') AND taken_at > %(since)s)"
        " SELECT metric, subject, taken_at, value FROM recent WHERE (metric, subject) IN"
        " (SELECT metric, subject FROM recent GROUP BY 1, 2"
        "  HAVING max(value) - min(value) >= %(least)s"
        "  AND max(taken_at) > %(fresh)s)",
        {
            "since": context.now - _SEEN,
            "least": limits.growth_bytes,
            "fresh": context.now - timedelta(days=2),
        },
    )
    series: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for metric, subject, taken_at, value in rows:
        series[metric, subject].append((taken_at, value))
    for (metric, subject), points in sorted(series.items()):
        leap = last_leap(points)
        if leap is None or leap.by < max(limits.growth_bytes, limits.growth_times * leap.usual):
            continue
        kind = "table" if metric == "table_bytes" else "index"
        yield Reported(
            f"{kind} {subject}",
            Severity.WARNING,
            f"The {kind} {subject} grows more than usual",
            f"It grew by {words.size(leap.by)} within a day, to {words.size(leap.size)}; usual "
            f"were {words.size(leap.usual)} a day. See what writes so much.",
            f"manage.py inspect {subject}" if kind == "table" else "manage.py inspect",
            f"{kind} {subject}",
        )


@check(Area.STORAGE, "WAL that is kept and not cleared away", every=OFTEN)
def wal_kept(context: Context) -> Iterator[Reported]:
    """The server keeps WAL until everybody who wants it has it: whoever stopped fetching it fills
    the disk, and then the server stops."""
    if context.facts.in_recovery:
        return
    yield from _archiver(context)
    slots, limit = _slots(context), context.value(_KEPT_AT_MOST)
    for name, active, kept in slots:
        if kept < context.limits.wal_kept_bytes:
            continue
        fate = (
            f"At {words.size(limit)} the server gives it up (max_slot_wal_keep_size), and whoever "
            "reads from it has to begin anew."
            if limit >= 0
            else "Nothing limits it (max_slot_wal_keep_size = -1), so it ends with a full disk."
        )
        yield Reported(
            f"slot {name}",
            Severity.WARNING if limit >= 0 else Severity.CRITICAL,
            f"The replication slot {name} keeps much WAL",
            f"{words.size(kept)} wait for whoever reads from it, who is "
            f"{'behind' if active else 'away'}. {fate}",
            as_superuser(f"SELECT pg_drop_replication_slot({literal(name)});"),
            f"replication slot {name}",
        )
    yield from _folder(context, max((kept for _, _, kept in slots), default=0))


def _slots(context: Context) -> list[tuple[str, bool, int]]:
    rows = context.rows(
        "SELECT slot_name::text, active,"
        " greatest(0, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn))::bigint"
        " FROM pg_replication_slots WHERE restart_lsn IS NOT NULL ORDER BY slot_name"
    )
    return [(name, active, kept) for name, active, kept in rows]


# In bytes; the server counts it in MB.
_KEPT_AT_MOST = (
    "SELECT CASE setting WHEN '-1' THEN -1 ELSE setting::bigint * 1024 * 1024 END"
    " FROM pg_settings WHERE name = 'max_slot_wal_keep_size'"
)


def _archiver(context: Context) -> Iterator[Reported]:
    """WAL that archive_command can't hand over is kept for ever."""
    row: tuple[Any, ...] = context.one(
        "SELECT current_setting('archive_mode') <> 'off' AND last_failed_time IS NOT NULL"
        " AND last_failed_time > coalesce(last_archived_time, '-infinity'),"
        " failed_count, coalesce(last_failed_wal, ''), last_archived_time"
        " FROM pg_stat_archiver"
    )
    fails, count, segment, last = row
    if fails:
        since = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "so far"
        yield Reported(
            "archiver",
            Severity.CRITICAL,
            "The server can't archive its WAL",
            f"archive_command fails ({count:,} times, last with {segment}); nothing was archived "
            f"{since}. The server keeps all WAL until it works, and stops when the disk is full.",
            "SHOW archive_command;",
        )


def _folder(context: Context, by_slots: int) -> Iterator[Reported]:
    """The folder as a whole, where no slot explains it."""
    try:
        with context.attempt():
            size, most = context.one(
                "SELECT (SELECT sum(size) FROM pg_ls_waldir())::bigint,"
                " (SELECT setting::bigint * 1024 * 1024 FROM pg_settings"
                "  WHERE name = 'max_wal_size')"
            )
    except psycopg.errors.InsufficientPrivilege:
        role = context.facts.role
        context.blind(
            f"How large pg_wal is can't be seen by {role}.",
            granting(role, "pg_monitor"),
        )
        return
    most = max(2 * most, context.limits.wal_kept_bytes)
    if size - by_slots > most:
        yield Reported(
            "folder",
            Severity.WARNING,
            "pg_wal is larger than checkpoints explain",
            f"It holds {words.size(size)}, and twice max_wal_size would be no surprise. "
            "wal_keep_size, a stopped archiver or checkpoints that do not end keep it.",
            "SELECT name, setting, unit FROM pg_settings WHERE name IN ('wal_keep_size', "
            "'max_wal_size', 'archive_mode', 'checkpoint_timeout');",
        )


CHECKS: tuple[Check, ...] = (disks, growth, wal_kept)
