"""One customer with a hundred documents out of a backup, against restoring the whole of it.

Ours is the preview of `recover --customer ID`: from the encrypted object to the list of rows that
would come back. The peer is `pg_restore -j2` of the same dump, decrypted and decompressed into a
file beforehand, into a throw-away server that runs already. Ours starts its own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pyrage
from django.conf import settings
from psycopg.conninfo import make_conninfo

from benchmarks.result import Result, compare, timed
from benchmarks.server import Bench
from ops.backups.manifest import Manifest
from ops.postgres.endpoint import Connection
from tests.harness import database

_ROUNDS = 3
_DOCUMENTS = 100


def run(bench: Bench) -> list[Result]:
    """Time as a ratio."""
    from django.test import override_settings

    from ops.rls.router import as_owner_by_default
    from tests.harness import run as harness

    identity = pyrage.x25519.Identity.generate()
    folder = harness.folder() / "files" / "customer"
    folder.mkdir(parents=True)
    folder.chmod(0o711)
    (folder / "identity.txt").write_text(f"{identity}\n")
    storage = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(folder / "backups"), "file_permissions_mode": 0o600},
    }
    with (
        bench.pointed_at(bench.large()),
        override_settings(
            VAR_DIR=folder / "var",
            STORAGES={**settings.STORAGES, "dbbackup": storage},
            BACKUP_SIGNING_KEY="a key for benchmarks",
            BACKUP_AGE_RECIPIENTS=[str(identity.to_public())],
            BACKUP_AGE_IDENTITY_FILES=[str(folder / "identity.txt")],
        ),
        as_owner_by_default(),
    ):
        return [_measure(bench, folder, identity)]


def _measure(bench: Bench, folder: Path, identity: pyrage.x25519.Identity) -> Result:
    from ops.backups.dumpreading import made_by, restore_program
    from ops.backups.scratch import scratch
    from ops.backups.take import Request, ask_for_backup, take_backup
    from ops.restores.partial.recover import ask_for_recovery, recover
    from ops.restores.requests import RecoverRequest
    from ops.runs import Asker

    asker = Asker("benchmark", "benchmark")
    with closing(database.connect(bench.large())) as live:
        customer, documents = _with_documents(live)
    backup = take_backup(ask_for_backup(Request(), by=asker))
    manifest = Manifest.of_row(backup.manifest)
    plain = _decrypted(folder, manifest, identity)
    request = RecoverRequest(
        backup=backup.name, subject="customer", keys=(str(customer),), dry_run=True
    )

    def ours() -> None:
        found = recover(ask_for_recovery(request, by=asker))
        missing = {each["table"]: each["missing"] for each in found.plan["tables"]}
        assert missing["public.invoices"] == documents, missing

    with scratch() as place:
        address = {key: str(value) for key, value in place.server.connection.items()}

        def theirs() -> None:
            with place.connect() as connection:
                connection.execute("DROP DATABASE IF EXISTS whole")
                connection.execute("CREATE DATABASE whole TEMPLATE template0")
            subprocess.run(
                [
                    restore_program(made_by(manifest)), "--jobs=2", "--no-owner", "--no-privileges",
                    f"--dbname={make_conninfo(**{**address, 'dbname': 'whole'})}", plain,
                ],
                check=False,  # policies name roles that are not there; the rows and indexes are
                stderr=subprocess.DEVNULL,
            )  # fmt: skip

        with _lost(bench.large(), customer):
            found = compare(_ROUNDS, lambda: timed(ours), lambda: timed(theirs))
    shutil.rmtree(folder / "var", ignore_errors=True)
    size = manifest.archive.raw_size / 1e6
    return found.as_result(
        f"one customer of {bench.scale.customers:,} out of a dump of {size:,.0f} MB, time",
        "pg_restore -j2 of everything",
        at_most=0.5,
    )


def _with_documents(live: Connection) -> tuple[int, int]:
    """Give a customer of the busiest account a hundred of its invoices; return it and how many."""
    row = live.execute(
        "SELECT user_id, min(customer_id) FROM public.invoices GROUP BY 1 ORDER BY count(*) DESC, 1"
        " LIMIT 1"
    ).fetchone()
    assert row is not None
    account, customer = row
    with live.transaction():
        live.execute("SET LOCAL session_replication_role = replica")
        live.execute(
            "UPDATE public.invoices SET customer_id = %s WHERE id IN (SELECT id FROM"
            " public.invoices WHERE user_id = %s AND customer_id <> %s ORDER BY id LIMIT %s)",
            [customer, account, customer, _DOCUMENTS - 1],
        )
    row = live.execute(
        "SELECT count(*) FROM public.invoices WHERE customer_id = %s", [customer]
    ).fetchone()
    assert row is not None
    return int(customer), int(row[0])


@contextmanager
def _lost(name: str, customer: int) -> Iterator[None]:
    """Delete the customer and the invoices, as somebody would by SQL; put them back after."""
    of_customer = {"invoices": "customer_id", "customers": "id"}
    kept: dict[str, list[bytes]] = {}
    with closing(database.connect(name)) as live, live.transaction():
        live.execute("SET LOCAL session_replication_role = replica")
        for table, column in of_customer.items():
            condition = f"{column} = {customer}"
            columns = _columns(live, table)
            query = f"COPY (SELECT {columns} FROM public.{table} WHERE {condition}) TO STDOUT"
            with live.cursor().copy(query.encode()) as rows:
                kept[table] = [bytes(row) for row in rows]
            live.execute(f"DELETE FROM public.{table} WHERE {condition}".encode())
    try:
        yield
    finally:
        with closing(database.connect(name)) as live, live.transaction():
            live.execute("SET LOCAL session_replication_role = replica")
            for table, content in kept.items():
                query = f"COPY public.{table} ({_columns(live, table)}) FROM STDIN"
                with live.cursor().copy(query.encode()) as copy:
                    copy.write(b"".join(content))


def _columns(live: Connection, table: str) -> str:
    rows = live.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND NOT attisdropped AND attgenerated = ''",
        [f"public.{table}"],
    ).fetchall()
    return ", ".join(name for (name,) in rows)


def _decrypted(folder: Path, manifest: Manifest, identity: pyrage.x25519.Identity) -> Path:
    """Return the dump as pg_dump wrote it, in a file that pg_restore can seek in."""
    stored = folder / "backups" / manifest.archive.name
    packed, plain = folder / "peer.zst", folder / "peer.dump"
    with stored.open("rb") as source, packed.open("wb") as target:
        pyrage.decrypt_io(source, target, [identity])
    subprocess.run(["zstd", "-dqf", packed, "-o", plain], check=True)  # noqa: S607
    return plain
