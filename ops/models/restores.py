"""What was restored as a whole, what became of the database it replaced, and named moments."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.db import models


class RestoreState(models.TextChoices):
    """How far it came. The live database is whole in every one of these."""

    PREPARING = "preparing", "Preparing"  # restored and compared beside, or given up on the way
    BESIDE = "beside", "Beside"  # complete under a name of its own, never to be swapped in
    SWAPPED = "swapped", "In place"
    UNDONE = "undone", "Undone"
    FAILED = "failed", "Failed"


class RestoreQuerySet(models.QuerySet["Restore"]):
    """Reads of restores."""

    def newest_first(self) -> Self:
        """By when they began."""
        return self.order_by("-started_at", "-pk")

    def kept(self) -> Self:
        """Whose replaced database should still be there."""
        return self.exclude(kept_database="").filter(dropped_at__isnull=True)

    def expired(self, now: datetime) -> Self:
        """Whose replaced database has been kept for long enough."""
        return self.kept().filter(kept_until__lt=now)


class Restore(models.Model):
    """One complete restore: from what, into what, and the way back."""

    run = models.OneToOneField(
        "ops.Run",
        null=True,
        on_delete=models.SET_NULL,
        related_name="restore",
        db_comment="The operation it was",
    )
    backup = models.ForeignKey(
        "ops.Backup",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="restores",
        db_comment="The backup it came from, when the catalogue has it",
    )
    origin = models.CharField(
        max_length=500, db_comment="What it came from, in words: a backup, a file, a moment"
    )
    holds = models.DateTimeField(null=True, db_comment="The moment that the restored data is of")
    database = models.CharField(max_length=63, db_comment="The database it is for")
    beside = models.CharField(
        max_length=63, blank=True, default="", db_comment="Name it is restored under, beside"
    )
    state = models.CharField(
        max_length=10, choices=RestoreState, default=RestoreState.PREPARING,
        db_comment="How far it came",
    )  # fmt: skip
    note = models.TextField(
        blank=True, default="", db_comment="What was compared, or why it failed, in sentences"
    )
    phases = models.JSONField(
        default=list, blank=True, db_comment="What it did: name, seconds, what was found"
    )
    safety_backup = models.ForeignKey(
        "ops.Backup",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="safeguarded",
        db_comment="The backup that was taken of what it replaced",
    )
    kept_database = models.CharField(
        max_length=63,
        blank=True,
        default="",
        db_comment="Name under which the replaced one is kept",
    )
    kept_until = models.DateTimeField(null=True, blank=True, db_comment="Until when it is kept")
    dropped_at = models.DateTimeField(null=True, blank=True, db_comment="When it was dropped")
    started_at = models.DateTimeField(auto_now_add=True, db_comment="When it began")
    swapped_at = models.DateTimeField(null=True, blank=True, db_comment="When it took its place")
    undone_at = models.DateTimeField(null=True, blank=True, db_comment="When it was taken back")
    undone_by = models.CharField(
        max_length=254, blank=True, default="", db_comment="Who took it back"
    )

    objects = RestoreQuerySet.as_manager()

    class Meta:
        db_table_comment = "Complete restores, and the databases they replaced"
        ordering = ("-started_at", "-pk")
        permissions = [
            ("run_restore", "Can restore the whole database"),
            ("approve_restore", "Can approve what another person asked to restore or recover"),
        ]

    def __str__(self) -> str:
        return f"Restore {self.pk} of {self.database}"


class RestorePoint(models.Model):
    """A named moment in the WAL that one can restore to."""

    name = models.CharField(max_length=63, db_comment="Its name in the WAL")
    lsn = models.CharField(max_length=20, db_comment="WAL position of the moment")
    timeline = models.IntegerField(null=True, db_comment="WAL timeline it is on")
    system_identifier = models.CharField(
        max_length=24, blank=True, db_comment="The server's system identifier"
    )
    made_at = models.DateTimeField(db_comment="The moment, by the server's clock")
    made_by = models.CharField(max_length=254, blank=True, db_comment="Who made it")

    class Meta:
        db_table_comment = "Named moments in the WAL that one can restore to"
        ordering = ("-made_at",)
        constraints = [
            models.UniqueConstraint(
                fields=["system_identifier", "name"], name="ops_restorepoint_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name
