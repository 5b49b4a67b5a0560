"""Reading what a proof is made of: each table's rows, where each sequence stands.

Most tables of most databases are small, and asking costs more than reading them: those are asked
for together, in one query.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import batched

import psycopg
from psycopg import pq, sql

from ops.backups.contents import content_query
from ops.backups.errors import BackupError
from ops.backups.pinned import Connection, pinned
from ops.backups.proof import Named, SequenceProof, TableProof
from ops.backups.selection import LARGE_OBJECTS
from ops.postgres.errors import one_line
from ops.progress import CancelledError

SMALL = 1024 * 1024  # bytes of a table that is read together with others
TOGETHER = 50  # tables at most: each holds a lock until all are read
_POLL_SECONDS = 0.5


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
    for some in batched(tables, TOGETHER):
        known = _together(connection, some, cancelled)
        for table in some:
            proof = known.get(_by_name(table)) or _table_proof(
                connection, table.schema, table.name, cancelled=cancelled
            )
            if on_table is not None:
                on_table(proof)
            proofs.append(proof)
    return proofs


def sequence_proofs(connection: Connection) -> list[SequenceProof]:
    """Return where every sequence stands at this moment.

    Sequences know no snapshot: in use, they are ahead of the rows of one. Read them before a dump
    begins, and a restored one is never behind.
    """
    return [proof for proof, _values in _sequences(connection)]


def settled(connection: Connection, before: Sequence[SequenceProof]) -> list[SequenceProof]:
    """Return the sequences' proofs from before a dump, once it ended: some went back meanwhile.

    One that cycles, or that somebody set back, may stand in the dump wherever it has been.
    """
    after = {_by_name(proof): (proof, values) for proof, values in _sequences(connection)}
    found = []
    for old in before:
        new, values = after.get(_by_name(old), (old, None))
        # Of few values, the same one may have come by several times.
        moved = old.position != new.position or (values is not None and values < _FEW)
        back = moved and (values is not None or not old.went_on_to(new))
        found.append(replace(old, may_go_back=back))
    return found


_FEW = 1_000


def _sequences(connection: Connection) -> list[tuple[SequenceProof, int | None]]:
    """Return every sequence, and after how many values it starts over; None: it never does."""
    with _told(connection, "the sequences"), pinned(connection):
        found = connection.execute(_SEQUENCES).fetchall()
        values: dict[int, tuple[int, bool]] = {}
        for some in batched(found, 200):
            query = sql.SQL(" UNION ALL ").join(
                sql.SQL("SELECT {}::int8, last_value, is_called FROM {}").format(
                    sql.Literal(number), sql.Identifier(schema, name)
                )
                for number, schema, name, *_ in some
            )
            values |= {row[0]: row[1:] for row in connection.execute(query).fetchall()}
    return [
        (SequenceProof(schema, name, *values[number], increment), count)
        for number, schema, name, increment, count in found
    ]


_SEQUENCES = """
    SELECT c.oid::int8, n.nspname, c.relname, s.seqincrement,
      CASE WHEN s.seqcycle THEN
        least(1e9, (s.seqmax::numeric - s.seqmin) / abs(s.seqincrement::numeric))::int8 END
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

_COLUMNS = b"""
    SELECT n.nspname, c.relname,
      (SELECT coalesce(jsonb_agg(jsonb_build_array(a.attname, a.atttypid::regtype::text)
                                 ORDER BY a.attname COLLATE "C"), '[]')
       FROM pg_attribute a
       -- A virtual column holds nothing, and computing one may fail.
       WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'),
      -- Of an extension's table, what pg_dump takes: the rest comes with the extension.
      (SELECT nullif(x.condition, '') FROM pg_extension e,
       unnest(e.extconfig, e.extcondition) AS x(relation, condition) WHERE x.relation = c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm')
"""
_OF_ONE = _COLUMNS + b" AND n.nspname = %s AND c.relname = %s"
_OF_SMALL = (
    _COLUMNS
    + b" AND (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"
    + b" AND pg_table_size(c.oid) <= %s"
)

# By pieces of 1 MB, as far as each one goes: its pages are other ones after a restore.
_LARGE_OBJECTS_QUERY = """
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
        if (schema, name) == _by_name(LARGE_OBJECTS):
            ((rows, total),) = _patiently(connection, _LARGE_OBJECTS_QUERY, cancelled)
            return TableProof(schema, name, rows, _content(total))
        found = connection.execute(_OF_ONE, [schema, name]).fetchone()
        if found is None:
            raise BackupError(
                f"There is no table {schema}.{name} (any more), so nothing can be said about its "
                "rows. Nothing was changed. Run this again."
            )
        ((rows, total),) = _patiently(connection, _query(*found), cancelled)
    return TableProof(schema, name, rows, _content(total))


def _together(
    connection: Connection, tables: Sequence[Named], cancelled: Callable[[], bool]
) -> dict[tuple[str, str], TableProof]:
    """Return the proofs of those tables that are small, read in one query.

    None when one of them can't be read: each is asked for alone then, and says why.
    """
    tables = [each for each in tables if _by_name(each) != _by_name(LARGE_OBJECTS)]
    if len(tables) < 2:
        return {}
    try:
        with pinned(connection):
            found = connection.execute(
                _OF_SMALL,
                [[each.schema for each in tables], [each.name for each in tables], SMALL],
            ).fetchall()
            if not found:
                return {}
            query = " UNION ALL ".join(
                f"SELECT {number}, one.* FROM ({_query(*each)}) AS one"  # noqa: S608 (quoted by content_query)
                for number, each in enumerate(found)
            )
            read = _patiently(connection, query, cancelled)
    except psycopg.Error:
        return {}
    names = [(schema, name) for schema, name, _columns, _condition in found]
    return {
        names[number]: TableProof(*names[number], rows, _content(total))
        for number, rows, total in read
    }


def _query(schema: str, name: str, columns: list[list[str]], condition: str | None) -> str:
    """The query of one row of _COLUMNS."""
    return content_query(schema, name, tuple((column, kind) for column, kind in columns), condition)


def _by_name(each: Named) -> tuple[str, str]:
    return each.schema, each.name


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
    connection: Connection, query: str, cancelled: Callable[[], bool]
) -> list[tuple[int, ...]]:
    """Return a query's rows, asking now and then whether to stop waiting for them."""
    server = connection.pgconn
    with connection.lock:
        server.send_query(query.encode(connection.info.encoding))
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
    return [
        tuple(int(result.get_value(row, column) or 0) for column in range(result.nfields))
        for row in range(result.ntuples)
    ]


def _drain(server: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """Return the query's result, and leave the connection ready for the next query."""
    first = result = server.get_result()
    while result is not None:
        result = server.get_result()
    return first
