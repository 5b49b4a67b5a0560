"""Rehearsed restores: which steps of the ladder held, and how long each took."""

from __future__ import annotations

from typing import Self

from django.db import models


class DrillVerdict(models.TextChoices):
    """What a drill came to. Passed means that every step ran and held."""

    RUNNING = "running", "Running"
    PASSED = "passed", "Passed"
    INCOMPLETE = "incomplete", "Incomplete"  # nothing was wrong, and some step could not run
    FAILED = "failed", "Failed"
    ABORTED = "aborted", "Aborted"


class DrillQuerySet(models.QuerySet["Drill"]):
    """Reads of drills."""

    def newest_first(self) -> Self:
        """By when they began."""
        return self.order_by("-started_at", "-pk")

    def passed(self) -> Self:
        """Where every step ran and held."""
        return self.filter(verdict=DrillVerdict.PASSED)


class Drill(models.Model):
    """One rehearsal."""

    run = models.OneToOneField(
        "ops.Run",
        null=True,
        on_delete=models.SET_NULL,
        related_name="drill",
        db_comment="The operation it was",
    )
    backup = models.ForeignKey(
        "ops.Backup",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="drills",
        db_comment="The backup that was rehearsed",
    )
    subject = models.CharField(max_length=500, db_comment="What was rehearsed, in words")
    target = models.CharField(
        max_length=100, blank=True, default="", db_comment="The moment asked for, when one was"
    )
    holds = models.DateTimeField(null=True, db_comment="The moment that was restored")
    verdict = models.CharField(
        max_length=10, choices=DrillVerdict, default=DrillVerdict.RUNNING,
        db_comment="What it came to",
    )  # fmt: skip
    # [{"step", "title", "state": held | failed | skipped, "seconds", "found"}], in order.
    steps = models.JSONField(default=list, blank=True, db_comment="The ladder, step by step")
    rto_seconds = models.FloatField(
        null=True, db_comment="Seconds from the start until the data could be used"
    )
    seconds = models.FloatField(null=True, db_comment="Seconds that the whole drill took")
    rpo_seconds = models.FloatField(
        null=True, db_comment="Seconds between the moment restored and the moment asked for, or now"
    )
    note = models.TextField(blank=True, default="", db_comment="The verdict, in sentences")
    started_at = models.DateTimeField(auto_now_add=True, db_comment="When it began")
    finished_at = models.DateTimeField(null=True, blank=True, db_comment="When it ended")

    objects = DrillQuerySet.as_manager()

    class Meta:
        db_table_comment = "Rehearsed restores: steps, how long, verdict"
        ordering = ("-started_at", "-pk")
        permissions = [("run_drill", "Can rehearse restores")]

    def __str__(self) -> str:
        return f"Drill {self.pk} of {self.subject}"
