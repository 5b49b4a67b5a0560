"""Imports from the admin: the file, what it would do, and what it did."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from crm.models.base import AccountModel, text_field
from crm.models.users import User


class ImportKind(models.TextChoices):
    CUSTOMERS = "customers", "Customers"
    PRODUCTS = "products", "Products"
    JOBS = "jobs", "Jobs"
    INVOICES = "invoices", "Invoices"


class ImportStatus(models.TextChoices):
    PREVIEW = "preview", "Preview"
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    REFUSED = "refused", "Refused"
    CANCELLED = "cancelled", "Cancelled"


class ImportRun(AccountModel):
    """One uploaded file on its way into an account."""

    kind = models.CharField(max_length=10, choices=ImportKind, db_comment="What the rows are.")
    status = models.CharField(
        max_length=10,
        choices=ImportStatus,
        default=ImportStatus.PREVIEW,
        db_default=ImportStatus.PREVIEW,
        db_comment="preview, queued, running, done, refused or cancelled.",
    )
    started_by = models.ForeignKey(
        User,
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        db_index=False,
        related_name="+",
        db_comment="Who uploaded the file.",
    )
    file_name = text_field("What the uploaded file is called.")
    files = models.JSONField(
        default=list,
        db_comment="Names of the uploaded files, in the order of `content`.",
    )
    content = models.BinaryField(
        default=b"", db_comment="The uploaded files, kept until the import has ended."
    )
    mapping = models.JSONField(
        default=dict, blank=True, db_comment="Column of the file to field of the row."
    )
    rows_total = models.PositiveIntegerField(default=0, db_comment="Rows in the file.")
    rows_done = models.PositiveIntegerField(default=0, db_comment="Rows looked at so far.")
    rows_created = models.PositiveIntegerField(default=0, db_comment="Rows that became new rows.")
    rows_skipped = models.PositiveIntegerField(
        default=0, db_comment="Rows that were there already."
    )
    problems = models.JSONField(
        default=list, db_comment="Line, column and text of the first problems found."
    )
    message = text_field("What became of the import, in a sentence.", max_length=1000)
    started_at = models.DateTimeField(null=True, editable=False, db_comment="When work began.")
    finished_at = models.DateTimeField(null=True, editable=False, db_comment="When work ended.")

    class Meta(AccountModel.Meta):
        db_table = "imports"
        verbose_name = "import"
        db_table_comment = "Files brought in from elsewhere, and what became of them."
        ordering = ("-id",)
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["account", "status", "-id"], name="imports_status"),
            # The user first: the foreign key looks for a deleted user's imports by that alone.
            models.Index(fields=["started_by", "account"], name="imports_of_user"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *AccountModel.Meta.constraints,
            models.CheckConstraint(condition=Q(kind__in=ImportKind.values), name="import_kind"),
            models.CheckConstraint(
                condition=Q(status__in=ImportStatus.values), name="import_status"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} from {self.file_name}"
