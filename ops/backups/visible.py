"""What each role of a request sees: recorded with a dump, asked again of what is restored from it.

Counted in the dump's own snapshot, beside it, so it has to be cheap. Where a policy lets a role see
everything nothing is counted, for the proof has that number already; where it lets a role see an
account's rows, an index leads to them, and no more than LIMIT are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from ops.backups.pinned import Connection
from ops.postgres.roles import ADMIN, MEMBER, PUBLIC, REQUEST_ROLES

DETAIL = "visible"  # in a manifest's details
LIMIT = 1_000  # rows counted of a table
_RANKED = 2_000  # rows counted of an account, to tell which has most
_SECONDS = 2  # that all counts of one role may take beside a dump
_ALL = "all"
# A policy of some other form may need the whole table: only those of such a size are counted.
_SMALL = 8 * 1024 * 1024  # bytes
# A policy that compares a column with the account of the session, as PostgreSQL writes it.
_OF_ACCOUNT = re.compile(
    r"""\((?P<column>"(?:[^"]|"")+"|\w+) = \( ?SELECT .*'app\.account_id'""", re.DOTALL
)


@dataclass(frozen=True)
class Seer:
    """Somebody who looks: a role, and for members the account they belong to."""

    role: str
    account: int | None = None

    def __str__(self) -> str:
        return self.role if self.account is None else f"{self.role} of account {self.account}"


