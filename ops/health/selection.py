"""Which checks there are, and which of them somebody asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.utils.module_loading import import_string

from ops.health.contract import Check
from ops.health.errors import HealthError
from ops.models import Area, CheckResult

# What is due in a moment is run with what is due now.
_SLACK = timedelta(seconds=20)


def all_checks() -> list[Check]:
    """Return what settings.HEALTH_CHECKS lists, in its order."""
    found: list[Check] = []
    for path in settings.HEALTH_CHECKS:
        some: Sequence[Check] = import_string(path)
        found += some
    return found


def chosen(areas: Sequence[str] = (), names: Sequence[str] = ()) -> list[Check]:
    """Return the checks of these areas or of these names; all of them when nothing is named.

    Raises HealthError for an area or a check that does not exist, and names those that do.
    """
    checks = all_checks()
    _require(areas, [area.value for area in Area], "area")
    _require(names, [check.name for check in checks], "check")
    if not areas and not names:
        return checks
    return [check for check in checks if check.area in areas or check.name in names]


def due(now: datetime) -> list[Check]:
    """Return the checks that have not run for as long as they may go without."""
    ran = dict(CheckResult.objects.values_list("check_name", "ran_at"))
    return [
        check
        for check in all_checks()
        if check.name not in ran or now - ran[check.name] >= check.every - _SLACK
    ]


def _require(given: Sequence[str], known: Sequence[str], noun: str) -> None:
    unknown = [each for each in given if each not in known]
    if unknown:
        raise HealthError(
            f"There is no {noun} {unknown[0]!r}. Nothing was checked. There are: "
            f"{', '.join(known)}."
        )
