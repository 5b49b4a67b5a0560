"""What is wrong with the database, since when, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q


class Area(models.TextChoices):
    """What a check is about."""

    CONNECTION = "connection", "Connection"
    INTEGRITY = "integrity", "Integrity"
    SECURITY = "security", "Security"
    PERFORMANCE = "performance", "Performance"
    STORAGE = "storage", "Storage"
    BACKUPS = "backups", "Backups"
    SCHEDULE = "schedule", "Schedule"
    REPLICATION = "replication", "Replication"


class Severity(models.TextChoices):
    """How bad it is. Info is worth knowing, and nobody has to do anything today."""

    INFO = "info", "Info"
    WARNING = "warning", "Warning"
    CRITICAL = "critical", "Critical"

    @property
    def rank(self) -> int:
        """Order by how bad it is, from 1."""
        return list(Severity).index(self) + 1


class FindingQuerySet(models.QuerySet["Finding"]):
    """Reads of findings."""

    def open(self) -> Self:
        """Still true when last looked, acknowledged or not."""
        return self.filter(resolved_at__isnull=True)

    def loud(self, now: datetime) -> Self:
        """Open, and neither snoozed nor accepted by the settings."""
        return self.open().filter(
            Q(snoozed_until__isnull=True) | Q(snoozed_until__lte=now), accepted=""
        )

    def quiet(self, now: datetime) -> Self:
        """Open, and snoozed or accepted by the settings."""
        return self.open().filter(Q(snoozed_until__gt=now) | ~Q(accepted=""))

    def worst_first(self) -> Self:
        """By severity, then the oldest."""
        rank = models.Case(
            *(models.When(severity=each, then=models.Value(each.rank)) for each in Severity),
            output_field=models.IntegerField(),
        )
        return self.order_by(rank.desc(), "opened_at", "pk")


class Finding(models.Model):
    """One thing that a check found: the same row from when it is first seen, for good."""

    check_name = models.CharField(max_length=60, db_comment="The check that reports it")
    key = models.CharField(max_length=250, blank=True, db_comment="What it is about, stably")
    area = models.CharField(max_length=12, choices=Area, db_comment="What the check is about")
    severity = models.CharField(max_length=8, choices=Severity, db_comment="How bad it is")
    title = models.CharField(max_length=250, db_comment="What is wrong, in a sentence")
    detail = models.TextField(blank=True, default="", db_comment="With numbers, and what it means")
    subject = models.CharField(
        max_length=250, blank=True, default="", db_comment="The object concerned"
    )
    next_step = models.TextField(
        blank=True, default="", db_comment="A command or SQL that can be run as it is"
    )
    accepted = models.TextField(
        blank=True, default="", db_comment="Why the settings accept it; empty: they don't"
    )
    first_seen = models.DateTimeField(db_comment="When it was seen first, ever")
    opened_at = models.DateTimeField(db_comment="Since when it has been open this time")
    last_seen = models.DateTimeField(db_comment="When a check saw it last")
    times_seen = models.BigIntegerField(default=1, db_comment="How often a check saw it")
    times_opened = models.IntegerField(default=1, db_comment="How often it came (back)")
    resolved_at = models.DateTimeField(
        null=True, blank=True, db_comment="When a check no longer found it"
    )
    # Text instead of keys: the record outlives the users.
    assigned_to = models.CharField(
        max_length=254, blank=True, default="", db_comment="Whose it is: an e-mail address"
    )
    acknowledged_at = models.DateTimeField(
        null=True, blank=True, db_comment="When somebody said that they know of it"
    )
    acknowledged_by = models.CharField(max_length=254, blank=True, default="", db_comment="Who")
    snoozed_until = models.DateTimeField(
        null=True, blank=True, db_comment="Nobody wants to hear of it until then"
    )
    snooze_reason = models.TextField(blank=True, default="", db_comment="Why not")
    snoozed_by = models.CharField(
        max_length=254, blank=True, default="", db_comment="Who decided that"
    )

    objects = FindingQuerySet.as_manager()

    class Meta:
        db_table_comment = "What health checks found: since when, whose, snoozed, gone"
        ordering = ("-last_seen", "-pk")
        permissions = [
            ("run_health", "Can run health checks"),
            ("manage_finding", "Can acknowledge, assign and snooze findings"),
            ("signal_session", "Can cancel queries and end sessions"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["check_name", "key"], name="ops_finding_once"),
            models.CheckConstraint(
                condition=Q(snoozed_until__isnull=True) | ~Q(snooze_reason=""),
                name="ops_finding_snoozed_for_a_reason",
            ),
        ]
        indexes = [
            models.Index(
                fields=["area", "severity"],
                name="ops_finding_open",
                condition=Q(resolved_at__isnull=True),
            ),
            models.Index(fields=["resolved_at"], name="ops_finding_resolved"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        """Whether it was still true when last looked."""
        return self.resolved_at is None

    def is_snoozed(self, now: datetime) -> bool:
        """Whether nobody wants to hear of it now."""
        return self.snoozed_until is not None and self.snoozed_until > now

    def is_loud(self, now: datetime) -> bool:
        """Whether it counts: open, and neither snoozed nor accepted."""
        return self.is_open and not self.accepted and not self.is_snoozed(now)


class EventKind(models.TextChoices):
    """What happened to a finding."""

    OPENED = "opened", "Found"
    REOPENED = "reopened", "Came back"
    WORSE = "worse", "Got worse"
    BETTER = "better", "Got better"
    RESOLVED = "resolved", "Gone"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    ASSIGNED = "assigned", "Assigned"
    SNOOZED = "snoozed", "Snoozed"
    WOKEN = "woken", "No longer snoozed"


class FindingEvent(models.Model):
    """One line of a finding's history."""

    finding = models.ForeignKey(
        Finding, on_delete=models.CASCADE, related_name="events", db_comment="Whose history"
    )
    kind = models.CharField(max_length=12, choices=EventKind, db_comment="What happened")
    severity = models.CharField(
        max_length=8, choices=Severity, blank=True, default="", db_comment="How bad it was then"
    )
    note = models.TextField(blank=True, default="", db_comment="What was said")
    by = models.CharField(
        max_length=254, blank=True, default="", db_comment="Who; empty: the check itself"
    )
    at = models.DateTimeField(db_comment="When")

    class Meta:
        db_table_comment = "What happened to findings"
        ordering = ("-at", "-pk")
        indexes = [models.Index(fields=["at"], name="ops_findingevent_at")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.at:%Y-%m-%d %H:%M}"


class CheckState(models.TextChoices):
    """What running a check came to."""

    WELL = "well", "Well"
    FOUND = "found", "Found something"
    BLIND = "blind", "Could not see everything"
    FAILED = "failed", "Could not run"


class CheckResult(models.Model):
    """How a check went when it ran last: what was never looked at must not look healthy."""

    check_name = models.CharField(max_length=60, unique=True, db_comment="The check")
    area = models.CharField(max_length=12, choices=Area, db_comment="What it is about")
    state = models.CharField(max_length=6, choices=CheckState, db_comment="What it came to")
    ran_at = models.DateTimeField(db_comment="When it began")
    seconds = models.FloatField(db_comment="Seconds it took")
    findings = models.IntegerField(default=0, db_comment="How many it reported")
    # What a check remembers until next time: where it stopped, what it counted.
    memory = models.JSONField(default=dict, blank=True, db_comment="What it keeps for next time")

    class Meta:
        db_table_comment = "Health checks: when each ran last, and how that went"
        ordering = ("area", "check_name")

    def __str__(self) -> str:
        return f"{self.check_name}: {self.get_state_display()}"
