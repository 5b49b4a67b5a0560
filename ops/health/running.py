"""Running checks, in one row or in two: read-only, each within its time; none stops the rest."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import psycopg
from django.db import Error as DatabaseError
from django.db import connections

from ops.errors import OpsError
from ops.health.context import Context
from ops.health.contract import BlindError, Blindness, Check, Reported
from ops.health.steps import together
from ops.models import CheckState, Severity
from ops.postgres.errors import ServerError, one_line
from ops.progress import CancelledError, Progress

log = logging.getLogger(__name__)
# More than so many of one check are told as one: nobody reads the rest, and the table stays small.
MOST = 100
# What a check reports about itself goes by this; no object's name begins so.
SELF = "!"
# From so many checks on, a second connection and a thread pay.
WORTH_TWO = 20
_TICK = 0.2  # seconds between two looks at whether somebody cancelled


@dataclass(frozen=True)
class Outcome:
    """What running one check came to."""

    check: Check
    state: CheckState
    reported: tuple[Reported, ...]
    seconds: float
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether it saw everything: only then is what it does not report gone."""
        return self.state in {CheckState.WELL, CheckState.FOUND}


def run_checks(
    checks: Sequence[Check],
    context: Context,
    memories: dict[str, dict[str, Any]],
    progress: Progress,
) -> Iterator[Outcome]:
    """Yield what each check came to, as they end; `memories` is what each kept, by its name.

    A check that fails, sees nothing or takes too long yields a finding that says so, and the next
    one runs. Raises CancelledError between two checks.
    """
    progress.phase("checking", len(checks), "checks")
    waiting = deque(checks)
    with ExitStack() as stack:
        others: Iterator[Outcome | None] = iter(())
        # What reads everything, however long it takes, is to be one session's work and no more.
        if len(checks) >= WORTH_TWO and not context.deep:
            others = stack.enter_context(_beside(waiting, context.twin(), memories))
        for outcome in _lane(waiting.popleft, context, memories, progress.check):
            yield outcome
            progress.advance(1)
        for other in others:
            progress.check()
            if other is not None:
                yield other
                progress.advance(1)


def _lane(
    take: Callable[[], Check],
    context: Context,
    memories: dict[str, dict[str, Any]],
    before_each: Callable[[], None] = lambda: None,
) -> Iterator[Outcome]:
    """Run checks by one connection until there is none left to take."""
    unreachable = ""
    while True:
        before_each()
        try:
            check = take()
        except IndexError:
            return
        if unreachable and not check.connects:
            yield _blind(check, [Blindness(unreachable)], 0.0)
        else:
            outcome = _run(check, context, dict(memories.get(check.name, {})))
            unreachable = _unreachable(context)
            yield outcome


@contextmanager
def _beside(
    waiting: deque[Check], context: Context, memories: dict[str, dict[str, Any]]
) -> Iterator[Iterator[Outcome | None]]:
    """Run checks from the other end of the row in a thread with its own connection.

    While the server answers one, this process works on the other. Gives what they came to; None
    whenever there was nothing new for a moment.
    """
    ended: SimpleQueue[Outcome | BaseException | None] = SimpleQueue()

    def work() -> None:
        try:
            for outcome in _lane(waiting.pop, context, memories):
                ended.put(outcome)
            ended.put(None)
        except BaseException as error:  # noqa: BLE001 (raised where the outcomes are asked for)
            ended.put(error)
        finally:
            context.close()
            connections.close_all()  # this thread's; a check may have asked Django's

    def outcomes() -> Iterator[Outcome | None]:
        while True:
            try:
                found = ended.get(timeout=_TICK)
            except Empty:
                yield None
                continue
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            yield found

    thread = threading.Thread(target=work, name="health: the second lane", daemon=True)
    thread.start()
    try:
        yield outcomes()
    finally:
        waiting.clear()
        while thread.is_alive():  # cancelled, or broken off by an error
            context.interrupt()
            thread.join(_TICK)


