"""Which backup a drill is of, when nobody names one."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from ops.backups.plan import KINDS, plan
from ops.models import Backup, BackupKind
from ops.models.backups import WHOLE, BackupQuerySet
from ops.restores.errors import RefusedError


def newest_backup(kind: str = "") -> Backup:
    """Return the newest good backup of a kind, or of those that bring the whole database back.

    Raises RefusedError when there is none.
    """
    kinds = (kind,) if kind else WHOLE
    found = _own().of_kind(*kinds).newest_first().first()
    if found is None:
        raise _none(kind)
    return found


def random_backup(kind: str = "") -> Backup:
    """Return any good backup, rather one that was not drilled for long.

    Raises RefusedError when there is none, and BackupError when the plan can't be read.
    """
    kinds = (kind,) if kind else _planned()
    backups: Any = (
        _own().of_kind(*kinds).annotate(drilled_at=Max("drills__started_at")).order_by("pk")
    )
    chances = weights([(each.taken_at, each.drilled_at) for each in backups], timezone.now())
    if not chances:
        raise _none(kind)
    chosen: Backup = secrets.SystemRandom().choices(list(backups), weights=chances)[0]
    return chosen


def weights(backups: list[tuple[datetime, datetime | None]], now: datetime) -> list[float]:
    """Return the chance of each: days since its last drill; never drilled counts twice its age.

    `backups` are the moments each holds and was last drilled at.
    """
    return [
        1 + max((now - (drilled or taken)).total_seconds(), 0) / 86_400 * (1 if drilled else 2)
        for taken, drilled in backups
    ]


def _own() -> BackupQuerySet:
    return Backup.objects.of_environment(settings.ENVIRONMENT).good()


def _planned() -> tuple[str, ...]:
    """The kinds that are taken by schedule; all of them where there is no schedule."""
    kinds = plan().kinds.values()
    return tuple(each.kind for each in kinds if each.cadence or each.drill) or KINDS


def _none(kind: str) -> RefusedError:
    which = f"{kind} backup" if kind else "backup"
    option = " --table NAME" if kind == BackupKind.TABLES else f" --{kind}" if kind else ""
    return RefusedError(
        f"There is no good {which} of {settings.ENVIRONMENT} that a restore could be rehearsed "
        f"with. Nothing was done. Take one with `manage.py backup{option}`."
    )
