"""The past that a partial recovery is made from: only the tables, and the rows, it may need.

A moment of the WAL comes whole, for its server is recovered as one. Of a backup only the wanted
tables are read; and of one customer or account only the rows of that account, where the live
database knows which one it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from django.conf import settings

from ops.backups.deep import schema_of
from ops.backups.inspection import table_name
from ops.backups.manifest import Manifest
from ops.backups.proof import Proof
from ops.backups.recreate import create_database, create_roles
from ops.backups.scratch import FACTOR, Scratch, scratch
from ops.models import Backup, BackupKind
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import one_line
from ops.progress import Progress
from ops.restores.complete.sources import Source, known_source
from ops.restores.diff.pairing import TableName
from ops.restores.errors import RefusedError, RestoreError
from ops.restores.past.account_rows import account_filters
from ops.restores.past.subset import Wanted, fill_subset
from ops.restores.private import PrivateDatabase
from ops.restores.requests import RecoverRequest, RestoreRequest
from ops.runs import OWNER

_HAS_ROWS = {BackupKind.FULL, BackupKind.DATA, BackupKind.TABLES}
_DATABASE = "past"


@contextmanager
def past(
    request: RecoverRequest, wanted: Sequence[str] | None, progress: Progress
) -> Iterator[PrivateDatabase]:
    """Lend what a request is recovered from, with the rows of the wanted tables; None: of all.

    Tables go by the titles that format('%I.%I') writes. Other tables are there and empty; indexes
    and keys are not. Raises OpsError when it can't be had, and DisprovenError when it is not what
    its manifest says; nothing live is touched.
    """
    if request.csv:
        from ops.restores.past.csvpast import csv_past

        with csv_past(request.csv, progress) as private:
            yield private
        return
    if request.moment:
        from ops.restores.moments.recovering import Target, recovered

        with recovered(Target.parse(request.moment), progress) as private:
            yield private
        return
    source = _source(request)
    if source is None:
        from ops.restores.files.loading import loaded

        with loaded(Path(request.file), progress) as private:
            yield private
        return
    with Endpoint.of(OWNER).connect() as live:
        needed = None if wanted is None else {table_name(each) for each in wanted}
        tables = None if needed is None else _with_partitions(live, needed)
        filters = account_filters(live, request)
        known = {(schema, name) for schema, name in live.execute(_KNOWN).fetchall()}
    with scratch() as place, _database(place, source.manifest, progress) as name:
        _fill(place, name, source, Wanted(tables, filters, tables != needed, known), progress)
        yield PrivateDatabase(place, name, source.origin, source.holds, source.manifest)


def _source(request: RecoverRequest) -> Source | None:
    """Return a backup with its manifest; None for a file that others made."""
    if request.file:
        source = known_source(RestoreRequest(file=request.file))
    else:
        source = known_source(RestoreRequest(backup=request.backup or newest_full_backup().name))
    if source is not None and source.manifest.kind not in _HAS_ROWS:
        raise RefusedError(
            f"{source.manifest.name} is a {source.manifest.kind} backup, and no rows can be "
            "read from one by itself. Nothing was changed. Name a full backup, or a moment."
        )
    return source


def newest_full_backup() -> Backup:
    """Return what is recovered from when nobody says. Raises RefusedError when there is none."""
    newest = Backup.objects.newest_full(settings.ENVIRONMENT)
    if newest is None:
        raise RefusedError(
            f"There is no good full backup of {settings.ENVIRONMENT} in the catalogue. Nothing was "
            "changed. `manage.py backups --rebuild` reads the storage again."
        )
    return newest


def _fill(place: Scratch, name: str, source: Source, wanted: Wanted, progress: Progress) -> None:
    manifest = source.manifest
    schema = None
    if manifest.kind != BackupKind.FULL and manifest.proof is not None:
        schema = schema_of(manifest, Proof.from_json(manifest.proof))
    fill_subset(place, name, (manifest, source.vault), schema, wanted, progress)
    progress.phase("counting")
    with place.connect(name) as connection:
        connection.execute("ANALYZE")  # nobody else would, and joins are planned by it


@contextmanager
def _database(place: Scratch, manifest: Manifest, progress: Progress) -> Iterator[str]:
    place.require_room(int(manifest.archive.raw_size * FACTOR))
    progress.phase("starting a private server")
    try:
        with place.connect() as connection:
            create_roles(connection, manifest.roles_sql)
            create_database(connection, _DATABASE, manifest.database)
        yield _DATABASE
    except psycopg.OperationalError as error:
        raise RestoreError(
            f"The private server failed ({one_line(error)}). Nothing was changed. Run this again."
        ) from error


def _with_partitions(live: Connection, tables: Iterable[TableName]) -> set[TableName]:
    """Add the partitions of partitioned tables, which hold their rows."""
    found = set(tables)
    for table in list(found):
        rows = live.execute(_PARTITIONS, table).fetchall()
        found |= {(schema, name) for schema, name in rows}
    return found


_KNOWN = """
    SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')
"""
_PARTITIONS = """
    SELECT n.nspname, c.relname
    FROM pg_catalog.pg_class p JOIN pg_catalog.pg_namespace o ON o.oid = p.relnamespace,
    LATERAL pg_catalog.pg_partition_tree(p.oid) t
    JOIN pg_catalog.pg_class c ON c.oid = t.relid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE o.nspname = %s AND p.relname = %s AND p.relkind = 'p'
"""
