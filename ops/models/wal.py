"""WAL segments in the storage: what makes any moment between base backups restorable."""

from __future__ import annotations

from typing import Self

from django.db import models


class WalSegmentQuerySet(models.QuerySet["WalSegment"]):
    """Reads of the WAL archive."""

    def in_order(self) -> Self:
        """By timeline and position."""
        return self.order_by("timeline", "segment")


class WalSegment(models.Model):
    """One closed segment (or a timeline's history file), as stored."""

    segment = models.CharField(max_length=40, db_comment="PostgreSQL's own file name")
    timeline = models.IntegerField(db_comment="WAL timeline")
    object_name = models.CharField(max_length=300, unique=True, db_comment="Name in the storage")
    system_identifier = models.CharField(
        max_length=24, db_comment="The server's system identifier: whose WAL it is"
    )
    start_lsn = models.CharField(max_length=20, blank=True, db_comment="Its first WAL position")
    end_lsn = models.CharField(max_length=20, blank=True, db_comment="The position after its last")
    size = models.BigIntegerField(db_comment="Bytes as stored")
    closed_at = models.DateTimeField(db_comment="When the server had filled it")
    stored_at = models.DateTimeField(db_comment="When it was in the storage")
    storage = models.CharField(max_length=500, default="dbbackup", db_comment="Storage alias")

    objects = WalSegmentQuerySet.as_manager()

    class Meta:
        db_table_comment = "WAL segments in the storage; rebuilt from it by backups --rebuild"
        ordering = ("timeline", "segment")
        constraints = [
            models.UniqueConstraint(
                fields=["system_identifier", "segment", "storage"],
                name="ops_walsegment_once",
            ),
        ]

    def __str__(self) -> str:
        return self.segment
