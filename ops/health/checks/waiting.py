"""Connections that are held and not used: idle in a transaction, or all of a pool at once."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from ops import words
from ops.health.context import Context
from ops.health.contract import OFTEN, Reported, check, several
from ops.health.ending import IS_PROTECTED, Target
from ops.health.quoting import literal
from ops.models import Area, Severity
from ops.postgres.endpoint import Endpoint

# What the session's transaction has locked beyond reading, and for how long nothing is vacuumed.
_IDLE = f"""
    SELECT a.pid, a.backend_start::text, coalesce(a.usename::text, '?'), a.application_name,
        extract(epoch FROM now() - a.state_change)::float8,
        extract(epoch FROM now() - a.xact_start)::float8,
        coalesce(age(a.backend_xmin), age(a.backend_xid), 0),
        ARRAY(SELECT DISTINCT format('%s (%s)', l.relation::regclass, l.mode) FROM pg_locks l
              JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'm')
              WHERE l.pid = a.pid AND l.granted AND l.mode <> 'AccessShareLock'
                AND l.database = a.datid ORDER BY 1),
        to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
        a.xact_start::text, {IS_PROTECTED}
    FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.state LIKE 'idle in transaction%'
      AND a.pid <> pg_backend_pid()
    ORDER BY a.state_change
"""  # noqa: S608 (constants)


@check(Area.CONNECTION, "Sessions that are idle in a transaction", every=OFTEN)
def idle_in_transaction(context: Context) -> Iterator[Reported]:
    """A transaction that somebody left open keeps its locks, and keeps VACUUM from removing
    anything deleted since it began."""
    context.require_statistics("What other sessions do")
    rows = context.rows(_IDLE)
    if len(rows) >= context.limits.idle_in_transaction:
        yield Reported(
            "many",
            Severity.WARNING,
            "Very many sessions are idle in a transaction",
            f"{len(rows):,} of this database's sessions have begun a transaction and do nothing: "
            "a program does something slow, such as a call to another service, in the middle of "
            "its transactions.",
            "SELECT usename, application_name, count(*), max(now() - state_change) FROM "
            "pg_stat_activity WHERE state LIKE 'idle in transaction%' GROUP BY 1, 2;",
        )
    for pid, began, user, application, idle, age, held_back, locks, since, *more in rows:
        transaction, is_protected = more
        if idle < context.limits.idle_in_transaction_seconds:
            continue
        holds = f" It holds locks on {several(locks)}." if locks else " It holds no lock."
        vacuum = (
            f" VACUUM keeps what {held_back:,} transactions since then have deleted."
            if held_back
            else ""
        )
        yield Reported(
            f"{pid} since {since}",
            Severity.WARNING,
            f"A session of {user} has been idle in a transaction for long",
            f"Process {pid} ({application or 'unnamed'}) did nothing for {words.duration(idle)}, "
            f"in a transaction that began {words.duration(age)} ago.{holds}{vacuum}",
            Target(pid, began, is_protected, transaction).terminating,
            f"session {pid}",
        )


@check(Area.CONNECTION, "A pool without a free connection", every=OFTEN)
def pool(context: Context) -> Iterator[Reported]:
    """A request that finds each connection of its process's pool in use waits ten seconds for one
    and then fails.

    The pools are inside the web processes. What can be seen from here are their login's sessions:
    at least one pool full of them, and none idle, in two looks one after the other.
    """
    size: int = settings.DATABASE_POOL
    if not size:
        return
    context.require_statistics("What the web process's sessions do")
    login = Endpoint.of("default").user
    total, idle, oldest = context.one(
        "SELECT count(*), count(*) FILTER (WHERE state = 'idle'),"
        " coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float8"
        " FROM pg_stat_activity WHERE datname = current_database() AND usename = %s"
        " AND backend_type = 'client backend'",
        [login],
    )
    was_full = context.memory.get("full", False)
    context.memory["full"] = is_full = total >= size and idle == 0
    if is_full and was_full:
        yield Reported(
            "",
            Severity.WARNING,
            "The web process has no free connection",
            f"All {total:,} sessions of {login} were busy in two looks, and each web process keeps "
            f"{size} at most (DATABASE_POOL). The oldest transaction began "
            f"{words.duration(oldest)} ago. Requests wait for a connection, and fail after 10 s. "
            "See what the sessions do; if it is honest work, raise DATABASE_POOL and start the "
            "web process anew.",
            "SELECT pid, state, now() - xact_start AS age, wait_event, query "  # noqa: S608
            "FROM pg_stat_activity WHERE datname = current_database() "
            f"AND usename = {literal(login)} ORDER BY xact_start;",
            f"login {login}",
        )
