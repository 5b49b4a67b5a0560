"""Which keys the backups need, which of them are here, and what is risky about that."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.db import Error

from ops.backups import keys
from ops.backups.errors import BackupError
from ops.backups.keymaking import public_keys
from ops.backups.vault import COPY, PRIMARY
from ops.models import Backup, BackupState


@dataclass(frozen=True)
class Recipient:
    """Somebody whom backups are, or were, encrypted to."""

    key: str
    kind: str  # age, gpg
    current: bool  # new backups are encrypted to it
    opens_here: bool  # its secret half is on this machine
    backups: int | None  # that it can open; None when the catalogue could not be asked


@dataclass(frozen=True)
class KeyReport:
    """What `manage.py backupkeys` shows."""

    environment: str
    recipients: list[Recipient]
    identity_files: list[Path]
    has_signing_key: bool
    former_signing_keys: int
    locked: int | None  # backups that nothing here can open
    clear: int | None  # backups that are not encrypted
    refusals: list[str] = field(default_factory=list)  # why no backup can be taken
    warnings: list[str] = field(default_factory=list)


def key_report() -> KeyReport:
    """Return how things stand. Raises BackupError for an identity file that is none."""
    here = {key for file in keys.identity_files() for key in public_keys(file)}
    needed = _needed()
    current = [(key, "age") for key in settings.BACKUP_AGE_RECIPIENTS]
    if not current:
        current = [(key, "gpg") for key in settings.DBBACKUP_GPG_RECIPIENT or ()]
    former = sorted((needed.counts if needed else Counter()).keys() - set(current))
    recipients = [
        Recipient(
            key=key,
            kind=kind,
            current=(key, kind) in current,
            opens_here=key in here if kind == "age" else keys.has_gpg_secret(key),
            backups=needed.counts[key, kind] if needed else None,
        )
        for key, kind in [*current, *former]
    ]
    usable = {(each.key, each.kind) for each in recipients if each.opens_here}
    report = KeyReport(
        environment=settings.ENVIRONMENT,
        recipients=recipients,
        identity_files=keys.identity_files(),
        has_signing_key=bool(settings.BACKUP_SIGNING_KEY),
        former_signing_keys=len(settings.BACKUP_SIGNING_KEY_FALLBACKS),
        locked=needed.without(usable) if needed else None,
        clear=needed.clear if needed else None,
    )
    report.refusals.extend(_refusals(report))
    report.warnings.extend(_warnings(report))
    return report


@dataclass
class _Needed:
    """What the catalogue says about the keys of its backups."""

    sets: Counter[frozenset[tuple[str, str]]]
    clear: int

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """How many backups each key opens."""
        found: Counter[tuple[str, str]] = Counter()
        for keys_of_one, count in self.sets.items():
            for key in keys_of_one:
                found[key] += count
        return found

    def without(self, usable: set[tuple[str, str]]) -> int:
        """How many backups none of these keys opens."""
        return sum(count for keys_of_one, count in self.sets.items() if not keys_of_one & usable)


def _needed() -> _Needed | None:
    """Ask the catalogue; None when it is away, which is no reason not to show the keys."""
    archive = "manifest__objects__0"
    own = Backup.objects.of_environment(settings.ENVIRONMENT)
    rows = own.exclude(state=BackupState.MISSING).exclude(manifest={})
    found, clear = Counter[frozenset[tuple[str, str]]](), 0
    try:
        for kind, recipients in rows.order_by().values_list(
            f"{archive}__encryption", f"{archive}__recipients"
        ):
            if kind == "none":
                clear += 1
            else:
                found[frozenset((key, kind) for key in recipients or ())] += 1
    except Error:
        return None
    return _Needed(found, clear)


def _refusals(report: KeyReport) -> list[str]:
    found = []
    if not any(each.current for each in report.recipients) and settings.PRODUCTION_LIKE:
        found.append(
            f"{report.environment} has no key to encrypt its backups to, so none is taken. Run "
            f"`manage.py backupkeys {report.environment} --new`."
        )
    if not report.has_signing_key:
        found.append(
            "BACKUP_SIGNING_KEY is not set, so no backup is taken and none can be trusted. Set it "
            "to a long random value, and keep a copy with the key that opens backups."
        )
    for each in settings.BACKUP_AGE_RECIPIENTS:
        try:
            keys.age_recipient(each)
        except BackupError as error:
            found.append(str(error))
    return found


def _warnings(report: KeyReport) -> list[str]:
    current = [each for each in report.recipients if each.current]
    found = []
    if not current and not settings.PRODUCTION_LIKE:
        found.append("Backups are not encrypted: BACKUP_AGE_RECIPIENTS is not set.")
    if len(current) == 1:
        found.append(
            "There is one recipient only: who loses its secret half loses every backup. Make a "
            "second one and keep it elsewhere."
        )
    if report.locked:
        count = f"{report.locked:,} backup{'' if report.locked == 1 else 's'}"
        found.append(
            f"{count} can be opened by no key that is here. On a server that is as it should be; "
            "see that the secret half is where you think it is."
        )
    for file in report.identity_files:
        if (where := _beside_backups(file)) is not None:
            found.append(
                f"{file} lies in {where}, with the backups it opens: whoever takes them has the "
                "key as well, and what burns burns with it. Move it."
            )
        elif settings.PRODUCTION_LIKE:
            found.append(
                f"{file} is on this machine: whoever takes it over can read its backups. Where "
                "backups are only taken, it is not needed."
            )
        if file.stat().st_mode & 0o077:
            found.append(f"{file} can be read by others on this machine. Run: chmod 600 {file}")
    return found


def _beside_backups(file: Path) -> str | None:
    for alias in (PRIMARY, COPY):
        location = str(settings.STORAGES.get(alias, {}).get("OPTIONS", {}).get("location", ""))
        # A bucket's location is a folder inside it, never an absolute one.
        folder = Path(location).resolve() if location.startswith("/") else None
        if folder is not None and file.resolve().is_relative_to(folder):
            return location
    return None
