"""Rows of the catalogue as a year leaves them, and browsers of the platform's people."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django_otp
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from crm.models import PLATFORM_ADMINISTRATOR_GROUP, User
from ops.background import QUEUE
from ops.models import Backup, BackupKind, BackupState, WalSegment
from ops.rls import router
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as_admin, acting_as_login

SYSTEM = "7000000000000000001"
SEGMENT = 16 << 20
PASSWORD = "a long pass phrase"


@contextmanager
def by_default_login() -> Iterator[None]:
    """Send queries to the web process's login again: tests of backups work as the owner's."""
    token = router._migrating.set(False)
    try:
        yield
    finally:
        router._migrating.reset(token)


class Browser(Client):
    """A browser whose requests never run as the owner's login."""

    def request(self, **request: Any) -> Any:
        with by_default_login():
            return super().request(**request)


def platform_administrator(email: str = "root@platform.example", *, superuser: bool = True) -> User:
    """Return somebody who administers the platform: as superuser, or by the group."""
    with by_default_login(), acting_as_admin():
        if superuser:
            return User.objects.create_superuser(email, PASSWORD)
        user = User.objects.create_user(email, PASSWORD)
        user.groups.add(Group.objects.get(name=PLATFORM_ADMINISTRATOR_GROUP))
        return user


def browser_of(user: User, *, strict: bool = False) -> Browser:
    """Return the browser in which somebody is signed in, past the second factor."""
    browser = Browser(enforce_csrf_checks=strict)
    with by_default_login():
        browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        with acting_as_login():
            device = TOTPDevice.objects.create(user=user, confirmed=True)
        session = browser.session
        session[django_otp.DEVICE_ID_SESSION_KEY] = device.persistent_id
        session.save()
    return browser


def work(queue: str = QUEUE) -> None:
    """Let a queue's worker do what waits; it begins as the web process's login, too."""
    with by_default_login():
        call_command(
            "db_worker",
            batch=True,
            interval=0,
            startup_delay=False,
            reload=False,
            verbosity=0,
            queue_name=queue,
        )


def make_backup(taken_at: dt.datetime, **values: Any) -> Backup:
    """Make a catalogue row without the objects behind it."""
    kind = values.setdefault("kind", BackupKind.FULL)
    name = f"srvc-development-{taken_at:%Y-%m-%d-%H%M%S}-{kind}-{secrets.token_hex(3)}"
    state = values.setdefault("state", BackupState.TAKEN)
    checked = taken_at + dt.timedelta(minutes=5)
    if state in {BackupState.VERIFIED, BackupState.PROVEN}:
        values.setdefault("verified_at", checked)
        values.setdefault("checked_at", checked)
    if state == BackupState.PROVEN:
        values.setdefault("proven_at", checked)
    lsn = values.pop("lsn", None)
    if lsn is not None:
        values |= {"start_lsn": _lsn(lsn), "stop_lsn": _lsn(lsn + 256), "timeline": 1}
    size = values.setdefault("size", 12_345_678)
    values.setdefault("manifest", _manifest(name, kind, taken_at, size))
    with as_owner_by_default():
        return Backup.objects.create(
            name=name,
            environment="development",
            database="srvc",
            taken_at=taken_at,
            finished_at=taken_at + dt.timedelta(seconds=4),
            **{"seconds": 4.2, "raw_size": size * 5, "encryption": "age", **values},
        )


def _manifest(name: str, kind: str, taken_at: dt.datetime, size: int) -> dict[str, Any]:
    tables = ["customers", "invoices", "invoice_lines", "jobs", "payments", "quotes", "users"]
    proof = {
        "tables": [
            {"schema": "public", "name": table, "rows": 10**place, "content": f"{place:032x}"}
            for place, table in enumerate(tables)
        ]
    }
    return {
        "name": name,
        "kind": kind,
        "server": {"version": "18.6", "system_identifier": SYSTEM, "wal_position": "0/3000148"},
        "finished_at": (taken_at + dt.timedelta(seconds=4)).isoformat(),
        "objects": [
            {
                "role": "archive",
                "name": f"{name}.dump.zst.age",
                "size": size,
                "sha256": f"{size:064x}",
                "raw_size": size * 5,
                "compression": "zstd",
                "encryption": "age",
                "recipients": ["age1test"],
            }
        ],
        "proof": None if kind in {BackupKind.BASE, BackupKind.INCREMENTAL} else proof,
        "extensions": {"pg_trgm": "1.6", "plpgsql": "1.0"},
        "migrations": ["crm.0001_initial", "ops.0001_backups"],
        "programs": {"pg_dump": "18"},
        "details": {},
    }


def make_segment(number: int, closed_at: dt.datetime) -> WalSegment:
    """Make the row of one WAL segment."""
    file = f"00000001{number >> 8:08X}{number & 0xFF:08X}"
    with as_owner_by_default():
        return WalSegment.objects.create(
            segment=file,
            timeline=1,
            object_name=f"wal/{SYSTEM}/00000001/{file}",
            system_identifier=SYSTEM,
            start_lsn=_lsn(number * SEGMENT),
            end_lsn=_lsn((number + 1) * SEGMENT),
            size=SEGMENT // 8,
            closed_at=closed_at,
            stored_at=closed_at,
        )


def _lsn(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
