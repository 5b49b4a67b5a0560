"""The life of findings: opened, seen again, worse, gone, come back; and what people say of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import F

from ops.health.contract import Check, Reported
from ops.health.running import SELF, Outcome
from ops.models import CheckResult, EventKind, Finding, FindingEvent, Severity
from ops.runs import OWNER


@dataclass(frozen=True)
class Change:
    """What recording changed about one finding: what people may want to be told."""

    finding: Finding
    event: FindingEvent


def record(outcomes: Sequence[Outcome], now: datetime) -> list[Change]:
    """Keep what checks reported at `now`, in one transaction; returns what is new about it.

    Two runs at once record one after the other, and the older one changes nothing. What a check
    that could not see everything does not report stays as it was.
    """
    with transaction.atomic(using=OWNER):
        latest = _keep_results(outcomes, now)
        names = [outcome.check.name for outcome in latest]
        known: dict[str, dict[str, Finding]] = {name: {} for name in names}
        for row in Finding.objects.using(OWNER).filter(check_name__in=names):
            known[row.check_name][row.key] = row
        story = _Story(now)
        for outcome in latest:
            rows = known[outcome.check.name]
            for reported in outcome.reported:
                before = rows.pop(reported.key[:250], None)
                if before is None:
                    story.opened(outcome.check, reported)
                else:
                    story.seen(before, outcome.check, reported)
            for row in rows.values():
                # Gone, as far as the check would have seen it.
                if row.is_open and (outcome.is_complete or row.key == f"{SELF}more"):
                    story.resolved(row)
        return story.kept()


def forget_checks(names: Iterable[str], now: datetime) -> list[Change]:
    """End what checks reported that are no longer in settings: nobody looks any more."""
    gone = CheckResult.objects.using(OWNER).exclude(check_name__in=list(names))
    with transaction.atomic(using=OWNER):
        left = list(gone.values_list("check_name", flat=True))
        story = _Story(now)
        for row in Finding.objects.using(OWNER).open().filter(check_name__in=left):
            story.resolved(row, "The check was taken out of the settings.")
        gone.delete()
        return story.kept()


def _keep_results(outcomes: Sequence[Outcome], now: datetime) -> list[Outcome]:
    """Remember how checks went; returns those of which no later run has recorded already."""
    by_name = {outcome.check.name: outcome for outcome in outcomes}
    results = CheckResult.objects.using(OWNER)
    known = set(results.filter(check_name__in=by_name).values_list("check_name", flat=True))
    results.bulk_create(
        [_result(each, now) for name, each in by_name.items() if name not in known],
        ignore_conflicts=True,
    )
    # In the same order in every run: two that wait for each other would wait for ever.
    rows = results.select_for_update().filter(check_name__in=by_name).order_by("check_name")
    latest = [row for row in rows if row.ran_at <= now]
    results.bulk_create(
        [_result(by_name[row.check_name], now, row) for row in latest],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["area", "state", "ran_at", "seconds", "findings", "memory"],
    )
    names = {row.check_name for row in latest}
    return [outcome for name, outcome in by_name.items() if name in names]


def _result(outcome: Outcome, now: datetime, before: CheckResult | None = None) -> CheckResult:
    return CheckResult(
        pk=before.pk if before else None,
        check_name=outcome.check.name,
        area=outcome.check.area,
        state=outcome.state,
        ran_at=now,
        seconds=outcome.seconds,
        findings=len(outcome.reported),
        memory=outcome.memory or (before.memory if before else {}),
    )


def _told(reported: Reported, check: Check) -> dict[str, str]:
    """What of a finding is as the check tells it now."""
    return {
        "area": check.area,
        "severity": reported.severity,
        "title": reported.title[:250],
        "detail": reported.detail,
        "subject": reported.subject[:250],
        "next_step": reported.next_step,
        "accepted": settings.HEALTH_ACCEPTED.get(f"{check.name}:{reported.key[:250]}", ""),
    }


class _Story:
    """What happens to findings in one run, written at its end by few statements."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._new: list[Finding] = []
        self._again: list[int] = []
        self._events: list[FindingEvent] = []

    def opened(self, check: Check, reported: Reported) -> None:
        """Seen for the first time."""
        row = Finding(
            check_name=check.name,
            key=reported.key[:250],
            first_seen=self._now,
            opened_at=self._now,
            last_seen=self._now,
            **_told(reported, check),
        )
        self._new.append(row)
        self._happened(row, EventKind.OPENED)

    def seen(self, row: Finding, check: Check, reported: Reported) -> None:
        """Seen again, or come back."""
        before = Severity(row.severity)
        told = _told(reported, check)
        changed = [name for name, value in told.items() if getattr(row, name) != value]
        for name in changed:
            setattr(row, name, told[name])
        if not row.is_open:
            row.resolved_at, row.opened_at = None, self._now
            row.times_opened += 1
            # Whoever knew of it knew of the last time.
            row.acknowledged_at, row.acknowledged_by = None, ""
            changed += [
                "resolved_at", "opened_at", "times_opened", "acknowledged_at", "acknowledged_by",
            ]  # fmt: skip
            self._happened(row, EventKind.REOPENED)
        elif (after := Severity(row.severity)) != before:
            worse = after.rank > before.rank
            self._happened(row, EventKind.WORSE if worse else EventKind.BETTER)
        row.last_seen = self._now
        if changed:
            row.save(using=OWNER, update_fields=changed)
        self._again.append(row.pk)

    def resolved(self, row: Finding, note: str = "") -> None:
        """No longer found."""
        row.resolved_at = self._now
        row.save(using=OWNER, update_fields=["resolved_at"])
        self._happened(row, EventKind.RESOLVED, note)

    def kept(self) -> list[Change]:
        """Write it, and return what people may want to be told."""
        Finding.objects.using(OWNER).bulk_create(self._new)
        Finding.objects.using(OWNER).filter(pk__in=self._again).update(
            last_seen=self._now, times_seen=F("times_seen") + 1
        )
        FindingEvent.objects.using(OWNER).bulk_create(self._events)
        return [Change(event.finding, event) for event in self._events]

    def _happened(self, row: Finding, kind: EventKind, note: str = "") -> None:
        self._events.append(
            FindingEvent(finding=row, kind=kind, severity=row.severity, note=note, at=self._now)
        )
