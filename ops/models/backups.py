"""The catalogue of backups. The storage is what counts: every row here can be rebuilt from it."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import F, Q


class BackupKind(models.TextChoices):
    """What a backup holds."""

    FULL = "full", "Full"
    SCHEMA = "schema", "Schema only"
    DATA = "data", "Data only"
    TABLES = "tables", "Tables"
    BASE = "base", "Base"
    INCREMENTAL = "incremental", "Incremental"
    MEDIA = "media", "Media"
    FOREIGN = "foreign", "Foreign"  # an object that django-dbbackup alone made


class BackupState(models.TextChoices):
    """How much is known about it, weakest first; failed and missing are below all of them."""

    TAKEN = "taken", "Taken"
    VERIFIED = "verified", "Verified"
    PROVEN = "proven", "Proven"
    FAILED = "failed", "Failed"
    MISSING = "missing", "Missing"


LOGICAL = (BackupKind.FULL, BackupKind.SCHEMA, BackupKind.DATA, BackupKind.TABLES)
PHYSICAL = (BackupKind.BASE, BackupKind.INCREMENTAL)
# Kinds that bring the whole database back.
WHOLE = (BackupKind.FULL, BackupKind.BASE, BackupKind.INCREMENTAL)
GOOD = (BackupState.TAKEN, BackupState.VERIFIED, BackupState.PROVEN)


class Checked(models.Model):
    """Something stored, and what the last check of it found."""

    state = models.CharField(
        max_length=10,
        choices=BackupState,
        default=BackupState.TAKEN,
        db_comment="What is known about it: taken, verified, proven, failed or missing",
    )
    state_note = models.TextField(
        blank=True, default="", db_comment="Why it is in that state, in a sentence"
    )
    checked_at = models.DateTimeField(
        null=True, blank=True, db_comment="When it was looked at last"
    )
    check_seconds = models.FloatField(
        null=True, blank=True, db_comment="How long that took, in seconds"
    )
    verified_at = models.DateTimeField(
        null=True, blank=True, db_comment="When it was last found whole and readable"
    )
    proven_at = models.DateTimeField(
        null=True, blank=True, db_comment="When a restore of it last equalled its manifest"
    )
    # What only a restore can find, no lighter check may forgive.
    disproven_at = models.DateTimeField(
        null=True,
        blank=True,
        db_comment="When a restore of it last differed from its manifest, and none was equal since",
    )

    class Meta:
        abstract = True


class BackupQuerySet(models.QuerySet["Backup"]):
    """Reads of the catalogue."""

    def newest_first(self) -> Self:
        """By the moment they hold."""
        return self.order_by("-taken_at", "-pk")

    def of_environment(self, environment: str) -> Self:
        """Taken in one environment: a storage, and so a catalogue, may hold those of several."""
        return self.filter(environment=environment)

    def good(self) -> Self:
        """Neither failed, missing nor disproven, and made by SRVC."""
        good = self.filter(state__in=GOOD, disproven_at__isnull=True)
        return good.exclude(kind=BackupKind.FOREIGN)

    def newest_full(self, environment: str) -> Backup | None:
        """What is restored from when nobody names one."""
        good = self.of_environment(environment).good().of_kind(BackupKind.FULL)
        return good.newest_first().first()

    def of_kind(self, *kinds: str) -> Self:
        """Of one of these kinds."""
        return self.filter(kind__in=kinds)

    def since(self, moment: datetime) -> Self:
        """That hold this moment or a later one."""
        return self.filter(taken_at__gte=moment)

    def pinned(self) -> Self:
        """That retention never deletes."""
        return self.filter(pinned_at__isnull=False)


class Backup(Checked):
    """One backup: an object in the storage, with the proof of what is in it."""

    name = models.CharField(
        max_length=200, unique=True, db_comment="Name of its objects and its manifest"
    )
    kind = models.CharField(max_length=12, choices=BackupKind, db_comment="What it holds")
    environment = models.CharField(max_length=40, db_comment="Environment it was taken in")
    database = models.CharField(max_length=200, db_comment="Database it was taken of")
    storage = models.CharField(
        max_length=500, default="dbbackup", db_comment="Storage alias, or the folder it is in"
    )
    server_version = models.CharField(
        max_length=40, blank=True, db_comment="PostgreSQL version of the server"
    )
    taken_at = models.DateTimeField(db_comment="The moment it holds, by the server's clock")
    finished_at = models.DateTimeField(null=True, db_comment="When its manifest was written")
    seconds = models.FloatField(null=True, db_comment="How long it took, in seconds")
    size = models.BigIntegerField(default=0, db_comment="Bytes as stored")
    raw_size = models.BigIntegerField(
        default=0, db_comment="Bytes before compression and encryption"
    )
    tables = models.IntegerField(null=True, db_comment="Tables in it")
    rows = models.BigIntegerField(null=True, db_comment="Rows in it")
    encryption = models.CharField(max_length=10, blank=True, db_comment="age, gpg or none")
    # CASCADE would let one row take a chain with it; retention deletes chains from their end.
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="children",
        db_comment="The backup this one adds to",
    )
    timeline = models.IntegerField(null=True, db_comment="WAL timeline, of physical backups")
    start_lsn = models.CharField(max_length=20, blank=True, db_comment="First WAL position needed")
    stop_lsn = models.CharField(max_length=20, blank=True, db_comment="Position it is whole at")
    pinned_at = models.DateTimeField(
        null=True, blank=True, db_comment="Since when retention may not delete it"
    )
    pinned_by = models.CharField(max_length=254, blank=True, db_comment="Who pinned it")
    pin_reason = models.CharField(max_length=300, blank=True, db_comment="Why it is pinned")
    manifest = models.JSONField(default=dict, db_comment="The manifest, as stored beside it")

    objects = BackupQuerySet.as_manager()

    class Meta:
        db_table_comment = "Catalogue of backups; rebuilt from the storage by backups --rebuild"
        ordering = ("-taken_at", "-pk")
        indexes = [
            models.Index(fields=["kind", "-taken_at"], name="ops_backup_kind_taken"),
            models.Index(fields=["-taken_at"], name="ops_backup_taken"),
        ]
        constraints = [
            models.CheckConstraint(
                name="ops_backup_incremental_has_parent",
                # One whose manifest nobody can read has none that is known.
                condition=~Q(kind=BackupKind.INCREMENTAL)
                | Q(parent__isnull=False)
                | Q(state__in=(BackupState.FAILED, BackupState.MISSING)),
            ),
            models.CheckConstraint(
                name="ops_backup_not_its_own_parent",
                condition=Q(parent__isnull=True) | ~Q(parent=F("id")),
            ),
            models.CheckConstraint(
                name="ops_backup_pin_has_reason",
                condition=Q(pinned_at__isnull=True) | ~Q(pin_reason=""),
            ),
        ]
        permissions = [
            ("take_backup", "Can take backups"),
            ("verify_backup", "Can verify and prove backups"),
            ("pin_backup", "Can pin backups"),
            ("download_backup", "Can download backups"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_physical(self) -> bool:
        """Whether it is a copy of the server's files."""
        return self.kind in PHYSICAL

    @property
    def is_logical(self) -> bool:
        """Whether it is a dump of one database."""
        return self.kind in LOGICAL


class BackupCopy(Checked):
    """The same backup in the second storage, off-site."""

    backup = models.ForeignKey(
        Backup,
        on_delete=models.CASCADE,
        related_name="copies",
        db_comment="The backup it is a copy of",
    )
    storage = models.CharField(max_length=500, db_comment="Storage alias of the copy")
    copied_at = models.DateTimeField(db_comment="When the copy was complete")

    class Meta:
        db_table_comment = "Off-site copies of backups, each with its own verification"
        constraints = [
            models.UniqueConstraint(
                fields=["backup", "storage"], name="ops_backupcopy_one_per_storage"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.backup_id} in {self.storage}"
