"""Which rows of a backup belong to the one account that somebody asks about.

An account's tables tell by their row policies which column names it. So of a million customers only
those of one account have to be read, when the account is known before the backup is opened: from
the row itself, or, when that is gone, from its history.
"""

from __future__ import annotations

import re
from contextlib import suppress

import psycopg
from psycopg import sql

from ops.backups.inspection import table_name
from ops.postgres.endpoint import Connection
from ops.restores.diff.pairing import TableName
from ops.restores.past.subset import Filter
from ops.restores.requests import RecoverRequest
from ops.restores.subjects import Subject, links, subject

# As the catalog shows what ops.rls.policies.CURRENT_ACCOUNT makes.
_OF_ACCOUNT = re.compile(
    r'^\(?\(?(?P<column>"(?:[^"]|"")+"|\w+) = \( SELECT [^;]*app\.account_id', re.DOTALL
)
_POLICIES = """
    SELECT n.nspname, c.relname, pg_get_expr(p.polqual, p.polrelid), a.attname, a.attnotnull
    FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE p.polqual IS NOT NULL AND c.relkind = 'r'
"""


def account_filters(live: Connection, request: RecoverRequest) -> dict[TableName, Filter]:
    """Return which rows of which tables are of the account that a request is about; none: of all.

    A row that is of no account, such as a platform administrator's, is kept.
    """
    accounts = _accounts(live, request)
    if not accounts:
        return {}
    return {
        table: Filter(column, frozenset(accounts), or_null)
        for table, (column, or_null) in _account_columns(live).items()
    }


def _account_columns(live: Connection) -> dict[TableName, tuple[str, bool]]:
    found: dict[TableName, tuple[str, bool]] = {}
    for schema, name, condition, column, not_null in live.execute(_POLICIES).fetchall():
        match = _OF_ACCOUNT.match(condition)
        if match is not None and match["column"].strip('"').replace('""', '"') == column:
            found[schema, name] = (column, not not_null)
    return found


def _accounts(live: Connection, request: RecoverRequest) -> set[str]:
    """Return the accounts of everything that is asked for; none when one of them is not known."""
    if not request.subject or request.tables:
        return set()
    try:
        wanted = subject(request.subject)
    except KeyError:
        return set()
    if not wanted.account:
        return set()
    found: set[str] = set()
    for typed in request.keys:
        of_this = _account_of(live, wanted, typed)
        if of_this is None:
            return set()
        found.add(of_this)
    return found


def _account_of(live: Connection, wanted: Subject, typed: str) -> str | None:
    """Return the account of one subject by what was typed, or None where it can't be told."""
    with suppress(psycopg.Error), live.transaction(force_rollback=True):
        rows = live.execute(wanted.find.encode(), {"text": typed}).fetchall()
        if rows:
            return _told(live, wanted, table_name(wanted.table), "", [str(key) for (key,) in rows])
    if not (typed.isascii() and typed.isdecimal()):
        return None  # a name may be anybody's by now
    for each in links():
        if each.is_history and each.to_table == wanted.table and len(each.columns) == 1:
            with suppress(psycopg.Error), live.transaction(force_rollback=True):
                found = _told(live, wanted, table_name(each.table), each.columns[0], [typed])
                if found is not None:
                    return found
    return None


def _told(
    live: Connection, wanted: Subject, table: TableName, column: str, keys: list[str]
) -> str | None:
    key = column or _key(live, table)
    rows = live.execute(
        sql.SQL("SELECT DISTINCT ({})::text FROM {} r WHERE {}::text = ANY ({}) LIMIT 2").format(
            sql.SQL(wanted.account),
            sql.Identifier(*table),
            sql.Identifier("r", key),
            sql.Literal(keys),
        )
    ).fetchall()
    return str(rows[0][0]) if len(rows) == 1 and rows[0][0] is not None else None


def _key(live: Connection, table: TableName) -> str:
    (name,) = live.execute(
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
        " AND a.attnum = ANY (i.indkey) WHERE i.indisprimary AND i.indnatts = 1"
        " AND i.indrelid = format('%%I.%%I', %s::text, %s::text)::regclass",
        table,
    ).fetchone() or ("",)
    return str(name)
