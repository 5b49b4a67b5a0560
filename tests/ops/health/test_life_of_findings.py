"""A finding is opened, seen again, gone and come back; what could not be seen is not gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from ops.health import recording
from ops.health.context import Context
from ops.health.contract import BlindError, Check, Reported
from ops.health.deciding import acknowledge, assign, snooze, wake
from ops.health.errors import HealthError
from ops.health.look import look_at
from ops.health.recording import record
from ops.models import Area, CheckResult, EventKind, Finding, FindingEvent, Severity
from ops.progress import CancelledError, Counter
from ops.rls.router import as_owner_by_default
from tests.ops.health.conftest import Patient

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.get_default_timezone())
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def as_owner(patient: Patient) -> Iterator[None]:
    with as_owner_by_default():
        yield


def reporting(*reported: Reported, blind: str = "", crash: bool = False) -> Check:
    def look(context: Context) -> Iterable[Reported]:
        yield from reported
        if blind:
            context.blind(blind, "GRANT sight")
        if crash:
            raise ZeroDivisionError

    return Check("tried", Area.STORAGE, "Something", "", look, 1.0, HOUR)


def table(name: str, severity: Severity = Severity.WARNING, detail: str = "1") -> Reported:
    return Reported(name, severity, f"{name} is wrong", detail, "VACUUM", f"table {name}")


def keep(patient: Patient, check: Check, at: datetime) -> list[str]:
    changes = record([patient.run(check)], at)
    return [f"{change.event.kind} {change.finding.key}" for change in changes]


def test_a_finding_lives_from_its_first_to_its_last_time(patient: Patient) -> None:
    assert keep(patient, reporting(table("a"), table("b")), NOW) == ["opened a", "opened b"]
    assert keep(patient, reporting(table("a", detail="2"), table("b")), NOW + HOUR) == []
    assert keep(patient, reporting(table("b", Severity.CRITICAL)), NOW + 2 * HOUR) == [
        "worse b",
        "resolved a",
    ]
    gone = Finding.objects.get(key="a")
    assert (gone.first_seen, gone.last_seen, gone.resolved_at, gone.times_seen) == (
        NOW, NOW + HOUR, NOW + 2 * HOUR, 2,
    )  # fmt: skip
    assert gone.detail == "2"
    assert keep(patient, reporting(table("a"), table("b")), NOW + 3 * HOUR) == [
        "reopened a",
        "better b",
    ]
    back = Finding.objects.get(key="a")
    assert back.pk == gone.pk
    assert (back.first_seen, back.opened_at, back.resolved_at) == (NOW, NOW + 3 * HOUR, None)
    assert (back.times_seen, back.times_opened) == (3, 2)
    history = FindingEvent.objects.filter(finding=back).order_by("at")
    assert [event.kind for event in history] == ["opened", "resolved", "reopened"]


def test_what_a_check_could_not_see_is_not_gone_and_not_well(patient: Patient) -> None:
    keep(patient, reporting(table("a")), NOW)
    assert keep(patient, reporting(blind="Not all."), NOW + HOUR) == ["opened !blind"]
    assert Finding.objects.get(key="a").is_open
    told = Finding.objects.get(key="!blind")
    assert (told.severity, told.next_step) == (Severity.WARNING, "GRANT sight")
    assert told.detail == "Not all. What this check reported before stays as it was."
    assert CheckResult.objects.get().state == "blind"
    assert keep(patient, reporting(crash=True), NOW + 2 * HOUR) == []
    assert CheckResult.objects.get().state == "failed"
    assert "crashed" in Finding.objects.get(key="!blind").detail
    assert keep(patient, reporting(), NOW + 3 * HOUR) == ["resolved !blind", "resolved a"]
    assert CheckResult.objects.get().state == "well"


def test_a_check_that_sees_nothing_says_how_to_let_it(patient: Patient) -> None:
    def look(context: Context) -> Iterable[Reported]:
        raise BlindError("All of it is hidden.", "GRANT pg_monitor TO srvc_owner;")

    keep(patient, Check("tried", Area.STORAGE, "RLS", "", look, 1.0, HOUR), NOW)
    told = Finding.objects.get()
    assert told.title == "Not everything could be checked: RLS"
    assert told.next_step == "GRANT pg_monitor TO srvc_owner;"


def test_a_statement_that_takes_too_long_or_writes_fails_its_check_alone(patient: Patient) -> None:
    def slow(context: Context) -> Iterable[Reported]:
        context.rows("SELECT pg_sleep(30)")
        return []

    def writing(context: Context) -> Iterable[Reported]:
        context.rows("CREATE TABLE public.x ()")
        return []

    outcome = patient.run(Check("slow", Area.STORAGE, "Slow", "", slow, 0.05, HOUR))
    assert "longer than the 0.05 s it is given" in outcome.reported[0].detail
    outcome = patient.run(Check("writing", Area.STORAGE, "Writing", "", writing, 1.0, HOUR))
    assert "read-only transaction" in outcome.reported[0].detail
    assert patient.execute("SELECT to_regclass('public.x')") == [(None,)]


def test_of_very_many_findings_the_worst_are_told_one_by_one(patient: Patient) -> None:
    many = [table(f"t{number:03}") for number in range(150)]
    outcome = patient.run(reporting(*many, table("z", Severity.CRITICAL)))
    assert len(outcome.reported) == 100
    assert outcome.reported[0].key == "z"
    assert outcome.reported[-1].title == "Something: 52 more"


def test_an_older_run_that_records_later_changes_nothing(patient: Patient) -> None:
    assert keep(patient, reporting(table("a")), NOW) == ["opened a"]
    assert keep(patient, reporting(), NOW - HOUR) == []
    assert Finding.objects.get().is_open


def test_of_checks_recorded_together_only_what_a_later_run_has_not_recorded_is_kept(
    patient: Patient,
) -> None:
    def named(name: str, *reported: Reported) -> Check:
        return replace(reporting(*reported), name=name)

    record([patient.run(named("late", table("a")))], NOW + HOUR)
    changes = record([patient.run(named("late")), patient.run(named("new", table("b")))], NOW)
    assert [(change.event.kind, change.finding.key) for change in changes] == [("opened", "b")]
    assert sorted(CheckResult.objects.values_list("check_name", "state", "ran_at")) == [
        ("late", "found", NOW + HOUR),
        ("new", "found", NOW),
    ]
    changes = record(
        [patient.run(named("new")), patient.run(named("late", table("c")))], NOW + 2 * HOUR
    )
    assert [(change.event.kind, change.finding.key) for change in changes] == [
        ("resolved", "b"),
        ("opened", "c"),
        ("resolved", "a"),
    ]


def test_a_run_that_is_cancelled_keeps_what_it_has_seen(
    patient: Patient,
) -> None:
    progress = Counter()

    def look(context: Context) -> Iterable[Reported]:
        progress.cancel()
        yield table("a")

    checks = [Check(name, Area.STORAGE, "T", "", look, 1.0, HOUR) for name in ("first", "second")]
    with pytest.raises(CancelledError):
        look_at(checks, progress=progress)
    assert [(row.check_name, row.key) for row in Finding.objects.all()] == [("first", "a")]


def test_what_people_say_of_a_finding_is_kept_with_its_history(patient: Patient) -> None:
    keep(patient, reporting(table("a")), NOW)
    finding = Finding.objects.get()
    acknowledge(finding, by="ann@example.com", now=NOW)
    assign(finding, "bob@example.com", by="ann@example.com", now=NOW + HOUR)
    snooze(finding, NOW + 9 * HOUR, "disk is ordered", by="bob@example.com", now=NOW + 2 * HOUR)
    assert finding.is_snoozed(NOW + 3 * HOUR)
    assert not Finding.objects.loud(NOW + 3 * HOUR).exists()
    assert Finding.objects.loud(NOW + 9 * HOUR).exists()
    wake(finding, by="ann@example.com", now=NOW + 4 * HOUR)
    assert Finding.objects.loud(NOW + 4 * HOUR).exists()
    said = [(event.kind, event.note, event.by) for event in finding.events.order_by("at")[1:]]
    assert said == [
        ("acknowledged", "", "ann@example.com"),
        ("assigned", "bob@example.com", "ann@example.com"),
        ("snoozed", "until 2026-11-22 21:00 UTC: disk is ordered", "bob@example.com"),
        ("woken", "", "ann@example.com"),
    ]
    keep(patient, reporting(), NOW + 5 * HOUR)
    keep(patient, reporting(table("a")), NOW + 6 * HOUR)
    finding.refresh_from_db()
    assert (finding.acknowledged_at, finding.assigned_to) == (None, "bob@example.com")


def test_bad_decisions_are_refused_and_change_nothing(patient: Patient) -> None:
    keep(patient, reporting(table("a")), NOW)
    finding = Finding.objects.get()
    with pytest.raises(HealthError, match="That time is over"):
        snooze(finding, NOW - HOUR, "because", by="ann", now=NOW)
    with pytest.raises(HealthError, match="Say why it can wait"):
        snooze(finding, NOW + HOUR, "  ", by="ann", now=NOW)
    keep(patient, reporting(), NOW + HOUR)
    with pytest.raises(HealthError, match="is gone already"):
        acknowledge(finding, by="ann", now=NOW)
    assert FindingEvent.objects.exclude(kind__in=("opened", "resolved")).count() == 0


def test_settings_accept_a_finding_for_a_reason(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "HEALTH_ACCEPTED", {"tried:a": "It is a template."})
    keep(patient, reporting(table("a")), NOW)
    assert Finding.objects.get().accepted == "It is a template."
    assert not Finding.objects.loud(NOW).exists()
    assert Finding.objects.open().exists()


def test_what_a_check_remembers_is_there_next_time(patient: Patient) -> None:
    def look(context: Context) -> Iterable[Reported]:
        context.memory["runs"] = context.memory.get("runs", 0) + 1
        return []

    check = Check("tried", Area.STORAGE, "Memory", "", look, 1.0, HOUR)
    record([patient.run(check)], NOW)
    record([patient.run(check)], NOW + HOUR)
    assert CheckResult.objects.get().memory == {"runs": 2}


def test_a_check_that_settings_no_longer_list_takes_its_findings_along(patient: Patient) -> None:
    keep(patient, reporting(table("a")), NOW)
    recording.forget_checks([], NOW + HOUR)
    assert not CheckResult.objects.exists()
    event = FindingEvent.objects.latest("at")
    assert (event.kind, event.note) == (
        EventKind.RESOLVED,
        "The check was taken out of the settings.",
    )
