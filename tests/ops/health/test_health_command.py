"""`manage.py health`: what it prints, how it ends, and that it never takes silence for health."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from ops.health.context import Context
from ops.health.contract import BlindError, Check, Reported
from ops.health.deciding import snooze
from ops.models import Area, Finding, Severity
from ops.rls.router import as_owner_by_default
from tests.ops.health.commanding import Ended, Manage
from tests.ops.health.conftest import Patient

CHECKS: tuple[Check, ...] = ()


Health = Callable[..., Ended]


@pytest.fixture
def health(
    patient: Patient, manage: Manage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Health:
    """Run the command on checks of the test's own."""
    settings.HEALTH_CHECKS = [f"{__name__}.CHECKS"]

    def run(*arguments: str, checks: Iterable[Check] | None = None) -> Ended:
        if checks is not None:
            monkeypatch.setattr(f"{__name__}.CHECKS", tuple(checks))
        return manage("health", *arguments)

    return run


def check(
    name: str, *reported: Reported, area: Area = Area.STORAGE, blind: str = "", crash: bool = False
) -> Check:
    def look(context: Context) -> Iterable[Reported]:
        if blind:
            raise BlindError(blind, "GRANT sight TO srvc_owner;")
        if crash:
            raise ZeroDivisionError
        return reported

    return Check(name, area, f"What {name} looks for", "Why.", look, 1.0, timedelta(hours=1))


def fault(severity: Severity, key: str = "public.jobs", title: str = "") -> Reported:
    return Reported(
        key, severity, title or f"{key} is {severity}", "So many rows.", "VACUUM public.jobs;"
    )


WELL = check("well", area=Area.SECURITY)
WARNING = check("warned", fault(Severity.WARNING))
CRITICAL = check("alarmed", fault(Severity.CRITICAL), area=Area.BACKUPS)
NOTED = check("noted", fault(Severity.INFO))
BLIND = check("blind", blind="The statistics can't be seen.")


def test_it_ends_by_the_worst_that_counts(health: Health) -> None:
    for checks, arguments, status in [
        ([WELL], [], 0),
        ([WELL, NOTED], [], 0),
        ([NOTED], ["--fail-on", "info"], 1),
        ([WELL, WARNING], [], 1),
        ([WARNING], ["--fail-on", "critical"], 0),
        ([WARNING, CRITICAL], [], 2),
        ([CRITICAL], ["--fail-on", "critical"], 2),
        ([BLIND], [], 1),
        ([WARNING, CRITICAL], ["--area", "storage"], 1),
        ([WARNING, CRITICAL, WELL], ["--area", "security", "--check", "warned"], 1),
        ([WARNING, CRITICAL, WELL], ["--check", "well"], 0),
    ]:
        ended = health(*arguments, checks=checks)
        assert ended.status == status, (arguments, ended)


def test_it_tells_the_worst_first_with_its_age_and_next_step(health: Health) -> None:
    health(checks=[WELL, NOTED, WARNING, CRITICAL])
    Finding.objects.using("owner").filter(check_name="warned").update(
        opened_at=timezone.now() - timedelta(days=3, hours=1), times_opened=2
    )
    ended = health()
    lines = [line.rstrip() for line in ended.out.splitlines()]
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["Security", "Well"], ["Storage", "Warning"], ["Backups", "Critical"],
    ]  # fmt: skip
    titles = [line for line in lines if "public.jobs is" in line and line[0].islower()]
    assert titles == [
        "critical  public.jobs is critical  new",
        "warning  public.jobs is warning  for 3 d 1 h, came back once",
        "info  public.jobs is info  new",
    ]
    assert lines.count("  → VACUUM public.jobs;") == 3
    assert "  warned · docs/health.md#warned" in lines
    assert lines[-1].startswith("4 checks in 0.")
    assert lines[-1].endswith(" s: 1 critical, 1 warning, 1 info.")
    assert "checking …" in ended.err


def test_what_could_not_be_seen_is_never_well(health: Health) -> None:
    crashing = check("crashing", crash=True, area=Area.SECURITY)
    ended = health(checks=[BLIND, crashing])
    assert "Well" not in ended.out
    assert "Security  Not seen  Not everything could be checked" in ended.out
    assert "Storage   Not seen  Not everything could be checked" in ended.out
    assert "  → GRANT sight TO srvc_owner;" in ended.out
    assert "2 checks in" in ended.out
    assert "2 not seen." in ended.out
    # Snoozed it counts for nothing, and is well for nobody either.
    _snooze("blind")
    _snooze("crashing")
    ended = health()
    assert ended.status == 0
    assert "Well" not in ended.out
    assert ended.out.rstrip().endswith(": 2 could not see everything. 2 snoozed or accepted.")


def test_snoozed_and_accepted_findings_are_shown_and_count_for_nothing(
    health: Health, settings: Settings
) -> None:
    settings.HEALTH_ACCEPTED = {"alarmed:public.jobs": "It is a demonstration."}
    health(checks=[WARNING, CRITICAL, NOTED])
    _snooze("warned")
    ended = health()
    assert ended.status == 0
    assert "Accepted: It is a demonstration." in ended.out
    assert "by somebody@example.com: Next week." in ended.out
    assert ended.out.index("public.jobs is info") < ended.out.index("critical  public.jobs")
    told = health("--json").json
    assert (told["exit"], told["worst"]) == (0, "info")
    assert [(each["check"], each["counts"]) for each in told["findings"]] == [
        ("noted", True), ("alarmed", False), ("warned", False),
    ]  # fmt: skip


