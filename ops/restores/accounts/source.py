"""The account's rows and uploaded files, of one snapshot, and the tar they become."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
from django.conf import settings
from django.core.files.storage import storages
from psycopg import sql

from ops.postgres.endpoint import Connection
from ops.progress import Progress
from ops.restores.accounts.archive import MANIFEST, PLAIN, Archive, Rows, StoredFile
from ops.restores.accounts.contents import Contents, Owned
from ops.restores.accounts.people import people, user_column
from ops.restores.errors import RefusedError
from ops.restores.partial.media_files import file_columns, is_safe
from ops.restores.partial.shape import Table, names, tables_of

_CHUNK = 1 << 20
_BLOCK = tarfile.BLOCKSIZE


class Source:
    """The account's rows and files in one snapshot."""

    def __init__(
        self,
        connection: Connection,
        contents: Contents,
        account: int,
        progress: Progress,
        *,
        passwords: bool,
    ) -> None:
        self._connection, self._contents, self._account = connection, contents, account
        self._progress, self._passwords = progress, passwords
        self._stream: Any = None
        self._queries: dict[str, sql.Composed] = {}  # by member

    def close(self) -> None:
        """End a reading that was broken off.

        It holds the connection's lock as long as somebody remembers it, as an error's traceback
        does: the rollback after a cancelled export waited for it for ever.
        """
        if self._stream is not None:
            self._stream.close()

    def archive(self) -> Archive:
        """Read everything once, and return the manifest."""
        self._progress.phase("reading the account", len(self._contents.owned), "tables")
        tables = [self._rows(owned) for owned in self._contents.owned.values()]
        titles = tables_of(self._connection)
        shared = [self._shared(titles[title], key) for title, key in self._contents.shared.items()]
        files, missing = self._files()
        row = self._connection.execute(
            sql.SQL("SELECT {} FROM {} WHERE {} = %s").format(
                sql.Identifier(user_column("login")),
                titles[people()].sql,
                sql.Identifier(user_column("pk")),
            ),
            [self._account],
        ).fetchone()
        migrations = self._connection.execute(
            "SELECT app || '.' || name FROM public.django_migrations ORDER BY id"
        ).fetchall()
        return Archive(
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            environment=settings.ENVIRONMENT,
            account={"id": self._account, "email": row[0] if row else ""},
            migrations=[name for (name,) in migrations],
            tables=tables,
            shared=[each for each in shared if each.rows],
            files=files,
            missing_files=missing,
            left_out=sorted(settings.ACCOUNT_ARCHIVE_LEAVES_OUT),
            passwords=self._passwords,
            server=self._connection.info.parameter_status("server_version") or "",
        )

    def pieces(self, archive: Archive) -> Iterator[bytes]:
        """Yield the tar."""
        yield from _member(MANIFEST, iter([content := archive.written()]), len(content))
        for name, (size, sha256) in archive.members.items():
            digest = hashlib.sha256()
            source = self._lines(name) if name in self._queries else self._file(name)
            yield from _member(name, self._counted(source, digest), size)
            if digest.hexdigest() != sha256:
                raise RefusedError(
                    f"{name} changed while it was written. No archive was left. Run this again."
                )
        yield bytes(2 * _BLOCK)

    def _counted(self, source: Iterator[bytes], digest: Any) -> Iterator[bytes]:
        for piece in source:
            self._progress.check()
            self._progress.advance(len(piece))
            digest.update(piece)
            yield piece

    def _rows(self, owned: Owned) -> Rows:
        table = owned.table
        columns = {
            column.name: column.type
            for column in table.columns
            if not column.generated and not self._is_secret(table, column.name)
        }
        return self._measured("tables", table, columns, owned.condition)

    def _shared(self, table: Table, key: tuple[str, ...]) -> Rows:
        """The rows of everybody that rows of the account name, by their names."""
        named = [
            sql.SQL("SELECT r.{} FROM {} AS r WHERE {}").format(
                sql.Identifier(column),
                self._contents.owned[title].table.rows,
                self._contents.owned[title].condition,
            )
            for (title, column), to in self._contents.meant.items()
            if to[0] == table.title
        ]
        columns = {name: table.by_name[name].type for name in (*table.key, *key)}
        condition = sql.SQL("r.{} IN ({})").format(
            sql.Identifier(table.key[0]), sql.SQL(" UNION ").join(named)
        )
        return self._measured("shared", table, columns, condition)

    def _measured(
        self, folder: str, table: Table, columns: dict[str, str], condition: sql.Composable
    ) -> Rows:
        self._progress.check()
        values = sql.SQL(", ").join(
            sql.SQL("r.{0}" if kind in PLAIN else "r.{0}::text AS {0}").format(sql.Identifier(name))
            for name, kind in columns.items()
        )
        order = names(table.key or tuple(columns), "r")
        safe = f"{table.schema}.{table.name}"
        if not all(letter.isalnum() or letter in "_." for letter in safe) or not safe.isascii():
            safe = f"table{len(self._queries)}"
        file = f"{folder}/{safe}.jsonl"
        self._queries[file] = sql.SQL(
            "SELECT pg_catalog.row_to_json(x)::text FROM"
            " (SELECT {} FROM {} AS r WHERE {} ORDER BY {}) AS x"
        ).format(values, table.rows, condition, order)
        digest, count, size = hashlib.sha256(), 0, 0
        for line in self._lines(file):
            count, size = count + 1, size + len(line)
            digest.update(line)
            if count % 1_000 == 0:
                self._progress.check()
        self._progress.advance(1)
        return Rows(table.title, file, columns, count, size, digest.hexdigest())

    def _lines(self, file: str) -> Iterator[bytes]:
        # Rows that come in batches come several times as fast; libpq can since 17.
        batch = 100 if psycopg.capabilities.has_stream_chunked() else 1
        with self._connection.cursor() as cursor:
            self._stream = cursor.stream(
                self._queries[file], {"account": self._account}, size=batch
            )
            for (text,) in self._stream:
                yield f"{text}\n".encode()

    def _files(self) -> tuple[list[StoredFile], list[str]]:
        found, missing, storage = [], [], storages["default"]
        for name in sorted(self._file_names()):
            self._progress.check()
            if not (is_safe(name) and storage.exists(name)):
                missing.append(name)
                continue
            digest, size = hashlib.sha256(), 0
            for piece in self._file(f"files/{name}"):
                digest.update(piece)
                size += len(piece)
            found.append(StoredFile(name, size, digest.hexdigest()))
        return found, missing

    def _file_names(self) -> set[str]:
        listed: set[str] = set()
        for owned in self._contents.owned.values():
            for column in () if owned.is_history else file_columns(owned.title):
                query = sql.SQL("SELECT DISTINCT r.{0}::text FROM {1} AS r WHERE {2}").format(
                    sql.Identifier(column), owned.table.rows, owned.condition
                )
                rows = self._connection.execute(query, {"account": self._account}).fetchall()
                listed.update(name for (name,) in rows if name)
        return listed

    def _file(self, member: str) -> Iterator[bytes]:
        with storages["default"].open(member.removeprefix("files/"), "rb") as file:
            while piece := file.read(_CHUNK):
                yield bytes(piece)

    def _is_secret(self, table: Table, column: str) -> bool:
        return not self._passwords and table.title == people() and column == user_column("password")


def _member(name: str, content: Iterator[bytes], size: int) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o600
    yield header.tobuf(tarfile.GNU_FORMAT)
    written = 0
    for piece in content:
        written += len(piece)
        if written > size:
            break
        yield piece
    if written != size:
        raise RefusedError(
            f"{name} changed while it was written. No archive was left. Run this again."
        )
    yield bytes(-size % _BLOCK)
