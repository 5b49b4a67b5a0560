"""Connections, people, backups and the schedule: what rows and settings of a database say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.utils import timezone

from ops.models import (
    Backup,
    BackupKind,
    BackupState,
    Drill,
    DrillVerdict,
    Run,
    RunKind,
    RunStatus,
)
from ops.rls.router import OWNER_ALIAS, as_owner_by_default
from tests.ops.health.planted.fault import ByAPerson, Fault, Looks, mends

PRODUCTION = {"PRODUCTION_LIKE": True, "REPLICATION_URL": ""}
TAKES_ONE = ByAPerson("takes a backup, as the tests of tests/ops/backups do")
HOUR = timedelta(hours=1)
READ_ONLY = "SET default_transaction_read_only = on"
A_YEAR_OLD = "UPDATE public.django_migrations SET applied = applied - interval '1 year'"


def backup(kind: BackupKind = BackupKind.FULL, **values: Any) -> Callable[[], object]:
    """Return what puts a backup into the catalogue."""

    def plant() -> None:
        moment = timezone.now() - values.pop("age", HOUR)
        Backup.objects.using(OWNER_ALIAS).create(
            **{
                "name": f"{kind}-1", "kind": kind, "database": "srvc", "environment": "development",
                "state": BackupState.TAKEN, "encryption": "age", "taken_at": moment,
                "finished_at": moment, **values,
            }
        )  # fmt: skip

    return plant


def run(kind: RunKind, status: RunStatus, **values: Any) -> Callable[[], object]:
    """Return what records a run."""
    return lambda: Run.objects.using(OWNER_ALIAS).create(kind=kind, status=status, **values)


def failed_drill() -> None:
    """Record a drill of a backup that did not hold."""
    backup(BackupKind.SCHEMA)()
    Drill.objects.using(OWNER_ALIAS).create(
        subject="a backup",
        backup=Backup.objects.using(OWNER_ALIAS).get(kind=BackupKind.SCHEMA),
        verdict=DrillVerdict.FAILED,
        finished_at=timezone.now(),
    )


def person(email: str, **values: Any) -> Callable[[], object]:
    """Return what makes a person of the platform."""

    def plant() -> None:
        from crm.models import User

        with as_owner_by_default():
            User.objects.create_superuser(email, "a long pass phrase", **values)

    return plant


LONG_AGO = timezone.now() - timedelta(days=300)

FAULTS = [
    Fault(
        "the database is set read-only",
        "writable", "web", (f"ALTER DATABASE {{database}} {READ_ONLY}",), mends(),
    ),
    Fault(
        "the database is set read-only, and with it the owner's login",
        "writable", "owner", (f"ALTER DATABASE {{database}} {READ_ONLY}",), mends(),
    ),
    Fault(
        "the web process's login is set read-only here",
        "writable", "web",
        ("RESET ROLE", f"ALTER ROLE srvc_app IN DATABASE {{database}} {READ_ONLY}"), mends(),
    ),
    Fault(
        "the owner's login is set read-only here",
        "writable", "owner",
        ("RESET ROLE", f"ALTER ROLE srvc_owner IN DATABASE {{database}} {READ_ONLY}"), mends(),
    ),
    Fault(
        "sign-in may not write to its table",
        "writable", "web", ("REVOKE DELETE ON public.django_session FROM srvc_app",),
        mends("grants on table public.django_session"),
    ),
    Fault(
        "the web process's login may not enter",
        "reachable", "web", ("REVOKE CONNECT ON DATABASE {database} FROM srvc_app",),
        ByAPerson("dbping says at which step it fails; what to do depends on that"),
    ),
    Fault(
        "the database's limit of connections is reached",
        "connections", "database {database}",
        ("ALTER DATABASE {database} CONNECTION LIMIT 1",), mends(), limits={"connections_share": 1},
    ),
    Fault(
        "an administrator no longer signs in, and another does",
        "stale_staff", "old@example.com",
        (person("old@example.com", date_joined=LONG_AGO), person("new@example.com")), mends(),
    ),
    Fault(
        "many failed sign-ins from one address",
        "failed_sign_ins", "network address 192.0.2.1",
        (("INSERT INTO public.axes_accessattempt (user_agent, ip_address, username, http_accept,"
         " path_info, attempt_time, get_data, post_data, failures_since_start) VALUES"
         " ('', '192.0.2.1', 'a@example.com', '', '', now(), '', '', 20)"),),
        Looks(),
    ),
    Fault("there is no good backup", "backup_age", "none", (), TAKES_ONE, settings=PRODUCTION),
    Fault(
        "the newest backup is older than promised",
        "backup_age", "age full", (backup(age=timedelta(days=3)),), TAKES_ONE, settings=PRODUCTION,
    ),
    Fault(
        "the last backup failed",
        "backup_failed", "full",
        (run(RunKind.BACKUP, RunStatus.FAILED, arguments={"kind": "full"}),), TAKES_ONE,
    ),
    Fault(
        "a backup is damaged",
        "backup_damaged", "full-1", (backup(state=BackupState.FAILED),),
        ByAPerson("verifies the backup, which really is damaged"),
    ),
    Fault(
        "a backup is missing from its storage",
        "backup_damaged", "full-1", (backup(state=BackupState.MISSING),),
        ByAPerson("verifies the backup, which really is missing"),
    ),
    Fault(
        "a backup is in clear",
        "backup_encryption", "clear full", (backup(encryption="none"),),
        ByAPerson("a new backup has to be there before this one is deleted, with its name"),
        settings=PRODUCTION,
    ),
    Fault(
        "no copy off-site is configured",
        "off_site_copy", "none", (), ByAPerson("a storage elsewhere has to be had first"),
        settings=PRODUCTION,
    ),
    Fault("the last drill failed", "drills", "failed", (failed_drill,), Looks()),
    Fault(
        "backups were never tried",
        "drills", "full", (backup(age=timedelta(days=60)),),
        ByAPerson("restores a backup, as the tests of tests/ops/restores do"), settings=PRODUCTION,
    ),
    Fault(
        "nothing of the schedule was done",
        "overdue", "prune", (A_YEAR_OLD,), ByAPerson("runs the work itself, with its own tests"),
        settings=PRODUCTION,
    ),
    Fault(
        "nobody verifies backups",
        "overdue", "verify", (A_YEAR_OLD,), ByAPerson("runs the work itself, with its own tests"),
        settings=PRODUCTION,
    ),
]  # fmt: skip
