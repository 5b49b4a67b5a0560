"""What a database holds, as numbers two databases can be compared by.

A table's content is the sum of its rows' 64-bit hashes: it does not depend on the order of rows
or, because columns go by name, of columns. It finds damage and loss. It does not keep out
somebody who forges rows on purpose; the manifest's signature is for that.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import batched
from typing import Any, Protocol, Self

import psycopg
from psycopg import pq, sql

from ops.backups.contents import content_query
from ops.backups.errors import BackupError
from ops.backups.fingerprint import Fingerprint
from ops.backups.pinned import Connection, pinned
from ops.backups.selection import LARGE_OBJECTS
from ops.postgres.errors import one_line
from ops.progress import CancelledError

_POLL_SECONDS = 0.5


class Named(Protocol):
    """Anything that names a table; `snapshot.Table` does."""

    @property
    def schema(self) -> str: ...

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class TableProof:
    """The rows of one table, without those of its children."""

    schema: str
    name: str
    rows: int
    content: str  # 32 hexadecimal digits


@dataclass(frozen=True)
class SequenceProof:
    """Where a sequence stands."""

    schema: str
    name: str
    last_value: int
    is_called: bool
    increment: int = 1


@dataclass(frozen=True)
class Proof:
    """Everything two databases are compared by."""

    tables: list[TableProof]
    sequences: list[SequenceProof]
    fingerprint: Fingerprint

    def as_json(self) -> dict[str, Any]:
        """Return it for a manifest: sorted, so that equal proofs are equal texts."""
        return {
            "tables": [asdict(each) for each in sorted(self.tables, key=_by_name)],
            "sequences": [asdict(each) for each in sorted(self.sequences, key=_by_name)],
            "fingerprint": self.fingerprint.as_json(),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Return the proof that as_json() wrote."""
        return cls(
            tables=[TableProof(**each) for each in document["tables"]],
            sequences=[SequenceProof(**each) for each in document["sequences"]],
            fingerprint=Fingerprint.from_json(document["fingerprint"]),
        )


def table_proof(connection: Connection, schema: str, name: str) -> TableProof:
    """Return a table's proof; `selection.LARGE_OBJECTS` stands for all of these.

    Raises BackupError when the table is gone, may not be read whole, or cannot be read to its end.
    """
    return _table_proof(connection, schema, name, cancelled=lambda: False)


