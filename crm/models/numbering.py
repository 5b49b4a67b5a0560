"""Gapless numbers per account and series."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from crm.models.base import AccountModel


class DocumentCounter(AccountModel):
    """The last number an account has given out in a series.

    The row is the lock: two documents issued at once wait for each other, and a rollback gives the
    number back, so a series has no gap.
    """

    series = models.CharField(max_length=20, db_comment="quote, invoice or job.")
    last_number = models.PositiveIntegerField(db_comment="The number given out last.")

    class Meta(AccountModel.Meta):
        db_table = "document_counters"
        db_table_comment = "The last number given out per account and series."
        constraints: ClassVar[list[models.BaseConstraint]] = [
            *AccountModel.Meta.constraints,
            models.UniqueConstraint(fields=["account", "series"], name="document_counter_series"),
        ]

    def __str__(self) -> str:
        return f"{self.series} {self.last_number}"
