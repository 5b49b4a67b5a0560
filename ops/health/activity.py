"""Sessions as they are now: what each does, who blocks whom; and ending one.

Asked by the web process through two functions of the owner (ops/migrations/0004_sessions.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection

from ops.health.errors import HealthError
from ops.models import Run, RunKind
from ops.postgres.roles import OWNER
from ops.runs import Asker, record

_SHORT = 200
# Strings, also quoted by dollars and with escapes, and numbers that stand alone.
_CONSTANTS = re.compile(
    r"""
    \bE'(?:[^'\\]|''|\\.)*(?:'|$)
    | '(?:[^']|'')*(?:'|$)
    | (\$[A-Za-z_]*\$).*?(?:\1|$)
    | (?<![\w.$"])\d+(?:\.\d+)?\b
    """,
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)

# What a mapper writes between SELECT and FROM says less than what comes after.
_COLUMNS = re.compile(r"\b(SELECT(?: DISTINCT)?) (?:(?! FROM ).){60,}? (FROM) ", re.IGNORECASE)


@dataclass(frozen=True)
class Session:
    """One session of this database."""

    pid: int
    backend_start: datetime
    role: str
    application: str
    client: str
    state: str
    transaction_start: datetime | None
    query_start: datetime | None
    state_change: datetime | None
    wait_type: str
    wait: str
    query: str
    blocked_by: tuple[int, ...]
    waits_for: str
    is_superuser: bool

    @property
    def title(self) -> str:
        """As people write it."""
        by = f", {self.application}" if self.application else ""
        return f"Session {self.pid} ({self.role or 'unknown'}{by})"

    @property
    def is_idle(self) -> bool:
        """Whether it does nothing and holds nothing."""
        return self.state == "idle"

    @property
    def since(self) -> datetime:
        """Since when it has been doing what it does."""
        is_active = self.state in {"active", "fastpath function call"}
        when = self.query_start if is_active else self.state_change
        return when or self.backend_start

    @property
    def is_hidden(self) -> bool:
        """Whether the server did not tell what it does: the owner may not see it."""
        return self.query == "<insufficient privilege>"

    @property
    def short_query(self) -> str:
        """Its statement on one line."""
        return shortened(self.query)

    @property
    def summary(self) -> str:
        """Its statement on one line, without what people entered."""
        return shortened(without_constants(self.query))


@dataclass(frozen=True)
class Blocker:
    """A session in the tree of who waits for whom."""

    session: Session
    depth: int
    holds_up: int  # how many wait for it, directly or not


@dataclass(frozen=True)
class Activity:
    """What goes on, and what of it could not be seen."""

    sessions: tuple[Session, ...]
    sees_all: bool  # the owner has pg_read_all_stats
    may_signal: bool  # the owner has pg_signal_backend

    @property
    def blocking(self) -> list[Blocker]:
        """Who blocks whom, first who waits for nobody."""
        return list(_tree(self.sessions))

    @property
    def missing(self) -> list[str]:
        """The statements that would show or allow more, for a superuser to run."""
        roles = [("pg_monitor", self.sees_all), ("pg_signal_backend", self.may_signal)]
        return [f"GRANT {role} TO {OWNER};" for role, has in roles if not has]

    def find(self, pid: int, backend_start: datetime) -> Session | None:
        """Return one session; None when it is over, whoever has its process id now."""
        return next(
            (
                each
                for each in self.sessions
                if each.pid == pid and each.backend_start == backend_start
            ),
            None,
        )


def activity() -> Activity:
    """Return the sessions of this database besides the one that asks, by two queries."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM public.ops_activity()")
        sessions = tuple(_session(row) for row in cursor.fetchall())
        cursor.execute(
            "SELECT pg_has_role(%(owner)s, 'pg_read_all_stats', 'USAGE'),"
            " pg_has_role(%(owner)s, 'pg_signal_backend', 'USAGE')",
            {"owner": OWNER},
        )
        sees_all, may_signal = cursor.fetchone()
    return Activity(sessions, sees_all, may_signal)


def end_session(session: Session, *, ending: bool, by: Asker, now: datetime) -> Run:
    """Cancel a session's query, or end the session when `ending`; returns the record of it.

    Raises HealthError when the session is over, or is not one that may be ended.
    """
    if session.is_superuser:
        raise HealthError(
            f"Session {session.pid} is a superuser's, and only a superuser may end it. Nothing "
            "was done."
        )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT public.ops_signal_session(%s, %s, %s)",
            [session.pid, session.backend_start, ending],
        )
        (done,) = cursor.fetchone()
    if not done:
        raise HealthError(f"Session {session.pid} is over already. Nothing was done.")
    seconds = (now - session.since).total_seconds()
    what = "The session was ended" if ending else "Its query was cancelled"
    return record(
        RunKind.SIGNAL,
        f"{session.pid} of {session.role}",
        by=by,
        message=f"{what} after {seconds:.0f} s as {session.state or 'unknown'}: "
        f"{session.summary or 'no query'}",
    )


def without_constants(query: str) -> str:
    """Return a statement without the values in it: they are people's data."""
    return _CONSTANTS.sub("…", query)


def shortened(query: str) -> str:
    """Return a statement on one line, cut where nobody reads on."""
    line = " ".join(query.split())
    return line if len(line) <= _SHORT else f"{line[: _SHORT - 1]}…"


def outlined(query: str) -> str:
    """Return a statement on one line without values and long lists of columns, for a list."""
    return shortened(_COLUMNS.sub(r"\1 … \2 ", without_constants(" ".join(query.split()))))


def _session(row: Sequence[Any]) -> Session:
    pid, backend_start, *texts = row
    (role, application, client, state, transaction, query_start, changed, wait_type, wait, query,
     blocked_by, waits_for, is_superuser) = texts  # fmt: skip
    return Session(
        pid, backend_start, role or "", application or "", client or "", state or "", transaction,
        query_start, changed, wait_type or "", wait or "", query or "", tuple(blocked_by or ()),
        waits_for or "", is_superuser,
    )  # fmt: skip


def _tree(sessions: Sequence[Session]) -> Iterator[Blocker]:
    """Those who block without waiting, and below each who waits for it; each session once.

    A deadlock's circle, until the server breaks it, begins with its first session.
    """
    known = {each.pid: each for each in sessions}
    waiting: dict[int, list[Session]] = {}
    for each in sessions:
        # In a queue each stands behind all before it; who holds the lock is who matters.
        holders = [pid for pid in each.blocked_by if pid not in known or not known[pid].blocked_by]
        for pid in holders or each.blocked_by:
            waiting.setdefault(pid, []).append(each)
    roots = [each for each in sessions if each.pid in waiting and not each.blocked_by]
    # Whoever is blocked by what is no session of this list: a prepared transaction, autovacuum.
    roots += [
        each for each in sessions if each.blocked_by and not set(each.blocked_by) & set(known)
    ]
    seen: set[int] = set()

    def below(session: Session, depth: int) -> Iterator[Blocker]:
        if session.pid in seen:
            return
        seen.add(session.pid)
        found = [each for one in waiting.get(session.pid, []) for each in below(one, depth + 1)]
        yield Blocker(session, depth, len(found))
        yield from found

    for root in roots:
        yield from below(root, 0)
    for each in sessions:
        if each.blocked_by:
            yield from below(each, 0)


def masked(session: Session) -> Session:
    """The session as somebody sees it who may not see businesses' data."""
    return replace(session, query=without_constants(session.query))
