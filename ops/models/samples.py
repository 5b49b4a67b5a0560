"""Numbers over time: sizes, connections, and what statements cost."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.db import models


class SampleQuerySet(models.QuerySet["Sample"]):
    """Reads of samples."""

    def series(self, metric: str, subject: str = "") -> Self:
        """One series, oldest first."""
        return self.filter(metric=metric, subject=subject).order_by("taken_at")

    def since(self, moment: datetime) -> Self:
        """Taken then or later."""
        return self.filter(taken_at__gte=moment)


class Sample(models.Model):
    """One number at one moment; what its unit is, the metric's name says."""

    metric = models.CharField(max_length=40, db_comment="What is measured, with its unit")
    subject = models.CharField(
        max_length=150, blank=True, default="", db_comment="Of which object; empty: the database"
    )
    taken_at = models.DateTimeField(db_comment="When")
    value = models.FloatField(db_comment="How much")

    objects = SampleQuerySet.as_manager()

    class Meta:
        db_table_comment = "Numbers over time: sizes, connections, cache hits"
        constraints = [
            models.UniqueConstraint(
                fields=["metric", "subject", "taken_at"], name="ops_sample_once"
            )
        ]
        indexes = [models.Index(fields=["taken_at"], name="ops_sample_taken")]

    def __str__(self) -> str:
        return f"{self.metric} {self.subject} {self.value:g}".replace("  ", " ")


class Statement(models.Model):
    """A statement as pg_stat_statements has it, and its counters when they were last read."""

    # As text: the server's ids fill 64 bits with a sign, and JavaScript loses the last digits.
    query_id = models.CharField(max_length=20, db_comment="The server's id of the statement")
    role = models.CharField(max_length=63, db_comment="Who runs it")
    text = models.TextField(db_comment="The statement, its constants taken out")
    first_seen = models.DateTimeField(db_comment="When it was read first")
    last_seen = models.DateTimeField(db_comment="When it was last seen to have run")
    # The server's running totals then: the next reading is told from them.
    counters = models.JSONField(default=dict, db_comment="Running totals when last read")

    class Meta:
        db_table_comment = "Statements that the server was asked, and their running totals"
        constraints = [
            models.UniqueConstraint(fields=["query_id", "role"], name="ops_statement_once")
        ]
        indexes = [models.Index(fields=["last_seen"], name="ops_statement_seen")]

    def __str__(self) -> str:
        return " ".join(self.text.split())[:100]


class StatementSample(models.Model):
    """What one statement cost between two readings."""

    statement = models.ForeignKey(
        Statement, on_delete=models.CASCADE, related_name="samples", db_comment="Of which statement"
    )
    since = models.DateTimeField(db_comment="When the reading before this one was")
    taken_at = models.DateTimeField(db_comment="When it was read")
    calls = models.BigIntegerField(db_comment="How often it ran in between")
    milliseconds = models.FloatField(db_comment="How long that took, all calls together")
    rows = models.BigIntegerField(db_comment="Rows returned or changed")
    blocks_hit = models.BigIntegerField(default=0, db_comment="Blocks found in memory")
    blocks_read = models.BigIntegerField(default=0, db_comment="Blocks read from elsewhere")
    blocks_written_temporarily = models.BigIntegerField(
        default=0, db_comment="Blocks of temporary files written"
    )

    class Meta:
        db_table_comment = "What statements cost between two readings"
        indexes = [
            models.Index(fields=["taken_at"], name="ops_statementsample_taken"),
            models.Index(fields=["statement", "taken_at"], name="ops_statementsample_of"),
        ]

    def __str__(self) -> str:
        return f"{self.calls} calls in {self.milliseconds:.0f} ms"
