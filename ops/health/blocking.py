"""Who waits for whom: sessions that hold what others want, and those that stand behind them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from ops.health.ending import IS_PROTECTED, Target
from ops.health.quoting import literal
from ops.health.steps import as_superuser
from ops.postgres.endpoint import Connection

# A transaction that was prepared for a commit in two phases has no session; PostgreSQL says 0.
PREPARED = 0
_MOST_HELD = 5
_DEEPEST = 20


@dataclass(frozen=True)
class Session:
    """A session as others see it."""

    pid: int
    role: str
    application: str
    state: str  # active, idle in transaction …; for the server's own processes what they are
    transaction_seconds: float  # since its transaction began; 0: it is in none
    query: str  # the one it runs, or ran last
    backend_start: str = ""
    transaction_start: str = ""
    is_protected: bool = True  # only a superuser may end it

    @property
    def title(self) -> str:
        """As people write it."""
        if self.pid == PREPARED:
            return f"prepared transaction {self.application!r} of {self.role}"
        where = f", {self.application}" if self.application else ""
        return f"session {self.pid} ({self.role}{where})"


@dataclass(frozen=True)
class Node:
    """A session that others wait for, or that waits, or both."""

    session: Session
    waits_for: str  # what it wants and can't have; "" for one that waits for nobody
    waiting_seconds: float
    holds: tuple[str, ...]  # first what others wait for
    waiters: tuple[Node, ...]

    def everyone_behind(self) -> Iterator[Node]:
        """Yield all who wait for it, directly or behind another."""
        for waiter in self.waiters:
            yield waiter
            yield from waiter.everyone_behind()

    @property
    def longest_wait(self) -> float:
        """Seconds that somebody behind it has been waiting."""
        return max((each.waiting_seconds for each in self.everyone_behind()), default=0.0)

    def lines(self, depth: int = 0) -> Iterator[str]:
        """Yield the tree as text, a session a line, those who wait indented."""
        state = self.session.state
        if self.session.transaction_seconds:
            state += f", in a transaction for {seconds(self.session.transaction_seconds)}"
        line = f"{'  ' * depth}{self.session.title}: {state}"
        if self.waits_for:
            line += f"; has waited {seconds(self.waiting_seconds)} for {self.waits_for}"
        if self.waiters and self.holds:
            line += f"; holds {', '.join(self.holds)}"
        yield line
        if self.session.query:
            yield f"{'  ' * depth}  {shortened(self.session.query)}"
        for waiter in self.waiters:
            yield from waiter.lines(depth + 1)


def blocking_trees(connection: Connection) -> list[Node]:
    """Return the sessions for which others wait in this database, and which wait for nobody.

    Those somebody waits for the longest come first.
    Of sessions that wait for each other in a circle, which the server will soon break, the one
    with the lowest number is on top. Without pg_monitor others' states and queries are not shown.
    """
    rows = connection.execute(_WAITING, []).fetchall()
    if not rows:
        return []
    waiting: dict[int, tuple[float, str]] = {row[0]: (row[1], row[2]) for row in rows}
    behind: dict[int, list[int]] = defaultdict(list)
    for pid, _, _, blockers in rows:
        # Each in a queue stands behind all before it. Who holds the lock is who matters; without
        # one, who has stood there the longest.
        tops = {each for each in blockers if each not in waiting}
        for blocker in tops or sorted(blockers, key=list(waiting).index)[:1]:
            behind[blocker].append(pid)
    pids = sorted({*waiting, *behind} - {PREPARED})
    sessions = {row[0]: Session(*row) for row in connection.execute(_SESSIONS, [pids])}
    held: dict[int, list[str]] = defaultdict(list)
    for pid, what in connection.execute(_HELD, [pids]):
        if len(held[pid]) < _MOST_HELD and what not in held[pid]:
            held[pid].append(what)
    made = _Maker(behind, waiting, sessions, held)
    if PREPARED in behind:
        sessions[PREPARED] = _prepared(connection)
    return sorted(made.trees(), key=lambda node: (-node.longest_wait, node.session.pid))


def _prepared(connection: Connection) -> Session:
    """The prepared transaction that holds what is waited for, without a name if several may."""
    rows = connection.execute(_PREPARED).fetchall()
    name, role, age = rows[0] if len(rows) == 1 else ("", "somebody", 0.0)
    return Session(PREPARED, role, name, "prepared", age, "")


def release(node: Node) -> str:
    """Return the SQL that ends the blocking, as gently as can be.

    A statement that is cancelled rolls its transaction back, and with it go its locks. Who runs
    none has to be ended, and whose number was given to another since is not hit.
    """
    session = node.session
    if session.pid == PREPARED:
        if not session.application:
            return "SELECT gid, owner, prepared FROM pg_prepared_xacts ORDER BY prepared;"
        # Whoever prepared it may end it, and a superuser.
        return as_superuser(f"ROLLBACK PREPARED {literal(session.application)};")
    target = Target(
        session.pid, session.backend_start, session.is_protected, session.transaction_start
    )
    return target.terminating if session.state.startswith("idle") else target.cancelling


def seconds(value: float) -> str:
    """Return a time as people write it."""
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.0f} h"


def shortened(query: str, most: int = 200) -> str:
    """Return a query on one line, its end cut off."""
    text = " ".join(query.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


@dataclass(frozen=True)
class _Maker:
    """Makes trees of who waits for whom."""

    behind: dict[int, list[int]]
    waiting: dict[int, tuple[float, str]]
    sessions: dict[int, Session]
    held: dict[int, list[str]]

    def trees(self) -> list[Node]:
        tops = [pid for pid in self.behind if pid not in self.waiting]
        found = [self._node(pid, ()) for pid in tops]
        seen = {node.session.pid for node in found}
        seen |= {each.session.pid for node in found for each in node.everyone_behind()}
        for pid in sorted(set(self.waiting) - seen):
            if pid not in seen and self.behind.get(pid):
                circle = self._node(pid, ())
                seen |= {pid, *(each.session.pid for each in circle.everyone_behind())}
                found.append(circle)
        return [node for node in found if node.waiters]

    def _node(self, pid: int, above: tuple[int, ...]) -> Node:
        waited, what = self.waiting.get(pid, (0.0, ""))
        session = self.sessions.get(pid, Session(pid, "?", "", "gone meanwhile", 0.0, ""))
        way = (*above, pid)
        waiters = [
            self._node(each, way)
            for each in self.behind.get(pid, [])
            if each not in way and len(way) < _DEEPEST
        ]
        return Node(
            session, _spoken(what), waited, tuple(map(_spoken, self.held[pid])), tuple(waiters)
        )


def _spoken(lock: str) -> str:
    """A mode as the documentation and LOCK TABLE have it: ACCESS EXCLUSIVE."""
    return re.sub(
        r"\b(\w+?)Lock\b",
        lambda found: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", found[1]).upper(),
        lock,
    )


# What a lock is on, for people. Relations of other databases have no name here. Who waits for
# another's transaction wants a row that it has changed; the queue's own lock tells of which table.
_ON = """CASE l.locktype
    WHEN 'relation' THEN l.mode || ' on ' || CASE WHEN l.relation IS NULL
        THEN 'a table of another database' ELSE l.title END
    WHEN 'tuple' THEN 'a row of ' || l.title
    WHEN 'transactionid' THEN coalesce((SELECT 'a row of ' || q.title
        FROM locks q WHERE q.pid = l.pid AND q.locktype = 'tuple' AND q.granted LIMIT 1),
        'the end of a transaction')
    WHEN 'virtualxid' THEN 'the end of a transaction'
    WHEN 'advisory' THEN format('the advisory lock (%%s, %%s)', l.classid, l.objid)
    ELSE l.mode || ' on ' || l.locktype END"""
# Read once: each reading of pg_locks stops the server's locking for a moment.
_LOCKS = """WITH locks AS MATERIALIZED (
    SELECT l.pid, l.locktype, l.mode, l.granted, l.classid, l.objid, l.waitstart, l.transactionid,
        c.oid AS relation, c.relkind AS kind, c.relnamespace AS schema,
        CASE WHEN c.oid IS NOT NULL THEN format('%%I.%%I', n.nspname, c.relname) END AS title
    FROM pg_locks l
    LEFT JOIN pg_class c ON c.oid = l.relation AND l.database IN (0,
        (SELECT oid FROM pg_database WHERE datname = current_database()))
    LEFT JOIN pg_namespace n ON n.oid = c.relnamespace)"""
_WAITING = f"""{_LOCKS}
    SELECT l.pid, extract(epoch FROM clock_timestamp() - coalesce(l.waitstart,
        clock_timestamp()))::float8, {_ON}, pg_blocking_pids(l.pid)
    FROM locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE NOT l.granted AND a.datname = current_database() ORDER BY l.waitstart, l.pid
