"""How the database stands, in facts: what `manage.py dbstatus` shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from ops.backups.errors import BackupError
from ops.backups.plan import cron_lines, plan
from ops.health.context import Context
from ops.health.contract import BlindError
from ops.health.inspection.cron import next_time
from ops.health.inspection.looking import said
from ops.models import Backup, DrillVerdict
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import one_line
from ops.readiness.reading import readiness
from ops.readiness.value import Readiness
from ops.runs import OWNER
from ops.words import ago, duration, size


@dataclass(frozen=True)
class Fact:
    """One thing that is known, or why it is not."""

    name: str  # for programs
    title: str
    text: str  # for people
    value: Any = None  # for programs, as JSON has it
    problem: str = ""  # why it can't be seen, and how to allow it


def status(now: datetime, *, limit: float = 5.0) -> list[Fact]:
    """Return how the database stands; what can't be seen says why. `limit` is in seconds a query.

    Raises ServerError when the server can't be reached.
    """
    found: list[Fact] = []
    context = Context(Endpoint.of(OWNER), now)
    try:
        for name, title, look in _PARTS:
            try:
                with context.asking(limit, {}):
                    found += look(context)
            except (psycopg.Error, DatabaseError, BlindError, BackupError) as error:
                found.append(Fact(name, title, "", None, _why(error, limit)))
    finally:
        context.close()
    return found


def _server(context: Context) -> Iterator[Fact]:
    facts = context.facts
    full, started = context.one("SELECT version(), pg_postmaster_start_time()")
    yield Fact("version", "Server", f"PostgreSQL {facts.version}", {
        "version": facts.version, "major": facts.major, "full": full,
    })  # fmt: skip
    yield Fact(
        "place", "Database", context.endpoint.place,
        {"database": context.endpoint.database, "host": context.endpoint.host,
         "port": context.endpoint.port or "5432", "environment": settings.ENVIRONMENT},
    )  # fmt: skip
    up = (context.now - started).total_seconds()
    yield Fact(
        "uptime", "Up for", f"{duration(max(0, up))}, since {started:%Y-%m-%d %H:%M} UTC",
        {"since": started, "seconds": max(0, up)},
    )  # fmt: skip
    checksums = "on" if facts.data_checksums else "off"
    yield Fact("checksums", "Page checksums", checksums, facts.data_checksums)


def _login(context: Context) -> Iterator[Fact]:
    role, is_superuser, bypasses, roles = context.one(
        "SELECT rolname::text, rolsuper, rolbypassrls, ARRAY(SELECT b.rolname::text FROM"
        " pg_auth_members m JOIN pg_roles b ON b.oid = m.roleid WHERE m.member = r.oid ORDER BY 1)"
        " FROM pg_roles r WHERE rolname = current_user"
    )
    parts = [role, *(["a superuser"] if is_superuser else [])]
    if bypasses:
        parts.append("sees every row (BYPASSRLS)")
    if roles:
        parts.append(f"member of {', '.join(dict.fromkeys(roles))}")
    yield Fact("role", "Signed in as", ", ".join(parts), {
        "role": role, "superuser": is_superuser, "bypass_row_security": bypasses,
        "member_of": list(dict.fromkeys(roles)),
    })  # fmt: skip
    info = context.one("SELECT ssl, version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    encrypted, version, cipher = info
    local = not context.endpoint.host or context.endpoint.host.startswith("/")
    text = f"{version}, {cipher}" if encrypted else "no"
    if not encrypted and local:
        text = "no; a unix socket, which leaves no machine"
    yield Fact("tls", "TLS", text, {"used": encrypted, "version": version, "cipher": cipher})


def _size(context: Context) -> Iterator[Fact]:
    bytes_ = context.value("SELECT pg_database_size(current_database())")
    tables = sorted(context.catalogue.tables.values(), key=lambda each: -each.size)
    whole = [each for each in tables if each.kind != "p"]
    largest = ", ".join(f"{each.title} {size(each.size)}" for each in whole[:3])
    indexes = len(context.catalogue.indexes)
    yield Fact(
        "size", "Size",
        f"{size(bytes_)} in {len(whole):,} tables and {indexes:,} indexes"
        + (f"; the largest: {largest}" if largest else ""),
        {"bytes": bytes_, "tables": len(whole), "indexes": indexes,
         "largest": [{"table": each.title, "bytes": each.size} for each in whole[:3]]},
    )  # fmt: skip


def _connections(context: Context) -> Iterator[Fact]:
    context.require_statistics("What other sessions do")
    most, reserved = context.one(
        "SELECT current_setting('max_connections')::int,"
        " current_setting('superuser_reserved_connections')::int"
    )
    rows = context.rows(
        "SELECT coalesce(state, 'unknown'), count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    states = dict(rows)
    used = sum(states.values())
    told = ", ".join(f"{number} {state}" for state, number in states.items())
    yield Fact(
        "connections", "Connections",
        f"{used} of {most} ({told}; {reserved} kept for superusers)",
        {"used": used, "maximum": most, "reserved": reserved, "states": states},
    )  # fmt: skip


def _migrations(context: Context) -> Iterator[Fact]:
    # By Django's own connection of the same login, as `migrate` asks.
    loader = MigrationLoader(connections[OWNER], load=False)
    loader.load_disk()
    known = set(loader.disk_migrations)
    applied = set(MigrationRecorder(connections[OWNER]).applied_migrations())
    replaced = {each for key in known for each in loader.disk_migrations[key].replaces}
    waiting = sorted(".".join(key) for key in known - applied)
    apps = {app for app, _ in known}
    unknown = sorted(".".join(key) for key in applied - known - replaced if key[0] in apps)
    parts = [f"{len(known & applied)} applied"]
    if waiting:
        parts.append(f"{len(waiting)} waiting ({_first(waiting)}): manage.py migrate")
    if unknown:
        parts.append(f"{len(unknown)} that this code does not know ({_first(unknown)})")
    yield Fact("migrations", "Migrations", ", ".join(parts), {
        "applied": len(known & applied), "waiting": waiting, "unknown": unknown,
    })  # fmt: skip


def _ready(context: Context) -> Readiness:
    return readiness(context.now, ask=context.ask)


def _readiness(context: Context) -> Iterator[Fact]:
    now = context.once(_ready)
    told = "nothing can be restored"
    if now.restorable_to is not None:
        told = f"{now.restorable_to:%Y-%m-%d %H:%M} UTC, {ago(now.restorable_to, context.now)}"
        proven = f"proven {ago(now.proven_at, context.now)}" if now.proven_at else "never proven"
        told = f"{told}; {proven}"
    yield Fact("readiness", "Restorable to", told, now.as_json())


def _backups(context: Context) -> Iterator[Fact]:
    own = Backup.objects.using(OWNER).of_environment(settings.ENVIRONMENT)
    last = own.good().newest_first().first()
    if last is None:
        yield Fact("backup", "Last backup", "none that is good: manage.py backup")
        return
    state = str(last.get_state_display()).lower()
    kind = str(last.get_kind_display()).lower()
    yield Fact(
        "backup", "Last backup",
        f"{ago(last.taken_at, context.now)}: {kind}, {size(last.size)}, {state} ({last.name})",
        {"name": last.name, "kind": last.kind, "taken_at": last.taken_at, "bytes": last.size,
         "state": last.state},
    )  # fmt: skip


def _drills(context: Context) -> Iterator[Fact]:
    last = context.once(_ready).drill
    if last is None:
        yield Fact("drill", "Last drill", "none: manage.py drill")
        return
    verdict = str(DrillVerdict(last.verdict).label)
    yield Fact(
        "drill", "Last drill",
        f"{ago(last.started_at, context.now)}: {verdict.lower()}, {last.subject}",
        {"verdict": last.verdict, "started_at": last.started_at, "subject": last.subject},
    )  # fmt: skip


def _schedule(context: Context) -> Iterator[Fact]:
    lines = cron_lines(plan(), command="manage.py", physical=bool(settings.REPLICATION_URL))
    found = []
    for line in lines:
        *fields, command = line.split(" ", 5)
        found.append((next_time(" ".join(fields), context.now), command))
    found.sort()
    told = [f"{command} {ago(when, context.now)} ({when.astimezone():%a %H:%M})"
            for when, command in found[:3]]  # fmt: skip
    yield Fact(
        "schedule", "Next, by the plan", "\n".join(told),
        [{"command": command, "at": when} for when, command in found],
    )  # fmt: skip


def _extensions(context: Context) -> Iterator[Fact]:
    rows = context.rows(
        "SELECT e.extname::text, e.extversion, a.default_version FROM pg_extension e"
        " LEFT JOIN pg_available_extensions a ON a.name = e.extname ORDER BY 1"
    )
    told = [
        f"{name} {version}" + (f" ({newer} is there)" if newer and newer != version else "")
        for name, version, newer in rows
    ]
    yield Fact("extensions", "Extensions", ", ".join(told), [
        {"name": name, "version": version, "available": newer} for name, version, newer in rows
    ])  # fmt: skip


def _replication(context: Context) -> Iterator[Fact]:
    context.require_statistics("Who streams from this server")
    role = "standby" if context.facts.in_recovery else "primary"
    level = context.value("SELECT current_setting('wal_level')")
    followers = context.rows(
        "SELECT coalesce(application_name, ''), state, extract(epoch FROM replay_lag)::float8"
        " FROM pg_stat_replication ORDER BY 1"
    )
    slots = context.rows("SELECT slot_name::text, active FROM pg_replication_slots ORDER BY 1")
    parts = [role, f"wal_level {level}"]
    parts.append(f"{len(followers)} receiving" if followers else "nobody receives")
    idle = [name for name, active in slots if not active]
    if slots:
        noun = "slot" if len(slots) == 1 else "slots"
        parts.append(f"{len(slots)} {noun}" + (f", idle: {_first(idle)}" if idle else ""))
    yield Fact("replication", "Replication", ", ".join(parts), {
        "role": role, "wal_level": level,
        "receivers": [{"name": name, "state": state, "lag_seconds": lag}
                      for name, state, lag in followers],
        "slots": [{"name": name, "active": active} for name, active in slots],
    })  # fmt: skip


_PARTS: tuple[tuple[str, str, Callable[[Context], Iterator[Fact]]], ...] = (
    ("version", "Server", _server),
    ("role", "Signed in as", _login),
    ("size", "Size", _size),
    ("connections", "Connections", _connections),
    ("migrations", "Migrations", _migrations),
    ("readiness", "Restorable to", _readiness),
    ("backup", "Last backup", _backups),
    ("drill", "Last drill", _drills),
    ("schedule", "Next, by the plan", _schedule),
    ("extensions", "Extensions", _extensions),
    ("replication", "Replication", _replication),
)


def _why(error: Exception, limit: float) -> str:
    cause = error.__cause__ if isinstance(error, DatabaseError) and error.__cause__ else error
    if isinstance(cause, BlindError):
        return said(cause)
    if isinstance(cause, BackupError):
        return str(cause)
    if isinstance(cause, psycopg.errors.QueryCanceled):
        return f"The server did not answer it within {limit:g} s."
    if isinstance(cause, psycopg.errors.UndefinedTable):
        return "Its table is not there yet: manage.py migrate"
    return f"The server did not answer it ({one_line(cause)})."


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
