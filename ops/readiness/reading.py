"""Read the readiness of an environment from the catalogue: the only place that does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from ops.backups.errors import BackupError
from ops.backups.naming import parse_name
from ops.backups.plan import plan
from ops.backups.vault import Vault
from ops.backups.wal.windows import restorable_windows
from ops.models import (
    Backup,
    BackupCopy,
    BackupKind,
    BackupState,
    Drill,
    DrillVerdict,
    Run,
    RunKind,
    RunStatus,
)
from ops.models.backups import GOOD, WHOLE
from ops.readiness.value import (
    LATE,
    Attempt,
    Damage,
    DrillOutcome,
    GoodBackup,
    KindReadiness,
    Promise,
    Readiness,
)

# Runs a QuerySet of values_list. Health checks ask by a connection of their own, with limits.
Ask = Callable[[Any], Iterable[tuple[Any, ...]]]
_DRILLS = 500  # the newest so many: years of them
_BAD = (BackupState.FAILED, BackupState.MISSING)


def readiness(
    now: datetime | None = None,
    *,
    environment: str = "",
    late: timedelta | None = None,
    ask: Ask = list,
) -> Readiness:
    """Return how ready an environment is to be restored; without a name, this one.

    `late` is what a schedule may be late by, as settings say. Raises the database's errors.
    """
    now, environment = now or timezone.now(), environment or settings.ENVIRONMENT
    copies = _copies(environment, ask)
    backups = _backups(environment, {each.pk for each in copies if each.state in GOOD}, ask)
    drills = _drills(environment, ask)
    kinds = {kind: _of_kind(kind, backups, drills) for kind in BackupKind.values}
    whole = [each for each in backups if each.kind in WHOLE]
    good = [each for each in whole if each.is_good]
    passed = [each for each in drills if each.is_whole and each.verdict == DrillVerdict.PASSED]
    has_second = Vault.second() is not None
    return Readiness(
        environment=environment,
        at=now,
        promise=_promise(),
        late=late if late is not None else settings.HEALTH_THRESHOLDS.get("late", LATE),
        has_backups=bool(backups),
        newest=_best(good),
        newest_proven=_best([each for each in good if each.state == BackupState.PROVEN]),
        windows=tuple(restorable_windows(environment, ask)),
        kinds=kinds,
        drill=_outcome(drills[0]) if drills else None,
        failed_drill=_failed_drill(drills, backups),
        drilled_at=max((each.ended_at for each in passed), default=None),
        seconds=next((each.seconds for each in passed if each.seconds is not None), None),
        damages=tuple(_damages(backups, copies)),
        newest_damaged=_newest_damaged(whole),
        failed_attempt=_failed_attempt(ask),
        needs_copy=has_second or settings.PRODUCTION_LIKE,
        has_second_storage=has_second,
    )


def _promise() -> Promise:
    try:
        found = plan()
    except BackupError:
        return Promise()
    drills = [each.drill for each in found.kinds.values() if each.kind in WHOLE and each.drill]
    return Promise(found.rpo, found.rto, min(drills, default=Promise.proof))


# --- backups -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Backup:
    pk: int
    name: str
    kind: str
    state: str
    note: str
    taken_at: datetime
    finished_at: datetime | None
    proven_at: datetime | None
    is_good: bool
    has_copy: bool


def _backups(environment: str, copied: set[int], ask: Ask) -> list[_Backup]:
    """The environment's backups, newest first; one is good when the chain below it is as well."""
    rows = list(
        ask(
            Backup.objects.of_environment(environment)
            .newest_first()
            .values_list(
                "pk", "name", "kind", "state", "state_note", "taken_at", "finished_at",
                "proven_at", "disproven_at", "parent_id",
            )
        )
    )  # fmt: skip
    stands = {
        pk: (parent, kind, state in GOOD and disproven is None)
        for pk, _, kind, state, _, _, _, _, disproven, parent in rows
    }
    return [
        _Backup(
            pk, name, kind, state, note, taken, finished, proven, _is_good(pk, stands),
            pk in copied,
        )
        for pk, name, kind, state, note, taken, finished, proven, _, _ in rows
    ]  # fmt: skip


def _is_good(pk: int, stands: Mapping[int, tuple[int | None, str, bool]]) -> bool:
    """Tell whether a backup can be restored: an incremental one needs all that it adds to."""
    seen: set[int] = set()
    link: int | None = pk
    while link is not None:
        parent, kind, is_good = stands.get(link, (None, BackupKind.FOREIGN, False))
        if not is_good or kind == BackupKind.FOREIGN or link in seen:
            return False
        seen.add(link)
        link = parent
    return True


