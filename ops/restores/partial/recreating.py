"""Whether tables that are to be recovered are gone today, and where their definitions are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from psycopg import Rollback

from ops.backups.dumpreading import made_by, restore_program
from ops.backups.fingerprint import Fingerprint, fingerprint
from ops.backups.proof import Proof, SequenceProof
from ops.backups.proving import sequence_proofs
from ops.backups.vault import Vault
from ops.models import Backup, BackupKind
from ops.postgres.endpoint import Connection
from ops.progress import Progress
from ops.restores.complete.fetching import fetch, private_folder
from ops.restores.errors import RefusedError
from ops.restores.partial.drift import dropped_by
from ops.restores.partial.dropped import (
    Recreation,
    plan_recreation,
    script_of_archive,
    script_of_database,
)
from ops.restores.partial.selecting import table_title
from ops.restores.partial.shape import tables_of, titles_of
from ops.restores.private import PrivateDatabase
from ops.restores.requests import RecoverRequest
from ops.rls.closed import share

# The statements of a dump, what they come to, and where sequences stood.
Definitions = Callable[[], tuple[str, Fingerprint, Sequence[SequenceProof]]]


def definitions_of(
    private: PrivateDatabase, backup: Backup | None, progress: Progress
) -> Definitions:
    """Return what reads the definitions of the past: from the dump, or from the whole database."""

    def read() -> tuple[str, Fingerprint, Sequence[SequenceProof]]:
        manifest = private.manifest
        if manifest is None or backup is None:
            with private.connect() as connection:
                return (
                    script_of_database(private.endpoint),
                    fingerprint(connection),
                    sequence_proofs(connection),
                )
        if manifest.kind != BackupKind.FULL or manifest.proof is None:
            raise RefusedError(
                f"A {manifest.kind} backup does not define everything that hangs on a table. "
                "Nothing was changed. Name a full backup."
            )
        proof = Proof.from_json(manifest.proof)
        with private_folder("definitions") as folder:
            archive = fetch(manifest, Vault.of(backup.storage), folder / "dump", progress)
            script = script_of_archive(archive, restore_program(made_by(manifest)))
        return script, proof.fingerprint, proof.sequences

    return read


@contextmanager
def recreated(
    live: Connection,
    past: Connection,
    request: RecoverRequest,
    applied: Sequence[str],
    definitions: Definitions,
) -> Iterator[Recreation | None]:
    """Make the requested tables that are gone anew, empty, in a transaction around the block.

    A preview is rolled back. Raises RefusedError, also for a table that a migration dropped.
    """
    gone = gone_today(request, live, past)
    if not gone:
        yield None
        return
    on_purpose = dropped_by(applied)
    then = tables_of(past)
    for title in gone:
        if title in then and then[title].is_partitioned:
            raise RefusedError(
                f"{title} is gone today and was partitioned, and a partitioned table can't be made "
                "anew by a recovery. Nothing was changed. Make it and its partitions as they were, "
                "empty, and run this again; or restore the backup beside (`manage.py restore "
                "BACKUP --as NAME`) and take what you need from there."
            )
        if title in on_purpose:
            raise RefusedError(
                f"{title} was dropped by the migration {on_purpose[title]}, so the application of "
                "today has no use for it. Nothing was changed. Restore the backup beside "
                "(`manage.py restore BACKUP --as NAME`) and take what you need from there."
            )
    with live.transaction() as transaction:
        share(live)
        recreation = plan_recreation(live, gone, *definitions())
        recreation.begin(live)
        yield recreation
        if request.dry_run:
            raise Rollback(transaction)


def gone_today(request: RecoverRequest, live: Connection, past: Connection) -> list[str]:
    """Return the requested tables that only the past has."""
    if request.columns or request.csv:
        return []
    today, then = titles_of(live), titles_of(past)
    titles = [table_title(name, today | then) for name in request.tables]
    return [title for title in titles if title not in today]
