"""What was recovered in part, row by row, so that it can be explained and taken back."""

from __future__ import annotations

from typing import Self

from django.db import models


class RecoveryState(models.TextChoices):
    """How it stands."""

    PREVIEWED = "previewed", "Previewed"
    APPLIED = "applied", "Applied"
    UNDONE = "undone", "Undone"
    FAILED = "failed", "Failed"


class RowAct(models.TextChoices):
    """What was done to a row."""

    INSERTED = "inserted", "Came back"
    UPDATED = "updated", "Set back"
    DELETED = "deleted", "Taken out"


class RecoveryQuerySet(models.QuerySet["Recovery"]):
    """Reads of recoveries."""

    def newest_first(self) -> Self:
        """By when they began."""
        return self.order_by("-started_at", "-pk")


class Recovery(models.Model):
    """One partial recovery, previewed or applied."""

    run = models.OneToOneField(
        "ops.Run",
        null=True,
        on_delete=models.SET_NULL,
        related_name="recovery",
        db_comment="The operation it was",
    )
    backup = models.ForeignKey(
        "ops.Backup",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="recoveries",
        db_comment="The backup it came from, when the catalogue has it",
    )
    origin = models.CharField(max_length=500, db_comment="What it came from, in words")
    holds = models.DateTimeField(null=True, db_comment="The moment that the recovered data is of")
    subject = models.CharField(max_length=500, db_comment="What was recovered, in words")
    state = models.CharField(
        max_length=10, choices=RecoveryState, default=RecoveryState.PREVIEWED,
        db_comment="How it stands",
    )  # fmt: skip
    # {"tables": [{"table", "missing", "changed", "extra", "planned", "samples": […]}], "conflicts":
    # […], "notes": […]}: what the preview showed and the page shows again.
    plan = models.JSONField(default=dict, blank=True, db_comment="The difference, table by table")
    note = models.TextField(blank=True, default="", db_comment="What became of it, in sentences")
    started_at = models.DateTimeField(auto_now_add=True, db_comment="When it began")
    applied_at = models.DateTimeField(null=True, blank=True, db_comment="When rows were changed")
    undone_at = models.DateTimeField(null=True, blank=True, db_comment="When it was taken back")
    undone_by = models.CharField(
        max_length=254, blank=True, default="", db_comment="Who took it back"
    )

    objects = RecoveryQuerySet.as_manager()

    class Meta:
        db_table_comment = "Partial recoveries: tables, accounts, customers, rows"
        ordering = ("-started_at", "-pk")
        verbose_name_plural = "recoveries"
        permissions = [("run_recovery", "Can recover tables, accounts and rows")]

    def __str__(self) -> str:
        return f"Recovery {self.pk} of {self.subject}"


class RecoveryRow(models.Model):
    """One row that a recovery changed, before and after. Only the owner's login reads it."""

    recovery = models.ForeignKey(
        Recovery, on_delete=models.CASCADE, related_name="rows", db_comment="The recovery"
    )
    position = models.BigIntegerField(db_comment="In which order it was changed")
    table = models.CharField(max_length=130, db_comment="Table, as schema.name, quoted if needed")
    key = models.JSONField(db_comment="Its primary key: column to value as text")
    act = models.CharField(max_length=10, choices=RowAct, db_comment="What was done")
    before = models.JSONField(
        null=True, db_comment="Column to value as text, as it was; null: none"
    )
    after = models.JSONField(null=True, db_comment="Column to value as text, as left; null: none")

    class Meta:
        db_table_comment = (
            "Rows that recoveries changed, before and after, so that they can be undone"
        )
        constraints = [
            models.UniqueConstraint(
                fields=["recovery", "position"], name="ops_recoveryrow_position"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.table} {self.key}"