def table_proofs(
    connection: Connection,
    tables: Iterable[Named],
    *,
    on_table: Callable[[TableProof], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[TableProof]:
    """Return the proofs of these tables in their order, telling `on_table` about each.

    `cancelled` is asked twice a second, also in the middle of a table and from this thread. Raises
    CancelledError, and BackupError as table_proof() does.
    """
    proofs = []
    for table in tables:
        proof = _table_proof(connection, table.schema, table.name, cancelled=cancelled)
        if on_table is not None:
            on_table(proof)
        proofs.append(proof)
    return proofs


def sequence_proofs(connection: Connection) -> list[SequenceProof]:
    """Return where every sequence stands at this moment.

    Sequences know no snapshot: in use, they are ahead of the rows of one. Read them before a dump
    begins, and a restored one is never behind.
    """
    with _told(connection, "the sequences"), pinned(connection):
        found = connection.execute(_SEQUENCES).fetchall()
        values: dict[int, tuple[int, bool]] = {}
        for some in batched(found, 200):
            query = sql.SQL(" UNION ALL ").join(
                sql.SQL("SELECT {}::int8, last_value, is_called FROM {}").format(
                    sql.Literal(number), sql.Identifier(schema, name)
                )
                for number, schema, name, _increment in some
            )
            values |= {row[0]: row[1:] for row in connection.execute(query).fetchall()}
    return [
        SequenceProof(schema, name, *values[number], increment)
        for number, schema, name, increment in found
    ]


_SEQUENCES = """
    SELECT c.oid::int8, n.nspname, c.relname, s.seqincrement
    FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (
        SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
          AND d.refclassid = 'pg_extension'::regclass
          AND c.oid <> ALL (coalesce(e.extconfig, '{}')))
    ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""

_COLUMNS = """
    SELECT
      (SELECT coalesce(jsonb_agg(jsonb_build_array(a.attname, a.atttypid::regtype::text)
                                 ORDER BY a.attname COLLATE "C"), '[]')
       FROM pg_attribute a
       -- A virtual column holds nothing, and computing one may fail.
       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'),
      -- Of an extension's table, what pg_dump takes: the rest comes with the extension.
      (SELECT nullif(x.condition, '') FROM pg_extension e,
       unnest(e.extconfig, e.extcondition) AS x(relation, condition) WHERE x.relation = c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'm')
"""


# By pieces of 1 MB, as far as each one goes: its pages are other ones after a restore.
_LARGE_OBJECTS_QUERY = b"""
    SELECT (SELECT count(*) FROM pg_largeobject_metadata), coalesce(sum(hashtextextended(
        ROW(m.oid, piece.at, lo_get(m.oid, piece.at, 1048576))::text COLLATE "C", 0)), 0)
    FROM pg_largeobject_metadata m,
    -- One query of the number: by the handle, which is given out again, sizes would be remembered.
    LATERAL (
        SELECT lo_lseek64(handle, 0, 2) + lo_close(handle) AS size
        FROM (SELECT lo_open(m.oid, 262144) AS handle OFFSET 0) AS opened OFFSET 0) AS measured,
    LATERAL generate_series(0, greatest(size - 1, 0), 1048576) AS piece(at)
"""


def _table_proof(
    connection: Connection, schema: str, name: str, *, cancelled: Callable[[], bool]
) -> TableProof:
    with _told(connection, f"{schema}.{name}"), pinned(connection):
        if (schema, name) == (LARGE_OBJECTS.schema, LARGE_OBJECTS.name):
            rows, total = _patiently(connection, _LARGE_OBJECTS_QUERY, cancelled)
            return TableProof(schema, name, rows, _content(total))
        found = connection.execute(_COLUMNS, [schema, name]).fetchone()
        if found is None:
            raise BackupError(
                f"There is no table {schema}.{name} (any more), so nothing can be said about its "
                "rows. Nothing was changed. Run this again."
            )
        query = content_query(schema, name, *found).as_bytes(connection)
        rows, total = _patiently(connection, query, cancelled)
    return TableProof(schema, name, rows, _content(total))


def _content(total: int) -> str:
    return f"{total % 2**128:032x}"


@contextmanager
def _told(connection: Connection, where: str) -> Iterator[None]:
    """Say in words what keeps a table or a sequence from being read."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise BackupError(
            f"{connection.info.user} may not read all of {where}: {_said(error)}. The proof of "
            "a part would pass for the whole, so there is none. Use a login that owns the tables "
            "and has BYPASSRLS."
        ) from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise BackupError(
            f"The schema changed while {where} was read: {_said(error)}. Nothing was changed "
            "here. Run this again when the migration has ended."
        ) from error
    except psycopg.errors.QueryCanceled as error:
        raise BackupError(
            f"Reading {where} was stopped: {_said(error)}. Nothing was changed. Run this again."
        ) from error
    except psycopg.OperationalError as error:
        raise BackupError(
            f"The server went away or gave up while {where} was read: {_said(error)}. Nothing "
            "was changed. See that it runs, and run this again."
        ) from error
    except psycopg.Error as error:
        raise BackupError(
            f"{where} cannot be read to its end: {_said(error)}. It may be damaged; nothing was "
            "changed. Keep the backups you have, and check the table with pg_amcheck."
        ) from error


def _said(error: psycopg.Error) -> str:
    """Return what the server said, without the excerpt of our query that it adds."""
    return (error.diag.message_primary or one_line(error)).rstrip(".")


def _patiently(
    connection: Connection, query: bytes, cancelled: Callable[[], bool]
) -> tuple[int, int]:
    """Return a query's one row, asking now and then whether to stop waiting for it."""
    server = connection.pgconn
    with connection.lock:
        server.send_query(query)
        try:
            while server.is_busy():
                ready, _, _ = select.select([server.socket], [], [], _POLL_SECONDS)
                if ready:
                    server.consume_input()
                elif cancelled():
                    raise CancelledError("It was cancelled. Nothing of it was kept.")
        except BaseException:
            with suppress(psycopg.Error):  # where the server went away, that is what is told
                connection.cancel_safe()
                _drain(server)
            raise
        result = _drain(server)
    if result is None:
        raise psycopg.OperationalError("the server closed the connection")
    if result.status != pq.ExecStatus.TUPLES_OK:
        raise psycopg.errors.error_from_result(result, encoding=connection.info.encoding)
    return int(result.get_value(0, 0) or 0), int(result.get_value(0, 1) or 0)


def _drain(server: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """Return the query's result, and leave the connection ready for the next query."""
    first = result = server.get_result()
    while result is not None:
        result = server.get_result()
    return first


def _by_name(each: Named) -> tuple[str, str]:
    return each.schema, each.name
