"""Checks of the area backups: is there a good one, young enough, off-site, encrypted, proven?

How often each kind is taken, copied and proven is a promise of real environments (BACKUP_PLAN).
In development nobody runs a schedule: only what is really wrong is told there.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings

from ops import words
from ops.backups.errors import BackupError, StorageError
from ops.backups.keys import encryption
from ops.backups.physical import OLDEST_MAJOR
from ops.backups.plan import KindPlan, plan
from ops.backups.vault import COPY, PRIMARY, Vault
from ops.health.checks.archive import ready, wal_archive
from ops.health.checks.proofs import drills, restore_rights
from ops.health.checks.stored import stored_objects
from ops.health.context import Context, within
from ops.health.contract import HOURLY, OFTEN, Check, Reported, check
from ops.models import Area, BackupKind, BackupState, RunKind, RunStatus, Severity
from ops.models.backups import GOOD, PHYSICAL
from ops.readiness.value import Readiness, Shortcoming

# An attempt that failed is of interest until it is made up for, or this long.
_RECENT = timedelta(days=30)


def scheduled(context: Context) -> list[KindPlan]:
    """The kinds that are taken by themselves here. Raises BackupError for a plan that is none."""
    return [
        kind
        for kind in plan().kinds.values()
        if kind.cadence and (is_archived(context) or kind.kind not in PHYSICAL)
    ]


def is_archived(context: Context) -> bool:
    """Whether base backups and WAL are taken here: a login for them, and a server that can."""
    return bool(settings.REPLICATION_URL) and context.facts.major >= OLDEST_MAJOR


def installed_at(context: Context) -> datetime:
    """Since when backups can have been taken here: a new site is not late with any."""
    found: datetime | None = context.value(
        "SELECT min(applied) FROM django_migrations WHERE app = 'ops'"
    )
    return found or context.now


@check(Area.BACKUPS, "Backups that are older than promised", every=OFTEN)
def backup_age(context: Context) -> Iterator[Reported]:
    """What was written since the newest good backup is lost when the disk is."""
    if not settings.PRODUCTION_LIKE:
        return
    promised = plan().rpo  # nothing is looked at by a plan that can't be read
    now = ready(context)
    if now.restorable_to is None:
        yield Reported(
            "none",
            Severity.CRITICAL,
            "There is no good backup",
            "A failure now would lose everything.",
            "manage.py backup --full",
        )
    elif Shortcoming.TOO_MUCH_LOST in now.shortcomings:
        lost = words.duration((context.now - now.restorable_to).total_seconds())
        yield Reported(
            "loss",
            Severity.CRITICAL,
            "A failure now would lose more than promised",
            f"The last moment that can be restored is {now.restorable_to:%Y-%m-%d %H:%M} UTC: "
            f"{lost} of work. Promised is {words.duration(promised.total_seconds())} at most.",
            "manage.py backup --full",
        )
    yield from _too_old(now, context)


def _too_old(now: Readiness, context: Context) -> Iterator[Reported]:
    for kind in scheduled(context):
        assert kind.cadence is not None
        taken = now.of(kind.kind).newest_at
        if kind.kind == BackupKind.INCREMENTAL and (base := now.of(BackupKind.BASE).newest_at):
            # Where there is nothing to add to, a base backup is taken instead.
            taken = max(taken or base, base)
        since = taken or installed_at(context)
        if context.now - since <= kind.cadence.every + context.limits.late:
            continue
        title = BackupKind(kind.kind).label.lower()
        told = (
            f"The newest good one holds {taken:%Y-%m-%d %H:%M} UTC, which is "
            f"{words.ago(taken, context.now)}"
            if taken
            else "There is no good one"
        )
        yield Reported(
            f"age {kind.kind}",
            Severity.WARNING,
            f"The newest {title} backup is older than promised" if taken else f"No {title} backup",
            f"{told}; BACKUP_PLAN promises one {kind.cadence.text}.",
            f"manage.py backup --{kind.kind}",
            f"{title} backups",
        )


@check(Area.BACKUPS, "Backups that failed", every=OFTEN)
def backup_failed(context: Context) -> Iterator[Reported]:
    """Why the last attempt at a kind of backup came to nothing, until one succeeds."""
    rows = context.rows(
        "SELECT DISTINCT ON (arguments ->> 'kind') arguments ->> 'kind', status, message,"
        " coalesce(finished_at, asked_at), id FROM ops_run"
        " WHERE kind = %s AND status = ANY(%s) AND asked_at > %s AND arguments ? 'kind'"
        " ORDER BY arguments ->> 'kind', asked_at DESC, id DESC",
        [
            RunKind.BACKUP,
            [RunStatus.DONE.value, RunStatus.FAILED.value],
            context.now - _RECENT,
        ],
    )
    for kind, status, message, at, number in rows:
        if status != RunStatus.FAILED or kind not in BackupKind.values:
            continue
        title = BackupKind(kind).label.lower()
        yield Reported(
            kind,
            Severity.WARNING,
            f"The last {title} backup failed",
            f"{words.ago(at, context.now)[:1].upper()}{words.ago(at, context.now)[1:]} (run "
            f"{number}): {message}",
            f"manage.py backup --{kind}",
            f"{title} backups",
        )


@check(Area.BACKUPS, "Backups that are damaged or missing", every=HOURLY)
def backup_damaged(context: Context) -> Iterator[Reported]:
    """A backup that was changed or deleted in the storage brings nothing back, and is a sign that
    others may be next."""
    now = ready(context)
    for each in now.damages:
        is_missing = each.state == BackupState.MISSING
        what = (
            f"The copy of {each.name} in {each.storage}"
            if each.storage
            else f"The backup {each.name}"
        )
        is_newest = not each.storage and each.name == now.newest_damaged
        yield Reported(
            f"{each.name} in {each.storage}" if each.storage else each.name,
            Severity.CRITICAL if is_newest else Severity.WARNING,
            f"{what} is {'missing' if is_missing else 'damaged'}",
            f"{each.note or 'The last check found it so.'}"
            f"{' It is the newest that would bring everything back.' if is_newest else ''}",
            f"manage.py verify {each.name}{' --copy' if each.storage else ''}",
            f"backup {each.name}",
        )


@check(Area.BACKUPS, "A storage of backups that is not there", every=OFTEN)
def backup_storage(context: Context) -> Iterator[Reported]:
    """A disk that was not mounted reads as if there had never been a backup; the next one would go
    to the wrong disk."""
    labels = [
        label
        for (label,) in context.rows(
            "SELECT storage FROM ops_backup WHERE state = ANY(%(good)s) UNION"
            " SELECT storage FROM ops_backupcopy WHERE state = ANY(%(good)s)",
            {"good": list(GOOD)},
        )
    ]
    for label in sorted({PRIMARY, COPY} & set(labels)):
        vault = Vault.second() if label == COPY else Vault.primary()
        if vault is None:
            continue
        try:
            within(2.0, vault.require_there, f"The storage {label}")
        except StorageError as error:
            yield Reported(
                label,
                Severity.CRITICAL,
                f"The storage {label} is not there",
                str(error),
                "findmnt",
                f"storage {label}",
            )


@check(Area.BACKUPS, "Backups without a copy off-site", every=HOURLY)
def off_site_copy(context: Context) -> Iterator[Reported]:
    """A fire, a thief or whoever deletes the server takes the backups beside it along."""
    if Vault.second() is None:
        if settings.PRODUCTION_LIKE:
            yield Reported(
                "none",
                Severity.WARNING,
                "No off-site copy of backups is configured",
                "All backups are in one storage. Name a second one, elsewhere, in "
                "BACKUP_COPY_STORAGE; the next backup is copied there by itself.",
                f"grep -n BACKUP_COPY_STORAGE .env.example .env.{settings.ENVIRONMENT}",
            )
        return
    newest = ready(context).newest
    if newest is None or newest.has_copy:
        return
    # It is copied as soon as it is taken; that takes its time.
    if newest.finished_at and context.now - newest.finished_at <= context.limits.late:
        return
    yield Reported(
        "newest",
        Severity.WARNING,
        "The newest backup has no good copy off-site",
        f"{newest.name} is in one storage only. The next backup is copied by itself, unless what "
        "kept this one from it is still there: see its last run.",
        "manage.py backup --full",
        f"backup {newest.name}",
    )


@check(Area.BACKUPS, "Backups that are not encrypted", every=HOURLY)
def backup_encryption(context: Context) -> Iterator[Reported]:
    """Whoever gets hold of a backup in clear reads every account."""
    if not settings.PRODUCTION_LIKE:
        return
    try:
        encryption()
    except BackupError as error:
        yield Reported(
            "key",
            Severity.CRITICAL,
            "Backups can't be encrypted, so none is taken",
            str(error),
            f"manage.py backupkeys {settings.ENVIRONMENT} --new",
        )
    rows = context.rows(
        "SELECT kind, count(*), max(name) FROM ops_backup WHERE state = ANY(%s)"
        " AND environment = %s AND encryption IN ('', 'none') AND kind <> %s GROUP BY kind",
        [list(GOOD), settings.ENVIRONMENT, BackupKind.FOREIGN],
    )
    for kind, count, name in rows:
        title = BackupKind(kind).label.lower()
        many = f"1 {title} backup is" if count == 1 else f"{count:,} {title} backups are"
        yield Reported(
            f"clear {kind}",
            Severity.CRITICAL,
            f"{title.capitalize()} backups of {settings.ENVIRONMENT} are not encrypted",
            f"{many} in clear, such as {name}. Whoever reads the storage reads every account. "
            "Take a new one, and delete these.",
            f"manage.py backups delete {name}",
            f"{title} backups",
        )


CHECKS: tuple[Check, ...] = (
    backup_age,
    backup_failed,
    backup_damaged,
    backup_storage,
    stored_objects,
    drills,
    restore_rights,
    wal_archive,
    off_site_copy,
    backup_encryption,
)
