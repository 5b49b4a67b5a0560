"""Rows of a table from a CSV file, as a database of the past: what somebody saved by hand.

The table is made on a private server by the live definitions, without keys and indexes. The file's
first line names its columns; columns that it does not have are not compared.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from charset_normalizer import from_path
from psycopg import sql

from ops.backups.fingerprint import database_properties
from ops.backups.pinned import pin
from ops.backups.recreate import create_database
from ops.backups.scratch import FACTOR, Scratch, scratch
from ops.postgres import tools
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import ToolError
from ops.progress import Progress
from ops.restores.errors import RefusedError
from ops.restores.partial.selecting import table_title
from ops.restores.partial.shape import Table, tables_of
from ops.restores.private import PrivateDatabase
from ops.runs import OWNER

_DATABASE = "past"
_SAMPLE = 1 << 16  # characters by which the delimiter is told
_BLOCK = 1 << 18
_DELIMITERS = ",;\t|"
_SECONDS = 600.0  # that the definitions may take


@dataclass(frozen=True)
class _Csv:
    """A file, and how it is read."""

    table: Table
    path: Path
    encoding: str
    delimiter: str
    columns: list[str]

    @property
    def size(self) -> int:
        return self.path.stat().st_size


@contextmanager
def csv_past(given: Sequence[str], progress: Progress) -> Iterator[PrivateDatabase]:
    """Lend a database with the rows of TABLE=FILE texts. Raises RefusedError for what is no CSV."""
    endpoint = Endpoint.of(OWNER)
    with closing(endpoint.connect()) as live:
        tables = tables_of(live)
        properties = database_properties(live)
    files = [_opened(each, tables) for each in given]
    with scratch() as place:
        place.require_room(int(sum(each.size for each in files) * FACTOR))
        progress.phase("starting a private server")
        with place.connect() as connection:
            create_database(connection, _DATABASE, properties)
        private = PrivateDatabase(
            place,
            _DATABASE,
            f"the file {files[0].path.name}" if len(files) == 1 else f"{len(files)} files",
            datetime.fromtimestamp(min(each.path.stat().st_mtime for each in files), UTC),
        )
        _define(endpoint, place, private)
        with private.connect() as connection:
            pin(connection, local=False)
            for each in files:
                _read(connection, each, progress)
            connection.execute("ANALYZE")
        yield private


def _opened(given: str, tables: dict[str, Table]) -> _Csv:
    """Look at a file's first line, which needs no server. Raises RefusedError."""
    table, path = _named(given, tables)
    encoding = _encoding(path)
    try:
        with path.open(encoding=encoding, newline="") as file:
            sample = file.read(_SAMPLE)
            delimiter = _delimiter(sample)
            file.seek(0)
            header = next(csv.reader(file, delimiter=delimiter, strict=True), [])
    except UnicodeError as error:
        raise _not_in(path, encoding, error) from None
    except csv.Error as error:
        raise RefusedError(
            f"The first line of {path.name} is no CSV ({error}). Nothing was changed."
        ) from None
    return _Csv(table, path, encoding, delimiter, _columns(header, table, path))


def _named(given: str, tables: dict[str, Table]) -> tuple[Table, Path]:
    name, equals, file = given.partition("=")
    path = Path(file).expanduser()
    if not (name and equals and file):
        raise RefusedError(
            f"{given!r} does not name a table and its file. Nothing was changed. Write it as "
            "customers=backup_customers.csv."
        )
    if not path.is_file():
        raise RefusedError(f"There is no file {path}. Nothing was changed.")
    return tables[table_title(name, tables)], path


def _define(endpoint: Endpoint, place: Scratch, private: PrivateDatabase) -> None:
    """Make the live definitions, as far as rows need them."""
    try:
        script = tools.run(
            endpoint.program("pg_dump"), *endpoint.arguments(),
            "--section=pre-data", "--no-owner", "--no-privileges", "--no-password",
            seconds=_SECONDS,
            password=endpoint.password,
        ).stdout  # fmt: skip
        with place.connect() as connection:
            program = tools.find("psql", connection.info.server_version // 10000)
        tools.run(
            program, *private.endpoint.arguments(),
            "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1",
            seconds=_SECONDS,
            input_text=script,
        )  # fmt: skip
    except ToolError as error:
        raise RefusedError(
            f"The live tables can't be made on the private server: {error} Nothing was changed."
        ) from None


def _read(connection: Connection, given: _Csv, progress: Progress) -> None:
    table, path = given.table, given.path
    progress.phase(f"reading {path.name}", given.size, "bytes")
    for column in table.columns:
        if column.name not in given.columns:
            connection.execute(
                sql.SQL("ALTER TABLE {} DROP COLUMN IF EXISTS {} CASCADE").format(
                    table.sql, sql.Identifier(column.name)
                )
            )
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, HEADER, DELIMITER {})").format(
        table.sql,
        sql.SQL(", ").join(map(sql.Identifier, given.columns)),
        sql.Literal(given.delimiter),
    )
    try:
        with (
            path.open(encoding=given.encoding, newline="") as file,
            connection.cursor().copy(statement) as copy,
        ):
            while block := file.read(_BLOCK):
                copy.write(block)
                progress.advance(len(block))
                progress.check()
    except UnicodeError as error:
        raise _not_in(path, given.encoding, error) from None
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        where = (error.diag.context or "").partition("\n")[0].removeprefix("COPY ")
        raise RefusedError(
            f"{path.name} can't be read: {error.diag.message_primary} ({where}). Nothing was "
            "changed. Correct that line (an empty field without quotes is a null) and run this "
            "again."
        ) from None


def _encoding(path: Path) -> str:
    """Tell the encoding: UTF-8 unless the file can't be that."""
    with path.open("rb") as file:
        begin = file.read(4)
    if begin.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        with path.open(encoding="utf-8-sig") as text:
            while text.read(_BLOCK):
                pass
    except UnicodeDecodeError:
        best = from_path(path).best()
        return best.encoding if best else "cp1252"
    return "utf-8-sig"


def _not_in(path: Path, encoding: str, error: UnicodeError) -> RefusedError:
    return RefusedError(
        f"{path.name} can't be read as {encoding} ({error}). Nothing was changed. "
        "Save it as UTF-8 and run this again."
    )


def _delimiter(sample: str) -> str:
    """Tell the delimiter: what divides the first line into the most columns."""
    first = sample.splitlines()[0] if sample else ""
    return max(_DELIMITERS, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))


def _columns(header: list[str], table: Table, path: Path) -> list[str]:
    names = [each.strip() for each in header]
    stored = table.stored
    wrong = ""
    if not any(names):
        wrong = "it is empty; its first line has to name the columns"
    elif twice := [name for name in names if names.count(name) > 1]:
        wrong = f"the column {twice[0]} is in it twice"
    elif unknown := [name for name in names if name not in stored]:
        near = difflib.get_close_matches(unknown[0], stored, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        wrong = f"{table.title} has no column {', '.join(unknown)} that is written{hint}"
    elif missing := [name for name in table.key if name not in names]:
        wrong = f"it has no column {', '.join(missing)}, by which rows are told apart"
    if wrong:
        raise RefusedError(
            f"{path.name} can't be recovered from: {wrong}. Nothing was changed. Its columns have "
            f"to be some of {', '.join(stored)}."
        )
    return names
