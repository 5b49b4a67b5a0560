"""Dumps of one database: full, schema only, data only, some tables.

pg_dump writes what one exported snapshot shows; beside it the same snapshot is counted and hashed,
table by table. Both see one moment, so the proof is of exactly what the dump holds.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from ops.backups import keys, visible
from ops.backups.dump_restore.administrator_needs import (
    LEFT_OUT_DETAIL,
    restore_details,
    restore_limits,
)
from ops.backups.fingerprint import (
    Fingerprint,
    database_properties,
    dumped,
    extensions,
    fingerprint,
    roles,
)
from ops.backups.large_objects import has_large_objects, require_readable
from ops.backups.lock import KEPT_ALIVE
from ops.backups.manifest import Manifest, StoredObject
from ops.backups.naming import BackupName, new_name
from ops.backups.outgoing import Upload
from ops.backups.placement import needs_load_via_root
from ops.backups.proof import Proof
from ops.backups.prover import Prover, largest_first, proving
from ops.backups.proving import sequence_proofs, settled
from ops.backups.selection import LARGE_OBJECTS, Table
from ops.backups.snapshot import Snapshot, snapshot
from ops.backups.vault import Vault
from ops.backups.watch import Flow, watched
from ops.models import Backup, BackupKind
from ops.postgres import tools
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import ToolError
from ops.postgres.processes import StreamingProcess
from ops.progress import Progress
from ops.runs import OWNER

LOCK_WAIT = 30.0  # seconds pg_dump and the proof wait for a lock that a schema change holds
FINISH = 600.0  # seconds a program may take to end after its output has
# What went wrong, in pg_dump's words: it adds hints and the command, which say less.
_CAUSE = re.compile(r"(?:error|Error message from server): +(.+)")
_WITH_ALL_ROWS = {BackupKind.FULL, BackupKind.DATA}
_ONLY = {BackupKind.SCHEMA: ["--schema-only"], BackupKind.DATA: ["--data-only"]}


@dataclass(frozen=True)
class LogicalRequest:
    """What to dump, and how."""

    kind: str = BackupKind.FULL
    label: str = ""
    tables: tuple[str, ...] = ()  # pg_dump's --table patterns
    jobs: int = 1  # sessions that compute the proof
    encryption: keys.Encryption = keys.Encryption("none")  # noqa: RUF009 (frozen)
    compress: bool = True  # by us; otherwise pg_dump does it, for who reads the dump without us


def take_logical(
    request: LogicalRequest,
    vault: Vault,
    progress: Progress,
    *,
    endpoint: Endpoint | None = None,
) -> Manifest:
    """Dump into the storage and return the manifest, which is not yet written.

    `endpoint` is another database than the live one, such as one on a private server. Raises
    OpsError; what had been stored is removed then.
    """
    endpoint = endpoint or Endpoint.of(OWNER)
    began = time.monotonic()
    dump, dump_roles = endpoint.program("pg_dump"), endpoint.program("pg_dumpall")
    schema: list[Fingerprint] = []
    roles_sql: list[str] = []
    details: dict[str, Any] = {}

    def look_beside(connection: Connection) -> None:
        """Read what nobody has to wait for before the dump can begin."""
        definitions, left_out = dumped(fingerprint(connection))
        schema.append(definitions)
        if left_out:
            details[LEFT_OUT_DETAIL] = left_out
        details.update(restore_details(connection, Endpoint.of(OWNER).user))
        roles_sql.append(_roles_sql(endpoint, dump_roles))
        if request.kind in _WITH_ALL_ROWS and (seen := visible.record(connection)):
            details[visible.DETAIL] = seen

    with watched(progress.check) as watch:

        def connect() -> Connection:
            connection = endpoint.connect(**KEPT_ALIVE)
            watch.stop_by(lambda: connection.cancel_safe(timeout=5))
            return connection

        progress.phase("waiting for locks that a schema change may hold")
        with snapshot(connect, tables=request.tables, lock_timeout_seconds=LOCK_WAIT) as seen:
            progress.phase("looking at the database")
            name = new_name(
                environment=settings.ENVIRONMENT,
                taken_at=seen.taken_at,
                kind=request.kind,
                label=request.label,
            )
            about = describe(seen.connection)
            sequences = [] if _is_schema(request) else sequence_proofs(seen.connection)
            what = _what_to_dump(request, seen)
            tables = largest_first(seen.connection, _proven(request, seen))
            progress.phase("dumping", _expected_bytes(request.kind, seen), "bytes")
            with proving(connect, seen, look_beside, tables, jobs=request.jobs) as prover:
                stored = _store(request, what, name, vault, endpoint, dump, prover, progress)
            sequences = settled(seen.connection, sequences) if sequences else []
        proof = Proof(prover.proofs, sequences, schema[0])
    for sentence in restore_limits(details):
        progress.say(sentence)
    return Manifest(
        name=str(name),
        kind=request.kind,
        environment=settings.ENVIRONMENT,
        taken_at=seen.taken_at.isoformat(),
        finished_at=datetime.now(UTC).isoformat(),
        seconds=round(time.monotonic() - began, 3),
        objects=[stored],
        roles_sql=roles_sql[0],
        proof=proof.as_json(),
        selection=list(request.tables),
        programs={"pg_dump": str(tools.major_of(dump))},
        details=details,
        **about,
    )


def object_name(name: BackupName, encryption: keys.Encryption) -> str:
    """Return where a dump lies: full ones where django-dbbackup looks, parts where it doesn't."""
    folder = "" if name.kind == BackupKind.FULL else "partial/"
    suffix = {"age": ".age", "gpg": ".gpg"}.get(encryption.kind, "")
    return f"{folder}{name}.dump.zst{suffix}"


