"""Which functions a statement calls that may do more than compute: ended sessions stay ended.

A read-only transaction keeps tables as they are. It does not keep a function from ending a session,
taking a lock that outlives it, reading a file or becoming another role.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ops.health.errors import HealthError
from ops.postgres.endpoint import Connection

# Volatile, as PostgreSQL has them, because what they return changes; they do nothing.
_HARMLESS = frozenset(
    [
        "clock_timestamp", "currval", "gen_random_uuid", "lastval", "pg_blocking_pids",
        "pg_current_wal_lsn", "pg_database_size", "pg_indexes_size", "pg_is_in_recovery",
        "pg_last_wal_receive_lsn", "pg_last_wal_replay_lsn", "pg_lock_status", "pg_relation_size",
        "pg_sequence_last_value", "pg_sleep", "pg_sleep_for", "pg_sleep_until",
        "pg_stat_statements", "pg_stat_statements_info", "pg_table_size", "pg_tablespace_size",
        "pg_total_relation_size", "random", "random_normal", "timeofday", "uuidv4", "uuidv7",
    ]
)  # fmt: skip
_TOKENS = re.compile(
    r"""
    (?P<comment>--[^\n]*|/\*)
    |(?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
    |(?P<literal>'(?:[^']|'')*')
    |(?P<dollar>\$(?P<tag>[^\W\d]\w*)?\$.*?\$(?(tag)(?P=tag))\$)
    |(?P<unicode>[uU]&")
    |"(?P<quoted>(?:[^"]|"")+)"
    |(?P<name>[^\W\d][\w$]*)
    |(?P<opening>\()
    |(?P<other>\S)
    """,
    re.VERBOSE | re.DOTALL,
)


def require_harmless(
    connection: Connection, sql: str, plan: dict[str, Any], *, executed: bool
) -> None:
    """Raise HealthError when the statement calls a function that may have effects.

    What it calls is read from its text and from its plan, where views and other functions are
    inlined. A statement that is only planned may call what people wrote, but not the server's own.
    """
    names = {*_called(sql), *(name for text in _expressions(plan) for name in _called(text))}
    rows = connection.execute(
        "SELECT DISTINCT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid ="
        " p.pronamespace WHERE p.proname = ANY (%s) AND p.provolatile = 'v'"
        " AND (%s OR n.nspname = 'pg_catalog') ORDER BY 1",
        [sorted(names), executed],
    ).fetchall()
    found = [name for (name,) in rows if name not in _HARMLESS]
    if found:
        raise HealthError(
            f"It calls {', '.join(found)}, which may do more than read. Nothing was executed. "
            + (
                "Without --analyze its plan is shown, unless the function is the server's own."
                if executed
                else "Leave the call out."
            )
        )


def _called(sql: str) -> Iterator[str]:
    """Yield the names that stand before an opening parenthesis, whatever they turn out to be."""
    position, last = 0, ""
    while match := _TOKENS.search(sql, position):
        position = match.end()
        kind = match.lastgroup
        if match["comment"] == "/*":
            position = _end_of_comment(sql, position)
        elif match["unicode"]:
            raise HealthError(
                'It has a name with Unicode escapes (U&"…"), which can\'t be told from others. '
                "Nothing was executed. Write the name itself."
            )
        elif match["quoted"] is not None:
            last = match["quoted"].replace('""', '"')
        elif match["name"] is not None:
            last = match["name"].lower()
        elif kind == "opening":
            if last:
                yield last
            last = ""
        elif kind != "comment":
            last = ""


def _end_of_comment(sql: str, position: int) -> int:
    """Return where a comment ends; comments nest in PostgreSQL."""
    depth = 1
    for match in re.finditer(r"/\*|\*/", sql[position:]):
        depth += 1 if match[0] == "/*" else -1
        if not depth:
            return position + match.end()
    return len(sql)


def _expressions(node: dict[str, Any]) -> Iterator[str]:
    for value in node.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            for each in value:
                if isinstance(each, str):
                    yield each
                elif isinstance(each, dict):
                    yield from _expressions(each)
        elif isinstance(value, dict):
            yield from _expressions(value)