def test_programs_get_everything_as_json(health: Health) -> None:
    told = health("--json", checks=[WELL, WARNING, BLIND]).json
    assert told["exit"] == 1
    assert told["not_recorded"] is None
    assert [(each["area"], each["well"], each["unseen"]) for each in told["areas"]] == [
        ("security", True, 0), ("storage", False, 1),
    ]  # fmt: skip
    assert [(each["check"], each["state"]) for each in told["checks"]] == [
        ("well", "well"), ("warned", "found"), ("blind", "blind"),
    ]  # fmt: skip
    by_check = {each["check"]: each for each in told["findings"]}
    assert by_check["warned"]["next_step"] == "VACUUM public.jobs;"
    assert by_check["warned"]["since"] is not None
    assert by_check["warned"]["unseen"] is False
    assert by_check["blind"]["unseen"] is True


def test_nagios_gets_a_line_and_its_own_statuses(health: Health) -> None:
    piped = check("piped", fault(Severity.WARNING, title="a | b\nc"))
    for checks, status, said in [
        ([WELL], 0, "HEALTH OK - 1 checks, all is well"),
        ([WELL, piped], 1, "HEALTH WARNING - 1 warning: a ¦ b c"),
        (
            [WARNING, CRITICAL, BLIND],
            2,
            "HEALTH CRITICAL - 1 critical, 1 warning, 1 not seen: public.jobs is critical",
        ),
        (
            [WELL, BLIND, NOTED],
            3,
            (
                "HEALTH UNKNOWN - 1 info, 1 not seen: Not everything could be checked: "
                "what blind looks for"
            ),
        ),
        ([WARNING, BLIND], 1, "HEALTH WARNING - 1 warning, 1 not seen: public.jobs is warning"),
    ]:
        ended = health("--nagios", checks=checks)
        (line,) = ended.out.splitlines()
        told, _, performance = line.partition(" | ")
        assert (ended.status, told) == (status, said)
        assert performance.startswith("critical=")
        assert f"checks={len(checks)};;;0 seconds=0." in performance
        assert ended.err == ""
    assert health("--nagios", "--fail-on", "critical", checks=[BLIND]).status == 3


def test_wrong_usage_is_told_apart_from_a_critical_finding(health: Health) -> None:
    for arguments, said in [
        (["--fail-on", "fatal"], "invalid choice: 'fatal'"),
        (["--area", "kitchen"], "There is no area 'kitchen'. Nothing was checked. There are: conn"),
        (["--check", "nothing"], "There is no check 'nothing'. Nothing was checked."),
        (["production"], "unrecognized arguments"),
        (["--area", "schedule"], "There is no check in schedule, so nothing was looked at."),
    ]:
        ended = health(*arguments, checks=[WELL])
        assert (ended.status, said in ended.err) == (64, True), ended
        assert health("--nagios", *arguments).status == 3
    assert health("--help").status == 0


def test_a_database_that_is_away_is_critical_and_told_plainly(
    health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections["owner"].close()
    monkeypatch.setitem(connections["owner"].settings_dict, "PORT", "1")
    ended = health(checks=[WELL])
    assert ended.status == 2
    assert "The database can't be reached: srvc_owner cannot sign in to" in ended.err
    assert "`manage.py dbping development`" in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    ended = health("--json")
    assert (ended.status, ended.json["exit"]) == (2, 2)
    ended = health("--nagios")
    assert ended.status == 2
    assert ended.out.startswith("HEALTH CRITICAL - The database can't be reached: ")


def test_interrupted_it_keeps_what_it_found_until_then(health: Health) -> None:
    def interrupted(context: Context) -> Iterable[Reported]:
        os.kill(os.getpid(), signal.SIGINT)
        yield fault(Severity.CRITICAL)

    first = Check("first", Area.STORAGE, "", "", interrupted, 1.0, timedelta(hours=1))
    ended = health(checks=[first, WARNING])
    assert ended.status == 130
    assert "It was interrupted. What was found until then is kept." in ended.err
    assert [row.check_name for row in Finding.objects.using("owner").all()] == ["first"]


def test_the_list_says_what_ran_when(health: Health) -> None:
    health("--check", "warned", checks=[WELL, WARNING])
    ended = health("--list")
    rows = {line.split()[0]: line for line in ended.out.splitlines()}
    assert rows["well"].split()[-1] == "never"
    assert rows["warned"].rstrip().endswith("just now  Found something")
    told = health("--list", "--json").json
    assert [(each["check"], each["state"]) for each in told] == [
        ("well", None), ("warned", "found"),
    ]  # fmt: skip


def _snooze(name: str) -> None:
    now = timezone.now()
    with as_owner_by_default():
        finding = Finding.objects.get(check_name=name)
        snooze(finding, now + timedelta(days=7), "Next week.", by="somebody@example.com", now=now)
