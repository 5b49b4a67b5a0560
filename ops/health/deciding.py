"""What people make of a finding: known, whose it is, not now. By the page's own role."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from ops.health.errors import HealthError
from ops.models import EventKind, Finding, FindingEvent


def acknowledge(finding: Finding, *, by: str, now: datetime, note: str = "") -> None:
    """Say that somebody knows of it; it stays open. Raises HealthError when it is gone."""
    _change(finding, EventKind.ACKNOWLEDGED, by, now, note, acknowledged_at=now, acknowledged_by=by)


def assign(finding: Finding, to: str, *, by: str, now: datetime) -> None:
    """Say whose it is, by an e-mail address; "" for nobody's. Raises HealthError."""
    _change(finding, EventKind.ASSIGNED, by, now, to or "nobody", assigned_to=to)


def snooze(finding: Finding, until: datetime, reason: str, *, by: str, now: datetime) -> None:
    """Hear nothing of it until then. Raises HealthError for the past, or without a reason."""
    if until <= now:
        raise HealthError("That time is over. Nothing was changed. Choose a later one.")
    if not reason.strip():
        raise HealthError("Say why it can wait: whoever looks next wants to know.")
    _change(
        finding,
        EventKind.SNOOZED,
        by,
        now,
        f"until {until:%Y-%m-%d %H:%M} UTC: {reason.strip()}",
        snoozed_until=until,
        snooze_reason=reason.strip(),
        snoozed_by=by,
    )


def wake(finding: Finding, *, by: str, now: datetime) -> None:
    """Hear of it again. Raises HealthError when it is gone."""
    _change(
        finding, EventKind.WOKEN, by, now, "", snoozed_until=None, snooze_reason="", snoozed_by=""
    )


def _change(
    finding: Finding, kind: EventKind, by: str, now: datetime, note: str, **values: object
) -> None:
    with transaction.atomic():
        if not Finding.objects.open().filter(pk=finding.pk).update(**values):
            raise HealthError(f"“{finding.title}” is gone already. Nothing was changed.")
        FindingEvent.objects.create(
            finding=finding, kind=kind, severity=finding.severity, note=note, by=by, at=now
        )
    finding.refresh_from_db()