def _store(
    request: LogicalRequest,
    what: list[str],
    name: BackupName,
    vault: Vault,
    endpoint: Endpoint,
    program: Path,
    prover: Prover,
    progress: Progress,
) -> StoredObject:
    where = object_name(name, request.encryption)
    level = 0 if request.compress else 1
    flow = Flow("pg_dump")
    said: deque[str] = deque(maxlen=1000)

    def check() -> None:
        progress.check()
        prover.check()
        flow.check()

    with (
        StreamingProcess(
            program,
            *endpoint.arguments(),
            "--no-password",
            "--format=custom",
            f"--compress={level}",
            *what,
            environment=endpoint.environment(),
            on_line=said.append,
        ) as process,
        watched(check) as watch,
    ):
        watch.stop_by(process.kill)
        watch.stop_by(prover.stop)

        def on_raw(count: int) -> None:
            flow.moves(count)
            progress.advance(count)

        def finish_source() -> None:
            _finish(process, said)
            prover.finish()

        upload = Upload(
            process.stdout,
            encryption=request.encryption,
            on_ask=flow.asks,
            on_raw=on_raw,
            finish_source=finish_source,
            compress=request.compress,
        )
        try:
            vault.save(where, upload)
        finally:
            process.kill()  # so that the stream's thread, which may wait for it, ends
            upload.close()
    stored = upload.stored("archive", where)
    vault.require_size(stored)
    return stored


def _what_to_dump(request: LogicalRequest, seen: Snapshot) -> list[str]:
    """Return pg_dump's arguments of the moment and of what is dumped of it."""
    via_root = not _is_schema(request) and needs_load_via_root(seen.connection)
    return [
        f"--snapshot={seen.id}",
        f"--lock-wait-timeout={int(LOCK_WAIT * 1000)}",
        *_ONLY.get(BackupKind(request.kind), []),
        *(f"--table={pattern}" for pattern in seen.patterns),
        *(["--load-via-partition-root"] if via_root else []),
    ]


def describe(connection: Connection) -> dict[str, Any]:
    """Return what a manifest says about server and database, as this connection sees them."""
    row = connection.execute(
        "SELECT current_setting('server_version'),"
        " current_setting('server_version_num')::int / 10000,"
        " CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
        "      ELSE pg_current_wal_lsn() END::text,"
        " to_regclass('public.django_migrations') IS NOT NULL"
    ).fetchone()
    assert row is not None
    version, major, position, migrated = row
    migrations = []
    if migrated:
        migrations = connection.execute(
            "SELECT app || '.' || name FROM public.django_migrations ORDER BY app, name"
        ).fetchall()
    return {
        "server": {
            "version": version,
            "major": major,
            "wal_position": position,
            "system_identifier": _system_identifier(connection),
        },
        "database": database_properties(connection),
        "extensions": extensions(connection),
        "roles": roles(connection),
        "migrations": [name for (name,) in migrations],
    }


def _finish(process: StreamingProcess, said: Iterable[str]) -> None:
    """Wait for pg_dump's end. Raises ToolError with what it says went wrong, not what it did."""
    try:
        process.finish(FINISH)
    except ToolError as error:
        causes = [cause[0] for line in said if (cause := _CAUSE.findall(line))]
        why = f"pg_dump failed: {' / '.join(causes[:3])}" if causes else str(error)
        raise ToolError(
            f"{why.rstrip('.')}. Nothing that looks like a backup was left. Check the server and "
            "run this again."
        ) from None


def _system_identifier(connection: Connection) -> str:
    """Return the server's identifier, or "" where only a superuser may ask."""
    may = connection.execute(
        "SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')"
    ).fetchone()
    if not may or not may[0]:
        return ""
    row = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    return str(row[0]) if row else ""


def _roles_sql(endpoint: Endpoint, program: Path) -> str:
    done = tools.run(
        program,
        *endpoint.arguments(),
        "--roles-only",
        "--no-role-passwords",
        "--no-password",
        seconds=tools.MINUTE,
        password=endpoint.password,
    )
    return done.stdout


def _is_schema(request: LogicalRequest) -> bool:
    return request.kind == BackupKind.SCHEMA


def _proven(request: LogicalRequest, seen: Snapshot) -> list[Table]:
    """Return the tables whose rows the dump will hold, and large objects as pg_dump takes them."""
    if _is_schema(request):
        return []
    if request.kind == BackupKind.TABLES or not has_large_objects(seen.connection):
        return seen.tables
    require_readable(seen.connection)
    return [*seen.tables, LARGE_OBJECTS]


def _expected_bytes(kind: str, seen: Snapshot) -> int | None:
    """Guess how much pg_dump will write: as much as last time, else as much as the tables take."""
    own = Backup.objects.of_environment(settings.ENVIRONMENT).good()
    last = own.of_kind(kind).newest_first().first()
    if last is not None and kind != BackupKind.TABLES:
        return last.raw_size
    if kind == BackupKind.SCHEMA:
        return None
    row = seen.connection.execute(
        "SELECT coalesce(sum(pg_table_size(oid::oid)), 0)::bigint FROM unnest(%s::bigint[]) AS oid",
        [[table.oid for table in seen.tables]],
    ).fetchone()
    return int(row[0]) if row else None
