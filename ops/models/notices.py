"""What is told to people who are not looking: one notice for each event and channel."""

from __future__ import annotations

from django.db import models


class NoticeState(models.TextChoices):
    """Whether it is out."""

    WAITING = "waiting", "Waiting"
    SENT = "sent", "Sent"
    FAILED = "failed", "Given up"


class Notice(models.Model):
    """One message about one event of a finding, by one channel; never a second one."""

    event = models.ForeignKey(
        "ops.FindingEvent", on_delete=models.CASCADE, related_name="notices",
        db_comment="What it tells of",
    )  # fmt: skip
    channel = models.CharField(max_length=20, db_comment="By what: email, webhook")
    state = models.CharField(
        max_length=8, choices=NoticeState, default=NoticeState.WAITING, db_comment="Is it out?"
    )
    attempts = models.IntegerField(default=0, db_comment="How often it was tried")
    due_at = models.DateTimeField(db_comment="Not before: quiet hours, the pause after a failure")
    sent_at = models.DateTimeField(null=True, blank=True, db_comment="When it went out")
    error = models.TextField(blank=True, default="", db_comment="Why the last try failed")

    class Meta:
        db_table_comment = "Messages about findings: once each"
        constraints = [models.UniqueConstraint(fields=["event", "channel"], name="ops_notice_once")]
        indexes = [
            models.Index(
                fields=["due_at"],
                name="ops_notice_waiting",
                condition=models.Q(state="waiting"),
            )
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.get_state_display()}"
