"""What was done, by whom, and how it went: every long or destructive operation is a run."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

import pgtrigger
from django.db import models

from ops.postgres.roles import ADMIN

# Who waits for approval says so every second; silence this long means that nobody waits any more.
SILENCE = timedelta(seconds=60)


class RunKind(models.TextChoices):
    """What is done."""

    BACKUP = "backup", "Backup"
    VERIFY = "verify", "Verify"
    PROVE = "prove", "Prove"
    COPY = "copy", "Copy off-site"
    DELETE = "delete", "Delete"
    PRUNE = "prune", "Prune"
    PIN = "pin", "Pin"
    DOWNLOAD = "download", "Download"
    REBUILD = "rebuild", "Rebuild catalogue"
    RESTORE = "restore", "Restore"
    UNDO = "undo", "Undo"
    RESTORE_POINT = "point", "Restore point"
    RECOVER = "recover", "Recover"
    EXPORT = "export", "Export account"
    IMPORT = "import", "Import account"
    DRILL = "drill", "Drill"
    HEALTH = "health", "Health checks"
    SIGNAL = "signal", "End a session"


class RunStatus(models.TextChoices):
    """How it stands."""

    AWAITING = "awaiting", "Awaits approval"
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


ENDED = (RunStatus.DONE, RunStatus.FAILED, RunStatus.CANCELLED)


# The columns that say what became of a run. An administrator's role writes them once: with the
# decision about a run that awaits approval. Everything else is the owner's login's to tell.
_OUTCOME = ("status", "message", "finished_at", "approved_at", "approved_by")


def _row(record: str) -> str:
    return f"({', '.join(f'{record}.{column}' for column in _OUTCOME)})"


_DECISIONS_ALONE = pgtrigger.Trigger(
    name="decisions_alone",
    when=pgtrigger.Before,
    operation=pgtrigger.Update,
    condition=pgtrigger.Condition(f"({_row('OLD')} IS DISTINCT FROM {_row('NEW')})"),
    func=f"""
    IF current_user = '{ADMIN}' AND NOT (
        OLD.status = 'awaiting' AND (
            NEW.status = 'cancelled' OR (NEW.status = 'queued' AND NEW.approved_by <> '')
        )
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = 'permission denied for a run that awaits no approval';
    END IF;
    RETURN NEW;
    """,
)


class RunQuerySet(models.QuerySet["Run"]):
    """Reads of runs."""

    def newest_first(self) -> Self:
        """By when they were asked for."""
        return self.order_by("-asked_at", "-pk")

    def unfinished(self) -> Self:
        """Waiting or running."""
        return self.exclude(status__in=ENDED)

    def running(self) -> Self:
        """Said to be running; whether somebody still is at it, `ops.liveness` knows."""
        return self.filter(status=RunStatus.RUNNING)


class Run(models.Model):
    """One operation, from being asked for to its end."""

    kind = models.CharField(max_length=12, choices=RunKind, db_comment="What is done")
    subject = models.CharField(
        max_length=250, blank=True, db_comment="To what: a kind of backup, a backup's name"
    )
    arguments = models.JSONField(default=dict, blank=True, db_comment="With which choices")
    status = models.CharField(
        max_length=10, choices=RunStatus, default=RunStatus.QUEUED, db_comment="How it stands"
    )
    phase = models.CharField(
        max_length=200, blank=True, default="", db_comment="What it is doing now"
    )
    done = models.BigIntegerField(default=0, db_comment="Units done of this phase")
    total = models.BigIntegerField(
        null=True, blank=True, db_comment="Units of this phase, when they can be known"
    )
    unit = models.CharField(
        max_length=20, blank=True, default="", db_comment="What is counted: bytes, tables"
    )
    message = models.TextField(
        blank=True, default="", db_comment="What became of it, in a sentence"
    )
    # Of an account's archive {"email", "rows": {table: number}, "files", …}; most kinds need none.
    result = models.JSONField(
        default=dict, blank=True, db_comment="What came of it, for its page: rows of each table"
    )
    # Text instead of a key: the record outlives the user, and cron is none.
    asked_by = models.CharField(
        max_length=254, blank=True, db_comment="Who asked: an e-mail address, or a system user"
    )
    asked_by_user_id = models.BigIntegerField(
        null=True, blank=True, db_comment="Their user id, when they signed in"
    )
    via = models.CharField(
        max_length=20, blank=True, db_comment="Through what: admin, command, cron, launch"
    )
    host = models.CharField(max_length=100, blank=True, db_comment="Machine it runs on")
    process = models.IntegerField(null=True, blank=True, db_comment="Process it runs in")
    backup = models.ForeignKey(
        "ops.Backup",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="runs",
        db_comment="The backup it made or worked on",
    )
    asked_at = models.DateTimeField(auto_now_add=True, db_comment="When it was asked for")
    started_at = models.DateTimeField(null=True, blank=True, db_comment="When it began")
    seen_at = models.DateTimeField(null=True, blank=True, db_comment="Its last sign of life")
    finished_at = models.DateTimeField(null=True, blank=True, db_comment="When it ended")
    cancel_asked_at = models.DateTimeField(
        null=True, blank=True, db_comment="When somebody asked it to stop"
    )
    cancel_asked_by = models.CharField(
        max_length=254, blank=True, default="", db_comment="Who asked it to stop"
    )
    approved_at = models.DateTimeField(
        null=True, blank=True, db_comment="When a second person approved it, where that is asked"
    )
    approved_by = models.CharField(
        max_length=254, blank=True, default="", db_comment="Who approved it; never who asked"
    )

    objects = RunQuerySet.as_manager()

    class Meta:
        db_table_comment = "Operations on the database: who asked, how far they are, how they ended"
        ordering = ("-asked_at", "-pk")
        permissions = [
            ("export_account", "Can export accounts as archives, and download those"),
            ("import_account", "Can import accounts from archives"),
        ]
        triggers = [_DECISIONS_ALONE]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(approved_at__isnull=True, approved_by="")
                | models.Q(approved_at__isnull=False) & ~models.Q(approved_by=""),
                name="ops_run_approved_by_somebody",
            ),
            models.CheckConstraint(
                condition=models.Q(approved_by="") | ~models.Q(approved_by=models.F("asked_by")),
                name="ops_run_approved_by_another",
            ),
        ]
        indexes = [
            models.Index(fields=["-asked_at"], name="ops_run_asked"),
            models.Index(
                fields=["kind", "status"],
                name="ops_run_unfinished",
                condition=models.Q(status__in=("awaiting", "queued", "running")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.subject}".strip()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in ENDED
