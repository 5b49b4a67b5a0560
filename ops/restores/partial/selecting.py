"""From what somebody asked for to the rows of the past that are meant, and those that belong there.

Tables and conditions are named by people. A condition is only ever evaluated by a role that may
read that one table and nothing else, on the private server.
"""

from __future__ import annotations

import difflib
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import psycopg
from psycopg import sql

from ops.postgres.endpoint import Connection
from ops.postgres.errors import one_line
from ops.progress import Progress
from ops.restores.errors import RefusedError
from ops.restores.partial.closure import Closure, Side
from ops.restores.partial.shape import equal, names
from ops.restores.requests import RecoverRequest
from ops.restores.subjects import Subject, subject

_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""")


def table_title(name: str, known: Iterable[str]) -> str:
    """Return the table that somebody means: with its schema, or in public.

    Raises RefusedError, which names the nearest ones.
    """
    titles = list(known)
    candidates = [name, f"public.{name}", f'public."{name}"']
    for candidate in candidates:
        if candidate in titles:
            return candidate
    near = difflib.get_close_matches(f"public.{name}", titles, n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    raise RefusedError(
        f"There is no table {name}, neither today nor in what it would be recovered from. Nothing "
        f"was changed.{hint}"
    )


def require_no_partition(connection: Connection, name: str) -> None:
    """Raise RefusedError for a partition: its rows are those of the partitioned table."""
    row = connection.execute(_ROOT, {"names": [name, f"public.{name}"]}).fetchone()
    if row is not None:
        raise RefusedError(
            f"{row[0]} is a partition of {row[1]}, and its rows are recovered through that. "
            f"Nothing was changed. Name {row[1]}, with --where for some of its rows."
        )


_ROOT = """
    SELECT format('%%I.%%I', n.nspname, c.relname),
      pg_catalog.pg_partition_root(c.oid)::regclass::text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f') AND (
      format('%%I.%%I', n.nspname, c.relname) = ANY (%(names)s)
      OR format('%%s.%%s', n.nspname, c.relname) = ANY (%(names)s))
