"""What has to hold of the live database once rows were recovered, asked before they are committed.

Recovered rows are seen by their account and by no other one, and nothing that must be true of the
data is less true than it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import psycopg
from psycopg import sql

from ops.invariants import Invariant, invariants
from ops.models.recoveries import RowAct
from ops.postgres.endpoint import Connection
from ops.postgres.errors import one_line
from ops.postgres.roles import MEMBER
from ops.restores.errors import ConflictError
from ops.restores.partial.stage import Staged

_SHOWN = 10
ACCOUNTS_ASKED = 50
_BEFORE = sql.Identifier("pg_temp", "true_before")

# Policies by which members read: those of their role, and those of everybody.
_POLICIES = """
    SELECT pg_get_expr(p.polqual, p.polrelid) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE p.polrelid = %s::regclass AND c.relrowsecurity AND p.polpermissive
      AND p.polcmd IN ('r', '*') AND has_table_privilege(%s, c.oid, 'SELECT')
      AND (0 = ANY (p.polroles) OR %s::regrole = ANY (p.polroles))
"""
# A row is an account's by one of its columns.
_BY_COLUMN = re.compile(r'^\(?(?P<column>[a-z_][a-z0-9_]*|"(?:[^"]|"")+") = \( ?SELECT .*app\.acc')


def remember_truths(live: Connection, titles: Iterable[str]) -> None:
    """Note what contradicts the invariants of these tables already."""
    live.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} (name text, what text)").format(
            sql.Identifier("true_before")
        )
    )
    for invariant in _concerned(live, set(titles)):
        live.execute(
            sql.SQL("INSERT INTO {} SELECT {}, {}").format(
                _BEFORE, sql.Literal(invariant.name), _answer(live, invariant)
            )
        )


def untruths(live: Connection, titles: Iterable[str]) -> list[str]:
    """Return, each in a sentence, what contradicts an invariant and did not before."""
    found: list[str] = []
    for invariant in _concerned(live, set(titles)):
        rows = live.execute(
            sql.SQL(
                "SELECT n.what FROM (SELECT {now}) AS n(what)"
                " EXCEPT SELECT b.what FROM {before} AS b WHERE b.name = {name} LIMIT {shown}"
            ).format(
                now=_answer(live, invariant),
                before=_BEFORE,
                name=sql.Literal(invariant.name),
                shown=sql.Literal(_SHOWN),
            )
        ).fetchall()
        if rows:
            found.append(f"{invariant.sentence} {'; '.join(what for (what,) in rows)}.")
    return found


def require_truths(live: Connection, titles: Iterable[str]) -> None:
    """Raise ConflictError where something contradicts that did not before."""
    found = untruths(live, titles)
    if found:
        raise ConflictError(
            f"Recovered like this, it would not be true any more: {' '.join(found)} Nothing was "
            "changed. Recover what belongs to it as well (without --no-related, with --mode all, "
            "or the whole customer or account)."
        )


def require_separation(live: Connection, staged: Sequence[Staged]) -> None:
    """Raise ConflictError where an account would not see its recovered rows, or another's.

    Asked as members of the accounts concerned, of up to ACCOUNTS_ASKED of them.
    """
    columns = {each.number: _account_column(live, each) for each in staged}
    work = [each for each in staged if columns[each.number] and _comes(each)]
    for each in work:
        live.execute(
            sql.SQL("GRANT SELECT ON {}, {} TO {}").format(
                each.act, each.wanted, sql.Identifier(MEMBER)
            )
        )
    accounts = sorted({a for each in work for a in _accounts(live, each, columns[each.number])})
    for account in accounts[:ACCOUNTS_ASKED]:
        _ask_as(live, work, columns, account)


def _ask_as(
    live: Connection, work: Sequence[Staged], columns: dict[int, str], account: str
) -> None:
    live.execute(
        "SELECT set_config('role', %s, true), set_config('app.account_id', %s, true),"
        " set_config('row_security', 'on', true)",
        [MEMBER, account],
    )
    for each in work:
        row = live.execute(
            sql.SQL(
                "SELECT count(*) FILTER (WHERE l.{first} IS NULL AND w.{column}::text = {account}),"
                " count(*) FILTER (WHERE l.{first} IS NOT NULL AND w.{column}::text IS DISTINCT"
                " FROM {account})"
                " FROM {act} AS a JOIN {wanted} AS w ON {is_wanted} LEFT JOIN {live} AS l ON"
                " {same} WHERE a.act IN ({ins}, {upd})"
            ).format(
                first=sql.Identifier(each.table.key[0]),
                column=sql.SQL(columns[each.number]),
                account=sql.Literal(account),
                act=each.act,
                wanted=each.wanted,
                is_wanted=each.same("w", "a"),
                live=each.table.rows,
                same=each.same("l", "a"),
                ins=sql.Literal(RowAct.INSERTED.value),
                upd=sql.Literal(RowAct.UPDATED.value),
            )
        ).fetchone()
        unseen, strange = row or (0, 0)
        if unseen or strange:
            which = "does not see" if unseen else "sees rows of others among"
            raise ConflictError(
                f"Account {account} {which} what would come back in {each.table.title} "
                f"({unseen or strange:,} rows): row security is not as it should be. Nothing was "
                "changed. Compare the policies of the table (`manage.py health`)."
            )
    live.execute(
        "SELECT set_config('role', 'none', true), set_config('app.account_id', '', true),"
        " set_config('row_security', 'off', true)"
    )


def _comes(each: Staged) -> bool:
    return bool(each.planned.keys() & {RowAct.INSERTED, RowAct.UPDATED})


def _accounts(live: Connection, each: Staged, column: str) -> list[str]:
    rows = live.execute(
        sql.SQL(
            "SELECT DISTINCT w.{column}::text FROM {act} AS a JOIN {wanted} AS w ON {is_wanted}"
            " WHERE a.act IN ({ins}, {upd}) AND w.{column} IS NOT NULL LIMIT {most}"
        ).format(
            column=sql.SQL(column),
            act=each.act,
            wanted=each.wanted,
            is_wanted=each.same("w", "a"),
            ins=sql.Literal(RowAct.INSERTED.value),
            upd=sql.Literal(RowAct.UPDATED.value),
            most=sql.Literal(ACCOUNTS_ASKED),
        )
    ).fetchall()
    return [account for (account,) in rows]


def _account_column(live: Connection, each: Staged) -> str:
    """Return the column by which members see rows of a table; "" where no policy says so."""
    rows = live.execute(_POLICIES, [each.table.title, MEMBER, MEMBER]).fetchall()
    if len(rows) != 1 or not rows[0][0]:
        return ""
    match = _BY_COLUMN.match(rows[0][0])
    return match["column"] if match else ""


def _concerned(live: Connection, titles: set[str]) -> list[Invariant]:
    """Return the invariants that speak of one of these tables, where all they need is there."""
    found = []
    for invariant in invariants():
        if not titles & set(invariant.tables):
            continue
        row = live.execute(
            "SELECT bool_and(to_regclass(each) IS NOT NULL) FROM unnest(%s::text[]) AS each",
            [list(invariant.tables)],
        ).fetchone()
        if row is not None and row[0]:
            found.append(invariant)
    return found


def _answer(live: Connection, invariant: Invariant) -> sql.Composable:
    """Return SQL of what contradicts, after "SELECT"; a query that fails contradicts too."""
    query = sql.SQL(invariant.query)
    try:
        with live.transaction():
            live.execute(sql.SQL("EXPLAIN SELECT * FROM ({}) AS each").format(query))
    except psycopg.Error as error:
        return sql.SQL("{}").format(sql.Literal(f"it can't be asked ({one_line(error)})"))
    return sql.SQL("found.what::text FROM ({}) AS found(what)").format(query)