@dataclass(frozen=True)
class _Guarded:
    """A table with row security that a role may read, and what its policies say to that role."""

    schema: str
    name: str
    conditions: tuple[str, ...]  # of permissive policies, any of which lets a row be seen
    is_restricted: bool  # other policies hold rows back besides
    size: int

    @property
    def title(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def shows_all(self) -> bool:
        return "true" in self.conditions and not self.is_restricted

    @property
    def account_column(self) -> str:
        """The column that holds the account, as SQL; "" when the policy is of another form."""
        found = _OF_ACCOUNT.match(self.conditions[0]) if len(self.conditions) == 1 else None
        return found["column"] if found and not self.is_restricted else ""

    @property
    def is_quick(self) -> bool:
        """Whether looking is cheap."""
        return self.shows_all or bool(self.account_column) or self.size <= _SMALL

    @property
    def is_plain(self) -> bool:
        """Whether its policies can be evaluated by others: no table is asked that has its own."""
        if self.shows_all or self.account_column:
            return True
        return not self.is_restricted and not any(" FROM " in f"{c} " for c in self.conditions)


_GUARDED = """
    SELECT n.nspname, c.relname,
      coalesce((SELECT array_agg(pg_get_expr(p.polqual, p.polrelid) ORDER BY p.polname)
        FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('*', 'r')
        AND (p.polroles = '{0}' OR r.oid = ANY (p.polroles)) AND p.polqual IS NOT NULL), '{}'),
      EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive
        AND p.polcmd IN ('*', 'r') AND (p.polroles = '{0}' OR r.oid = ANY (p.polroles))),
      pg_relation_size(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
    WHERE r.rolname = %s AND c.relrowsecurity AND c.relkind IN ('r', 'p')
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND has_schema_privilege(r.oid, n.oid, 'USAGE')
      AND has_table_privilege(r.oid, c.oid, 'SELECT')
    ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""


def record(connection: Connection) -> dict[str, Any] | None:
    """Return what roles see, for a manifest; None where there is nothing to see or to ask.

    The session is in a transaction, and is afterwards as it was. A dump never fails by this: a
    role that can't be asked, or takes too long, is left out.
    """
    seen = []
    known = {role: guarded(connection, role) for role in REQUEST_ROLES}
    for seer in _seers(connection, known):
        with suppress(psycopg.Error):
            tables = [each for each in known[seer.role] if each.is_quick]
            counts = {
                each.title: _ALL if each.shows_all else count
                for each, count in _looked(connection, seer, LIMIT, tables, seconds=_SECONDS)
            }
            seen.append({"role": seer.role, "account": seer.account, "tables": counts})
    return {"limit": LIMIT, "seen": seen} if seen else None


def _seers(connection: Connection, known: Mapping[str, list[_Guarded]]) -> list[Seer]:
    """Return who is asked: an administrator, a visitor, and members of up to three accounts."""
    found = [Seer(role) for role in (ADMIN, PUBLIC) if known[role]]
    with suppress(psycopg.Error):
        found += [Seer(MEMBER, account) for account in _accounts(connection, known[MEMBER])]
    return found


def guarded(connection: Connection, role: str) -> list[_Guarded]:
    """Return the tables with row security that a role may read; none when there is no such role."""
    rows = connection.execute(_GUARDED.encode(), [role]).fetchall()
    return [_Guarded(schema, name, tuple(of), held, size) for schema, name, of, held, size in rows]


def differences(connection: Connection, recorded: Mapping[str, Any]) -> list[str]:
    """Return where roles see other rows in a restored database than when it was dumped.

    `connection` is a superuser's, in autocommit mode.
    """
    found = []
    for each in recorded["seen"]:
        seer, before = Seer(each["role"], each["account"]), each["tables"]
        now: dict[str, int | str] = {}
        tables = [one for one in guarded(connection, seer.role) if one.title in before]
        for table, count in _looked(connection, seer, recorded["limit"], tables):
            all_of_it = table.shows_all and _sees_all(connection, seer, table)
            now[table.title] = _ALL if all_of_it else count
        found += [
            _told(seer, title, now.get(title, "no"), count)
            for title, count in before.items()
            if now.get(title) != count
        ]
    return found


def contradictions(connection: Connection) -> tuple[int, list[str]]:
    """Hold what roles see against what their policies say, evaluated by who sees every row.

    Returns how many tables were looked at, and what differs. For databases of which nobody recorded
    what roles saw.
    """
    looked, found = 0, []
    known = {role: guarded(connection, role) for role in REQUEST_ROLES}
    for seer in _seers(connection, known):
        for table in known[seer.role]:
            if not table.is_plain:
                continue
            looked += 1
            sees = _count(connection, seer, table)
            should = _by_policy(connection, seer, table)
            if sees != should:
                found.append(_told(seer, table.title, sees, should))
    return looked, found


def _told(seer: Seer, title: str, now: int | str, before: int | str) -> str:
    return f"{seer} sees {now} row(s) of {title} instead of {before}."


# --- counting ----------------------------------------------------------------------------------


@contextmanager
def _acting(connection: Connection, seer: Seer, *, seconds: float = 0) -> Iterator[None]:
    """Be somebody for a while, whatever happens: the savepoint's end takes everything back."""
    with connection.transaction(force_rollback=True):
        _set(connection, seer, role=True, seconds=seconds)
        yield


def _set(connection: Connection, seer: Seer, *, role: bool, seconds: float = 0) -> None:
    account = "" if seer.account is None else str(seer.account)
    settings = {
        "app.account_id": account,
        "app.user_id": account,
        "row_security": "on",
        "jit": "off",
        **({"statement_timeout": f"{int(seconds * 1000)}"} if seconds else {}),
        **({"role": seer.role} if role else {}),
    }
    calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
    values = [part for pair in settings.items() for part in pair]
    connection.execute(f"SELECT {calls}".encode(), values)


def _looked(
    connection: Connection,
    seer: Seer,
    limit: int,
    tables: Sequence[_Guarded],
    *,
    seconds: float = 0,
) -> list[tuple[_Guarded, int]]:
    """Return how many rows of each table somebody sees, up to a limit."""
    counted = [each for each in tables if not each.shows_all]
    counts: list[int] = []
    if counted:
        query = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}, (SELECT count(*) FROM (SELECT FROM {} LIMIT {}) AS few)").format(
                sql.Literal(number), each.identifier, sql.Literal(limit)
            )
            for number, each in enumerate(counted)
        )
        with _acting(connection, seer, seconds=seconds):
            rows = connection.execute(query).fetchall()
        counts = [count for _, count in sorted(rows)]
    by_table = dict(zip((each.title for each in counted), counts, strict=True))
    return [(each, by_table.get(each.title, 0)) for each in tables]