"""


def wanted_subject(request: RecoverRequest) -> Subject:
    """Return what a request is about. Raises RefusedError for a subject that nobody told of."""
    try:
        return subject(request.subject)
    except KeyError:
        raise RefusedError(
            f"Nobody told what a {request.subject} is (settings.RECOVERY_SUBJECTS). Nothing was "
            "changed."
        ) from None


def subject_keys(connection: Connection, wanted: Subject, typed: str) -> list[str]:
    """Return the primary keys, as text, of the rows that somebody names."""
    try:
        with connection.transaction(force_rollback=True):
            rows = connection.execute(wanted.find.encode(), {"text": typed}).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return []  # on a side that has no such table there is nothing to find
    return [str(key) for (key,) in rows]


def choose_subject(
    closure: Closure, wanted: Subject, keys: Iterable[str], account: str | None
) -> None:
    """Choose rows of a subject by key. Raises RefusedError for one of another account."""
    side = closure.sides[wanted.table]
    condition = sql.SQL("r.{}::text = ANY ({})").format(
        sql.Identifier(side.own[side.key[0]]), sql.Literal(list(keys))
    )
    if account is not None and wanted.account:
        strange = closure.connection.execute(
            sql.SQL("SELECT r.{}::text FROM {} AS r WHERE {} AND ({})::text <> {}").format(
                sql.Identifier(side.own[side.key[0]]),
                side.rows,
                condition,
                sql.SQL(wanted.account),
                sql.Literal(account),
            )
        ).fetchall()
        if strange:
            raise RefusedError(
                f"{wanted.title} {', '.join(key for (key,) in strange[:5])} belongs to another "
                "account. Nothing was changed."
            )
    closure.choose(wanted.table, condition)


def choose_where(closure: Closure, title: str, condition: str) -> None:
    """Choose the rows of one table that an operator's condition is true of.

    Raises RefusedError when it is no condition, and for whatever else the database says about it.
    """
    require_condition(condition)
    side, past = closure.sides[title], closure.connection
    keys = sql.Identifier("chosen_where")
    past.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT {} FROM {} LIMIT 0").format(
            keys, names(side.names(side.key)), side.table
        )
    )
    query = sql.SQL(
        "COPY (SELECT {key} FROM (SELECT {columns} FROM {table}) AS r WHERE (\n{condition}\n))"
        " TO STDOUT"
    ).format(
        key=names(side.key, "r"),
        columns=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.Identifier(own), sql.Identifier(name))
            for name, own in side.own.items()
        ),
        table=side.rows,
        condition=sql.SQL(condition),
    )
    try:
        with (
            _reader(past, side) as reader,
            reader.cursor().copy(query) as source,
            past.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(keys)) as sink,
        ):
            for block in source:
                sink.write(block)
    except psycopg.Error as error:
        said = error.diag.message_primary or one_line(error)
        raise RefusedError(
            f"The condition can't be asked of {title}: {said}. Nothing was changed. Write it as "
            "after WHERE, with the columns of that table."
        ) from None
    own = side.names(side.key)
    closure.choose(
        title,
        sql.SQL("EXISTS (SELECT FROM {} AS k WHERE {})").format(keys, equal("k", own, "r", own)),
    )


def require_condition(text: str) -> None:
    """Raise RefusedError for SQL that could end the parentheses it is put into."""
    bare = _QUOTED.sub("", text)
    depth, lowest = 0, 0
    for letter in bare:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        lowest = min(lowest, depth)
    wrong = [
        reason
        for reason, is_so in (
            ("it is empty", not text.strip()),
            ("it has a backslash", "\\" in text or "\0" in text),
            ("a quote is open", "'" in bare or '"' in bare),
            ("it has more than one statement", ";" in bare),
            ("it has a comment", "--" in bare or "/*" in bare),
            ("it has a dollar sign", "$" in bare),
            ("its parentheses don't match", bool(depth or lowest)),
        )
        if is_so
    ]
    if wrong:
        raise RefusedError(
            f"That is no condition: {wrong[0]}. Nothing was changed. Write one as after WHERE: "
            "status = 'draft' AND total > 100"
        )


@contextmanager
def _reader(past: Connection, side: Side) -> Iterator[Connection]:
    """Lend a session that may read one table of the private server, for a minute, and no more."""
    role = sql.Identifier(f"srvc_condition_{secrets.token_hex(6)}")
    schema = side.schema
    past.execute(sql.SQL("CREATE ROLE {} NOLOGIN BYPASSRLS").format(role))
    reader = None
    try:
        past.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), role))
        past.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(side.table, role))
        reader = _second(past)
        reader.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(role))
        reader.execute("SET default_transaction_read_only = on")
        reader.execute("SET statement_timeout = '60s'")
        reader.execute("SET search_path = public, pg_temp")
        yield reader
    finally:
        if reader is not None:
            reader.close()
        past.execute(sql.SQL("DROP OWNED BY {}").format(role))
        past.execute(sql.SQL("DROP ROLE {}").format(role))


def _second(past: Connection) -> Connection:
    info = past.info
    return psycopg.connect(
        host=info.host, port=info.port, user=info.user, dbname=info.dbname,
        password=info.password or None, autocommit=True, application_name="srvc condition",
    )  # fmt: skip


class Missing:
    """Asks the live database which keys are missing there."""

    def __init__(
        self, past: Connection, live: Connection, sides: Mapping[str, Side], progress: Progress
    ) -> None:
        self._past, self._live, self._sides, self._progress = past, live, sides, progress

    def __call__(self, title: str, wanted: sql.Identifier) -> None:
        """Leave in `wanted`, a table of the past, only the keys that today's table lacks."""
        side = self._sides.get(title)
        if side is None:
            return  # the whole table is missing
        asked = sql.Identifier("pg_temp", "asked_keys")
        self._live.execute(
            sql.SQL("CREATE TEMPORARY TABLE asked_keys AS SELECT {} FROM {} LIMIT 0").format(
                names(side.key), side.table
            )
        )
        try:
            _copy(
                self._past,
                sql.SQL("SELECT {} FROM {}").format(names(side.key), wanted),
                self._live,
                asked,
                self._progress,
            )
            self._past.execute(sql.SQL("TRUNCATE {}").format(wanted))
            _copy(
                self._live,
                sql.SQL(
                    "SELECT {} FROM {} AS k WHERE NOT EXISTS (SELECT FROM {} AS r WHERE {})"
                ).format(
                    names(side.key, "k"), asked, side.rows, equal("k", side.key, "r", side.key)
                ),
                self._past, wanted, self._progress,
            )  # fmt: skip
        finally:
            self._live.execute(sql.SQL("DROP TABLE {}").format(asked))


def _copy(
    source: Connection,
    query: sql.Composable,
    target: Connection,
    table: sql.Identifier,
    progress: Progress,
) -> None:
    with (
        source.cursor().copy(sql.SQL("COPY ({}) TO STDOUT").format(query)) as rows,
        target.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(table)) as sink,
    ):
        for block in rows:
            sink.write(block)
    progress.check()