def _copies(environment: str, ask: Ask) -> list[Damage]:
    """All off-site copies, as what they would be when their state is a bad one."""
    rows = BackupCopy.objects.filter(backup__environment=environment)
    told = rows.order_by("-backup__taken_at", "pk").values_list(
        "backup_id", "backup__name", "storage", "state", "state_note"
    )
    return [Damage(*row) for row in ask(told)]


def _best(backups: list[_Backup]) -> GoodBackup | None:
    if not backups:
        return None
    best = backups[0]
    return GoodBackup(
        best.pk, best.name, best.kind, best.state, best.taken_at, best.finished_at,
        best.proven_at, best.has_copy,
    )  # fmt: skip


def _damages(backups: list[_Backup], copies: list[Damage]) -> Iterable[Damage]:
    for each in backups:
        if each.state in _BAD:
            yield Damage(each.pk, each.name, "", each.state, each.note)
    yield from (each for each in copies if each.state in _BAD)


def _newest_damaged(whole: list[_Backup]) -> str:
    return whole[0].name if whole and whole[0].state in _BAD else ""


def _failed_attempt(ask: Ask) -> Attempt | None:
    """The last attempt of all, when it failed; what was cancelled was none."""
    ended = Run.objects.filter(
        kind=RunKind.BACKUP, status__in=(RunStatus.DONE, RunStatus.FAILED)
    ).newest_first()
    for pk, status, asked_at, finished_at in ask(
        ended.values_list("pk", "status", "asked_at", "finished_at")[:1]
    ):
        if status == RunStatus.FAILED:
            return Attempt(pk, finished_at or asked_at)
    return None


# --- drills ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Drill:
    verdict: str
    subject: str
    note: str
    started_at: datetime
    ended_at: datetime
    seconds: float | None
    kind: str  # of its backup; empty for a moment

    @property
    def is_whole(self) -> bool:
        """Whether the whole database was restored."""
        return self.kind in {"", *WHOLE}


def _drills(environment: str, ask: Ask) -> list[_Drill]:
    """The environment's drills that came to something, newest first.

    One whose backup is not in the catalogue any more still has its name, which says whose it was;
    one of a moment is of this server.
    """
    rows = (
        Drill.objects.exclude(verdict__in=(DrillVerdict.RUNNING, DrillVerdict.ABORTED))
        .newest_first()
        .values_list(
            "verdict", "subject", "note", "started_at", "finished_at", "rto_seconds",
            "backup__kind", "backup__environment",
        )
    )  # fmt: skip
    found = []
    for verdict, subject, note, started_at, finished_at, seconds, kind, of in ask(rows[:_DRILLS]):
        name = parse_name(subject) if of is None else None
        whose = of if of is not None else name.environment if name else environment
        if whose == environment:
            what = kind or (name.kind if name else "")
            ended_at = finished_at or started_at
            found.append(_Drill(verdict, subject, note, started_at, ended_at, seconds, what))
    return found


def _failed_drill(drills: list[_Drill], backups: list[_Backup]) -> DrillOutcome | None:
    """The newest that failed and that none of the same kind has passed since.

    That a dump comes back says nothing about moments. What is not taken any more can't be tried
    again: of such a kind nothing is told.
    """
    taken = {each.kind for each in backups}
    passed = set()
    for each in drills:
        if each.verdict == DrillVerdict.PASSED:
            passed.add(each.kind)
        elif (
            each.verdict == DrillVerdict.FAILED
            and each.kind not in passed
            and (each.kind or BackupKind.BASE) in taken
        ):
            return _outcome(each)
    return None


def _outcome(drill: _Drill) -> DrillOutcome:
    return DrillOutcome(drill.verdict, drill.subject, drill.note, drill.started_at)


def _of_kind(kind: str, backups: list[_Backup], drills: list[_Drill]) -> KindReadiness:
    good = [each for each in backups if each.kind == kind and each.is_good]
    proofs = [each.proven_at for each in good]
    proofs += [
        each.ended_at
        for each in drills
        if each.kind == kind and each.verdict == DrillVerdict.PASSED
    ]
    return KindReadiness(
        newest_at=max((each.taken_at for each in good), default=None),
        oldest_at=min((each.taken_at for each in good), default=None),
        proven_at=max((each for each in proofs if each), default=None),
    )