"""  # noqa: S608 (constants)
_SESSIONS = f"""
    SELECT a.pid, coalesce(a.usename, 'the server')::text, coalesce(a.application_name, '')::text,
        coalesce(nullif(a.state, ''), a.backend_type),
        greatest(0, coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0))::float8,
        coalesce(a.query, ''), coalesce(a.backend_start::text, ''),
        coalesce(a.xact_start::text, ''), {IS_PROTECTED}
    FROM pg_stat_activity a WHERE a.pid = ANY(%s)
"""  # noqa: S608 (constants)
# Reading alone keeps nobody waiting but who changes the table itself, so it comes last.
_HELD = f"""{_LOCKS}
    SELECT l.pid, CASE l.locktype WHEN 'transactionid' THEN 'rows that it changed'
        ELSE {_ON} END
    FROM locks l
    WHERE l.pid = ANY(%s) AND l.granted
      AND (l.locktype IN ('relation', 'advisory') OR l.locktype = 'transactionid'
        AND EXISTS (SELECT FROM locks w WHERE NOT w.granted AND w.transactionid = l.transactionid))
      AND (l.locktype <> 'relation' OR l.kind IN ('r', 'p', 'm', 'v', 'S')
        AND l.schema <> 'pg_catalog'::regnamespace)
    ORDER BY l.pid,
        l.locktype <> 'transactionid',
        EXISTS (SELECT FROM locks w WHERE NOT w.granted AND w.relation = l.relation) DESC,
        array_position(ARRAY['AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock',
            'ShareLock', 'ShareUpdateExclusiveLock', 'RowExclusiveLock', 'RowShareLock',
            'AccessShareLock'], l.mode), l.relation
"""  # noqa: S608 (constants)
# Those that hold a lock on something that is waited for.
_PREPARED = """
    SELECT x.gid, x.owner::text,
        extract(epoch FROM clock_timestamp() - x.prepared)::float8
    FROM pg_prepared_xacts x WHERE EXISTS (
        SELECT FROM pg_locks t
        JOIN pg_locks h ON h.virtualtransaction = t.virtualtransaction AND h.pid IS NULL
        JOIN pg_locks w ON NOT w.granted AND w.locktype = h.locktype
          AND w.database IS NOT DISTINCT FROM h.database
          AND w.relation IS NOT DISTINCT FROM h.relation
          AND w.transactionid IS NOT DISTINCT FROM h.transactionid
        WHERE t.pid IS NULL AND t.locktype = 'transactionid' AND t.transactionid = x.transaction)
"""