def _run(check: Check, context: Context, memory: dict[str, Any]) -> Outcome:
    began = time.monotonic()
    try:
        asking = context.alone(memory) if check.connects else context.asking(check.limit, memory)
        with asking:
            reported = _few(check, check(context))
    except BlindError as error:
        return _blind(check, [error.blindness], time.monotonic() - began)
    except CancelledError:
        raise
    except (psycopg.Error, DatabaseError, ServerError) as error:
        why = Blindness(_why(check, error), _allowing(context, error))
        return _blind(check, [why], time.monotonic() - began)
    except OpsError as error:
        return _blind(check, [Blindness(str(error))], time.monotonic() - began)
    except Exception:
        log.exception("the check %s crashed", check.name)
        crashed = Blindness("The check itself crashed; the log says where.")
        return _blind(check, [crashed], time.monotonic() - began, state=CheckState.FAILED)
    seconds = time.monotonic() - began
    if context.blindnesses:
        told = _blind(check, context.blindnesses, seconds)
        return Outcome(check, told.state, (*reported, *told.reported), seconds, context.memory)
    state = CheckState.FOUND if reported else CheckState.WELL
    return Outcome(check, state, tuple(reported), seconds, context.memory)


def _few(check: Check, reported: Iterable[Reported]) -> list[Reported]:
    """The worst first, each key once; the rest of very many as one."""
    found: dict[str, Reported] = {}
    for each in reported:
        found.setdefault(each.key[:250], each)
    ordered = sorted(found.items(), key=lambda pair: (-Severity(pair[1].severity).rank, pair[0]))
    rows = [each for _, each in ordered]
    if len(rows) <= MOST:
        return rows
    rest = rows[MOST - 1 :]
    more = Reported(
        f"{SELF}more",
        rest[0].severity,
        f"{check.title}: {len(rest):,} more",
        f"Only the first {MOST - 1} are told one by one. The next of the others: {rest[0].title}",
        f"manage.py health --check {check.name} --json",
    )
    return [*rows[: MOST - 1], more]


def _blind(
    check: Check,
    blindnesses: Sequence[Blindness],
    seconds: float,
    *,
    state: CheckState = CheckState.BLIND,
) -> Outcome:
    whats = list(dict.fromkeys(each.what for each in blindnesses))
    allows = list(dict.fromkeys(each.allow for each in blindnesses if each.allow))
    reported = Reported(
        f"{SELF}blind",
        Severity.WARNING,
        f"Not everything could be checked: {_uncapitalized(check.title)}",
        f"{' '.join(whats)} What this check reported before stays as it was.",
        together(allows),
    )
    return Outcome(check, state, (reported,), seconds)


def _why(check: Check, error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, DatabaseError) and error.__cause__ else error
    if isinstance(cause, psycopg.errors.QueryCanceled):
        return f"A statement took longer than the {check.limit:g} s it is given."
    if isinstance(cause, psycopg.errors.LockNotAvailable):
        return "A table it reads is locked by another session, and was not waited for."
    if isinstance(cause, psycopg.errors.InsufficientPrivilege):
        return f"The login may not look at it ({one_line(cause)})."
    if isinstance(cause, ServerError):
        return str(cause)
    return f"The server did not answer it ({one_line(cause)})."


def _allowing(context: Context, error: Exception) -> str:
    """What lets the login see rows that row security keeps from it; "" for another reason."""
    cause = error.__cause__ if isinstance(error, DatabaseError) and error.__cause__ else error
    if not isinstance(cause, psycopg.errors.InsufficientPrivilege):
        return ""
    try:
        return context.past_row_security
    except (psycopg.Error, ServerError):
        return ""


def _unreachable(context: Context) -> str:
    """Why nothing more can be asked, when the server is gone; "" when it answers."""
    try:
        connection = context.connection
        if not connection.broken:
            return ""
        context.close()
        context.connection.execute("SELECT")
    except ServerError as error:
        return str(error)
    except psycopg.Error as error:
        return f"The server did not answer ({one_line(error)})."
    return ""


def _uncapitalized(text: str) -> str:
    # "RLS …" and "PUBLIC …" stay as they are.
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