def _sees_all(connection: Connection, seer: Seer, table: _Guarded) -> bool:
    return _count(connection, seer, table) == _number(connection, table, sql.SQL("true"))


def _count(connection: Connection, seer: Seer, table: _Guarded) -> int:
    with _acting(connection, seer):
        return _number(connection, table, sql.SQL("true"))


def _by_policy(connection: Connection, seer: Seer, table: _Guarded) -> int:
    """Count what a policy shows to somebody, as a superuser, whom no policy holds back."""
    if table.account_column:
        condition: sql.Composable = sql.SQL("{} = {}").format(
            sql.SQL(table.account_column), sql.Literal(seer.account)
        )
        return _number(connection, table, condition)
    conditions = " OR ".join(f"({each})" for each in table.conditions) or "false"
    with connection.transaction(force_rollback=True):
        _set(connection, seer, role=False)
        return _number(connection, table, sql.SQL(conditions))


def _number(connection: Connection, table: _Guarded, condition: sql.Composable) -> int:
    query = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(table.identifier, condition)
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


# --- whose rows --------------------------------------------------------------------------------


def _accounts(connection: Connection, tables_of_members: Sequence[_Guarded]) -> list[int]:
    """Return up to three accounts: with most rows, fewest, and some, by their largest table."""
    tables = [each for each in tables_of_members if each.account_column]
    if not tables:
        return []
    largest = max(tables, key=lambda each: each.size)
    with connection.transaction(force_rollback=True):
        connection.execute(
            "SELECT set_config('statement_timeout', %s, true)", [str(_SECONDS * 1000)]
        )
        candidates = sorted(set(_candidates(connection, largest)))
        counts = {account: _rows_of(connection, largest, account) for account in candidates}
    ranked = sorted(candidates, key=lambda account: (counts[account], account))
    chosen = [ranked[index] for index in (-1, 0, len(ranked) // 2)] if ranked else []
    return list(dict.fromkeys(chosen))


def _candidates(connection: Connection, table: _Guarded) -> Iterator[int]:
    """Yield accounts as statistics and the ends of the index tell them; nothing is scanned."""
    column = table.account_column
    row = connection.execute(
        "SELECT most_common_vals::text::bigint[] FROM pg_stats"
        " WHERE schemaname = %s AND tablename = %s AND attname = %s AND NOT inherited",
        [table.schema, table.name, _unquoted(column)],
    ).fetchone()
    if row is not None and row[0]:
        yield from (row[0][0], row[0][-1])
    known = f"WHERE {column} IS NOT NULL ORDER BY {column}"
    ends = [_first(connection, table, sql.SQL(f"{known} {order}")) for order in ("ASC", "DESC")]
    yield from (each for each in ends if each is not None)
    if ends[0] is not None and ends[1] is not None:
        middle = ends[0] + (ends[1] - ends[0]) // 2
        behind = sql.SQL(f"WHERE {column} >= {{}} ORDER BY {column}").format(sql.Literal(middle))
        yield from (each for each in [_first(connection, table, behind)] if each is not None)


def _first(connection: Connection, table: _Guarded, order: sql.Composable) -> int | None:
    query = sql.SQL("SELECT {}::bigint FROM {} {} LIMIT 1").format(
        sql.SQL(table.account_column), table.identifier, order
    )
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _rows_of(connection: Connection, table: _Guarded, account: int) -> int:
    query = sql.SQL("SELECT count(*) FROM (SELECT FROM {} WHERE {} = {} LIMIT {}) AS few").format(
        table.identifier, sql.SQL(table.account_column), sql.Literal(account), sql.Literal(_RANKED)
    )
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
