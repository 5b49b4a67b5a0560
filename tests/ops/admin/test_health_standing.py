"""The answer to "is it well?": never green without having looked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.admin.health_standing import HealthStanding, standing
from ops.health.contract import DAILY, OFTEN, Check
from ops.models import Area, CheckResult, CheckState, Finding

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CHECKS = [
    Check("often", Area.CONNECTION, "A", "", lambda context: (), 1.0, OFTEN),
    Check("daily", Area.SECURITY, "B", "", lambda context: (), 1.0, DAILY),
]


def finding(severity: str = "warning", **values: Any) -> Finding:
    given = {"area": "security", "title": f"a {severity} thing", "severity": severity, **values}
    return Finding(**given, opened_at=NOW - MINUTE)


def result(name: str, ago: timedelta = MINUTE, state: str = CheckState.WELL) -> CheckResult:
    return CheckResult(check_name=name, ran_at=NOW - ago, state=state, seconds=0.1)


def told(*findings: Finding, results: list[CheckResult] | None = None) -> HealthStanding:
    rows = [result("often"), result("daily")] if results is None else results
    return standing(CHECKS, {row.check_name: row for row in rows}, findings, NOW)


def area(found: HealthStanding, name: Area) -> tuple[str, str, tuple[str, ...]]:
    (one,) = [each for each in found.areas if each.area == name]
    return one.level, one.word, one.notes


def test_all_is_well() -> None:
    found = told()
    assert (found.level, found.sentence) == ("good", "All is well")
    assert found.details == ("2 checks in 8 areas, the newest look 1 min ago.",)
    assert area(found, Area.SECURITY) == ("good", "Well", ())
    assert area(found, Area.STORAGE) == ("plain", "No checks", ())


def test_what_nobody_looked_at_is_not_well() -> None:
    found = told(results=[])
    assert (found.level, found.sentence) == ("plain", "Nothing has been looked at yet")
    (sentence,) = found.details
    assert sentence == (
        "None of 2 checks has run, so nobody knows how it is. Start the watcher: `make run` does, "
        "on a server `manage.py watch`."
    )
    assert area(found, Area.SECURITY) == ("plain", "Not looked at", ("1 of 1 check never run",))


@pytest.mark.parametrize(
    ("results", "notes"),
    [
        ([result("often")], "1 of 1 check never run"),
        ([result("often"), result("daily", 4 * DAILY)], "1 of 1 check not run for long"),
        (
            [result("often"), result("daily", state=CheckState.BLIND)],
            "1 of 1 check could not see everything",
        ),
        (
            [result("often"), result("daily", state=CheckState.FAILED)],
            "1 of 1 check could not see everything",
        ),
    ],
)
def test_what_was_not_seen_is_not_well(results: list[CheckResult], notes: str) -> None:
    found = told(results=results)
    assert found.level == "warning"
    assert found.sentence == "Nothing wrong was found, but not everything was looked at"
    assert area(found, Area.SECURITY)[2] == (notes,)


def test_a_watcher_that_stopped_is_told() -> None:
    late = [result("often", 16 * MINUTE), result("daily", 20 * MINUTE)]
    found = told(results=late)
    assert found.is_stopped
    assert (found.level, found.sentence) == ("warning", "Nobody has looked for 16 min")
    assert found.details[0].startswith("The newest look was 16 min ago: what stands here may be ")
    assert told(finding("critical"), results=late).sentence == "a critical thing"
    assert not told(results=[result("often", 14 * MINUTE), result("daily")]).is_stopped


def test_the_worst_is_sentencefirst() -> None:
    found = told(finding("critical"), finding(), finding())
    assert (found.level, found.sentence) == ("danger", "1 critical finding and 2 warnings")
    assert area(found, Area.SECURITY)[:2] == ("danger", "Critical")
    assert told(finding()).sentence == "a warning thing"
    assert (told(finding()).level, told(finding(), finding()).sentence) == ("warning", "2 warnings")
    assert told(finding("critical"), finding("critical")).sentence == "2 critical findings"
    found = told(finding("info"))
    assert (found.level, found.sentence) == ("good", "It is well; 1 thing is worth knowing")
    assert area(found, Area.SECURITY)[:2] == ("info", "Info")


def test_snoozed_and_accepted_ones_count_for_nothing() -> None:
    quiet = [
        finding("critical", snoozed_until=NOW + MINUTE, snooze_reason="later"),
        finding("critical", accepted="known"),
    ]
    found = told(*quiet)
    assert (found.level, found.loud, found.quiet) == ("good", 0, 2)
    woken = finding("critical", snoozed_until=NOW - MINUTE, snooze_reason="later")
    assert told(woken).level == "danger"
