"""Whether each object of the catalogue, and each WAL segment, is in its storage with its size.

The storage is listed once: what is in the objects only verifying can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from django.conf import settings

from ops import words
from ops.backups.errors import StorageError
from ops.backups.manifest import manifest_name
from ops.backups.vault import COPY, PRIMARY, Vault
from ops.backups.wal.names import position
from ops.health.checks.archive import anchors
from ops.health.context import Context, within
from ops.health.contract import DAILY, Reported, check, several
from ops.models import Area, Severity
from ops.models.backups import GOOD, PHYSICAL, WHOLE

_PATIENCE = 60.0  # seconds for a listing: a thousand objects a request, months of WAL


@dataclass(frozen=True)
class _Stored:
    """A backup in one storage, as the catalogue has it."""

    name: str
    kind: str
    taken_at: datetime
    storage: str
    is_copy: bool
    sizes: dict[str, int] = field(default_factory=dict)  # of its objects; -1: any


@dataclass(frozen=True)
class _Segment:
    """A stored WAL segment, as the catalogue has it."""

    object_name: str
    size: int
    storage: str
    system: str
    timeline: int
    file: str
    closed_at: datetime
    start: int


@check(Area.BACKUPS, "Backups and WAL that are not in their storage", every=DAILY)
def stored_objects(context: Context) -> Iterator[Reported]:
    """A catalogue remembers what was stored, not what somebody has deleted, moved or cut short
    since. What is missing is found here, and not on the day when it is to be restored."""
    backups, segments = _backups(context), _segments(context)
    labels = {each.storage for each in backups} | {each.storage for each in segments}
    newest = max(
        (each.taken_at for each in backups if each.kind in WHOLE and not each.is_copy), default=None
    )
    for label in sorted(labels):
        there = _listed(context, label)
        if there is None:
            continue
        lost = [each for each in backups if each.storage == label and _problems(each, there)]
        # What retention removed while the storage was listed is no loss.
        still = {(each.name, each.storage) for each in _backups(context)} if lost else set()
        for backup in lost:
            if (backup.name, label) in still:
                yield _lost(context, backup, _problems(backup, there), newest)
        yield from _lost_wal(context, [e for e in segments if e.storage == label], there)


def _listed(context: Context, label: str) -> dict[str, int] | None:
    """The sizes of a storage's objects; None when it can't be asked, which is then told."""
    vault = Vault.second() if label == COPY else Vault.of(label)
    if vault is None:
        context.blind(f"Backups have copies in {label}, and no such storage is configured.")
        return None
    try:
        return within(_PATIENCE, vault.sizes, f"The storage {label}")
    except StorageError as error:
        # A disk that an operator took a backup to may well be in a drawer.
        if label in {PRIMARY, COPY}:
            context.blind(str(error))
        return None


def _problems(backup: _Stored, there: dict[str, int]) -> list[str]:
    found = []
    for name, size in backup.sizes.items():
        if name not in there:
            found.append(f"{name} is not there")
        elif size not in {-1, there[name]}:
            found.append(f"{name} has {there[name]:,} bytes instead of {size:,}")
    return found


def _lost(
    context: Context, backup: _Stored, problems: list[str], newest: datetime | None
) -> Reported:
    is_newest = not backup.is_copy and backup.taken_at == newest
    where = f" in {backup.storage}" if backup.is_copy else ""
    return Reported(
        f"{backup.name}{where}",
        Severity.CRITICAL if is_newest else Severity.WARNING,
        f"The backup {backup.name} is not whole in the storage {backup.storage}",
        f"{several(problems)}. {_meaning(context, backup, is_newest)} Look for what removed it; "
        "verifying records what became of the backup.",
        f"manage.py verify {backup.name}{' --copy' if backup.is_copy else ''}",
        f"backup {backup.name}",
    )


def _meaning(context: Context, backup: _Stored, is_newest: bool) -> str:
    if backup.is_copy:
        return "There is no good copy of it elsewhere any more."
    if backup.kind in PHYSICAL:
        later = [each.moment for each in context.once(anchors) if each.name != backup.name]
        following = min((at for at in later if at > backup.taken_at), default=None)
        until = f"{following:%Y-%m-%d %H:%M} UTC" if following else "the next base backup"
        return (
            f"No moment from {backup.taken_at:%Y-%m-%d %H:%M} UTC until {until} can be restored by "
            "it."
        )
    what = "It is the newest that would bring everything back: t" if is_newest else "T"
    return f"{what}he state of {backup.taken_at:%Y-%m-%d %H:%M} UTC can't be restored from it."


def _lost_wal(
    context: Context, segments: list[_Segment], there: dict[str, int]
) -> Iterator[Reported]:
    """Missing segments that follow each other are told as one."""
    ordered = sorted(segments, key=lambda each: (each.system, each.timeline, each.start, each.file))
    for (is_there, system, line), some in groupby(
        ordered,
        key=lambda each: (there.get(each.object_name) == each.size, each.system, each.timeline),
    ):
        if not is_there:
            yield _gap(context, system, line, list(some))


def _gap(context: Context, system: str, line: int, lost: list[_Segment]) -> Reported:
    first, last = lost[0], lost[-1]
    later = [
        each
        for each in context.once(anchors)
        if each.system_identifier == system and each.moment > last.closed_at
    ]
    following = min(later, key=lambda each: each.moment, default=None)
    names = first.file if len(lost) == 1 else f"{first.file} to {last.file} ({len(lost):,})"
    until = (
        f"{following.moment:%Y-%m-%d %H:%M} UTC, where the base backup {following.name} begins"
        if following
        else "there is a new base backup"
    )
    age = words.ago(first.closed_at, context.now)
    return Reported(
        f"wal {system} {line} {first.file}",
        Severity.WARNING if following else Severity.CRITICAL,
        f"WAL that was stored is not in the storage {first.storage}",
        f"{names} is missing or has another size; the server closed it {age}. No moment from "
        f"{first.closed_at:%Y-%m-%d %H:%M} UTC until {until} can be restored. Look for what "
        "removed it.",
        "manage.py backups --rebuild" if following else "manage.py backup --base",
        f"WAL of timeline {line}",
    )


def _backups(context: Context) -> list[_Stored]:
    rows: list[tuple[Any, ...]] = context.rows(
        "SELECT b.name, b.kind, b.taken_at, s.storage, s.is_copy,"
        " coalesce(b.manifest -> 'objects', '[]'::jsonb)"
        " FROM ops_backup b CROSS JOIN LATERAL ("
        "  SELECT b.storage, false AS is_copy WHERE b.state = ANY(%(good)s)"
        "  UNION ALL SELECT c.storage, true FROM ops_backupcopy c"
        "  WHERE c.backup_id = b.id AND c.state = ANY(%(good)s)) s"
        " WHERE b.environment = %(here)s ORDER BY b.name",
        {"good": list(GOOD), "here": settings.ENVIRONMENT},
    )
    return [
        _Stored(
            name,
            kind,
            taken_at,
            storage,
            is_copy,
            {each["name"]: int(each["size"]) for each in objects}
            # Without a manifest beside it an object is no backup.
            | ({manifest_name(name): -1} if objects else {}),
        )
        for name, kind, taken_at, storage, is_copy, objects in rows
    ]


def _segments(context: Context) -> list[_Segment]:
    """Those of servers whose base backups are of this environment, and of the present server.

    The catalogue of a database that was restored from elsewhere tells of another's storage.
    """
    rows: list[tuple[Any, ...]] = context.rows(
        "SELECT object_name, size, storage, system_identifier, timeline, segment, closed_at,"
        " start_lsn FROM ops_walsegment WHERE system_identifier IN ("
        "  SELECT system_identifier::text FROM pg_control_system()"
        "  UNION SELECT manifest #>> '{server,system_identifier}' FROM ops_backup"
        "  WHERE kind = ANY(%s) AND environment = %s)",
        [list(PHYSICAL), settings.ENVIRONMENT],
    )
    return [
        _Segment(name, size, storage, system, line, file, closed_at, _position(start))
        for name, size, storage, system, line, file, closed_at, start in rows
    ]


def _position(text: str) -> int:
    return position(text) if text else 0
