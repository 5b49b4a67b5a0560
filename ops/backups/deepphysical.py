"""The proof of a physical backup: combined, started, recovered, and every block and row read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from ops.backups.comparison import compare
from ops.backups.deep import asked_to_stop, counted, disproven
from ops.backups.errors import BackupError, CannotProveError, DisprovenError
from ops.backups.fingerprint import Fingerprint, fingerprint
from ops.backups.manifest import Manifest
from ops.backups.pinned import Connection
from ops.backups.proof import Proof, TableProof
from ops.backups.proving import table_proofs
from ops.backups.running import combine, make_ready
from ops.backups.scratch import Scratch
from ops.backups.selection import all_tables
from ops.backups.unpacking import Unpacked, run, unpacked
from ops.backups.vault import Vault
from ops.backups.wal.names import position
from ops.postgres import cluster, configuration, tools
from ops.postgres.errors import ServerError, ToolError, one_line
from ops.progress import Progress


def prove_physical(manifest: Manifest, vault: Vault, progress: Progress) -> str:
    """Restore a base backup or a chain; return a sentence about what was looked at.

    Raises DamagedError for a link that is not whole, DisprovenError, CannotProveError, and
    KeyMissingError and BackupError as unpacked() does.
    """
    require_same_major(manifest)
    with unpacked(manifest, vault, progress, more_room=size_of_databases(manifest)) as found:
        start(manifest, found, progress)
        database = str(manifest.database["name"])
        with let_in(manifest):
            with found.place.connect() as connection:
                require_recovered(manifest, connection)
            with found.place.connect(database) as connection:
                differences = definitions_differ(manifest, connection)
                differences += witness_missing(manifest, connection)
            proofs = read_rows(found.place, database, progress)
            if differences:
                raise disproven(differences)
            check_indexes(found.place, database, progress)
        check_blocks(found.place, progress)
    links = f"{len(found.links)} links combined, " if len(found.links) > 1 else ""
    rows = sum(each.rows for each in proofs)
    return (
        f"Restored and started: {links}{len(proofs):,} tables, {rows:,} rows, every index and "
        "block."
    )


def require_same_major(manifest: Manifest) -> None:
    """Raise CannotProveError when only another PostgreSQL than ours could start it."""
    shipped = tools.shipped_binaries()
    own = tools.major_of(shipped / "postgres") if shipped else None
    if own != manifest.server.get("major"):
        raise CannotProveError(
            f"It could not be proven here: it is of PostgreSQL {manifest.server.get('major')}, and "
            f"the server that SRVC can start is {own}."
        )


def size_of_databases(manifest: Manifest) -> int:
    """Return how many bytes the server's databases had."""
    return sum(int(size) for size in manifest.details.get("databases", {}).values())


def start(manifest: Manifest, found: Unpacked, progress: Progress) -> None:
    """Combine a chain and start its server, which recovers first. Raises DisprovenError."""
    home = combine(manifest, found, progress)
    make_ready(home, found.place.account)
    progress.phase("starting it and recovering")
    try:
        found.place.adopt()
    except ServerError as error:
        raise DisprovenError(f"{manifest.name} does not start: {error}") from None


@contextmanager
def let_in(manifest: Manifest) -> Iterator[None]:
    """Say what it means when the started server lets nobody in, or fails: CannotProveError."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise CannotProveError(
            f"{manifest.name} could not be proven: its server does not let "
            f"{configuration.SUPERUSER} in, or failed ({one_line(error)})."
        ) from None


def read_rows(place: Scratch, database: str, progress: Progress) -> list[TableProof]:
    """Read every row of every table. Raises DisprovenError when one can't be read."""
    with place.connect(database) as connection:
        tables = [each for each in all_tables(connection) if each.kind != "partitioned"]
        progress.phase("reading every table", len(tables), "tables")
        try:
            return table_proofs(
                connection,
                tables,
                on_table=counted(progress),
                cancelled=asked_to_stop(progress),
            )
        except BackupError as error:
            raise DisprovenError(f"Restored, it is damaged: {error}") from None


def require_recovered(manifest: Manifest, connection: Connection) -> None:
    """Raise DisprovenError when recovery ended too early, or it is another server's."""
    row = connection.execute(
        "SELECT coalesce(pg_last_wal_replay_lsn(), pg_current_wal_lsn())::text,"
        " (SELECT system_identifier::text FROM pg_control_system())"
    ).fetchone()
    assert row is not None
    reached, identifier = row
    stop = str(manifest.wal["stop_lsn"])
    if position(reached) < position(stop):
        raise DisprovenError(
            f"Restored, it ends at {reached}, before {stop}, where it would be whole: WAL is "
            "missing."
        )
    if identifier != manifest.server.get("system_identifier"):
        raise DisprovenError(
            f"Restored, it is another server's (system identifier {identifier}) than its manifest "
            f"says ({manifest.server.get('system_identifier')})."
        )


def definitions_differ(manifest: Manifest, connection: Connection) -> list[str]:
    """Return which definitions are not those that its manifest tells of."""
    told: dict[str, Any] | None = manifest.details.get("fingerprint")
    if told is None:  # definitions changed while it was taken
        return []
    expected = Proof([], [], Fingerprint.from_json(told))
    found = Proof([], [], fingerprint(connection))
    return [str(each) for each in compare(expected, found)]


def witness_missing(manifest: Manifest, connection: Connection) -> list[str]:
    """Return what is to be said when the row written just before it began is not there."""
    witness = manifest.details.get("witness")
    if witness is None:
        return []
    found = connection.execute("SELECT FROM public.ops_run WHERE id = %s", [witness]).fetchone()
    if found is not None:
        return []
    return [f"Run {witness}, which was written before the backup began, is not in it."]


def check_indexes(place: Scratch, database: str, progress: Progress) -> None:
    """Hold every index against its table, and look for damage in both. Raises DisprovenError."""
    progress.phase("checking every index")
    address = place.server.connection
    with place.connect() as connection:
        major = connection.info.server_version // 10_000
    try:
        run(
            tools.find("pg_amcheck", major),
            f"--host={address['host']}",
            f"--port={address['port']}",
            f"--username={address['user']}",
            "--no-password",
            "--install-missing",
            "--heapallindexed",
            f"--database={_as_pattern(database)}",
            progress=progress,
        )
    except ToolError as error:
        raise DisprovenError(f"Restored, it is damaged: {error}") from None


def _as_pattern(database: str) -> str:
    quoted = database.replace('"', '""')
    return f'"{quoted}"'


def check_blocks(place: Scratch, progress: Progress) -> bool:
    """Stop the server and hold every block against its checksum.

    Returns False when its server keeps none. Raises DisprovenError.
    """
    account, home = place.account, place.server.home
    with place.connect() as connection:
        row = connection.execute("SELECT current_setting('data_checksums')").fetchone()
    place.server.stop()
    if not row or row[0] != "on":
        progress.say("Its server keeps no checksums of blocks, so those could not be checked.")
        return False
    progress.phase("checking every block")
    program = cluster.binaries(account) / "pg_checksums"
    try:
        run(program, "--check", f"--pgdata={home}", account=account, progress=progress)
    except ToolError as error:
        raise DisprovenError(f"Restored, it is damaged: {error}") from None
    return True
