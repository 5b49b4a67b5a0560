"""Looking at very many things in turn: the longest unseen first, for a while; the rest next time.

What a check finds is kept in its memory until the same thing is looked at again: a finding is gone
only when somebody has looked and seen that it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import psycopg

from ops.health.context import Context
from ops.health.contract import BlindError, Reported, several
from ops.models import Severity
from ops.postgres.errors import one_line

# What did not fit the time it is given is not tried again before: it would eat everybody's time.
_AGAIN_AFTER = 86_400  # seconds
_AT_ONCE = 25
_DEEP_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Turn:
    """One of many things that a check looks at, by a statement or two of its own."""

    key: str  # a name that stays the same from run to run
    title: str  # as people write it
    look: Callable[[], Iterable[Reported]]
    allow: str = ""  # what lets the login look, should the server refuse it
    is_small: bool = True  # it may be looked at together with others
    # What an error of the server says of the thing itself; None for an error of another kind.
    refused: Callable[[psycopg.Error], Reported | None] = lambda error: None


@dataclass
class _Seen:
    """When one thing was looked at, and what was found; times in seconds since 1970, 0: never."""

    known: int
    looked: int = 0
    tried: int = 0
    too_slow: bool = False
    found: list[list[str]] = field(default_factory=list)

    def kept(self) -> list[Any]:
        """What memory keeps of it; there are thousands, and dataclasses.astuple copies deeply."""
        return [self.known, self.looked, self.tried, self.too_slow, self.found]


# Looks at several things by one statement; returns the keys of those that need a look of their own.
Together = Callable[[Sequence[str]], Iterable[str]]


def take_turns(
    context: Context,
    check: str,
    turns: Sequence[Turn],
    *,
    together: Together,
    seconds: float,
    days: int,
    noun: str,
) -> Iterator[Reported]:
    """Look at as many things as fit into `seconds`, and yield what is found of all of them.

    With `context.deep` at all of them, however long it takes. `days` is within how many each has to
    be looked at; what was not is told as blindness of the check, with the command that looks at
    everything. `noun` is what the things are called, in the plural.
    """
    now = int(context.now.timestamp())
    memory = {turn.key: _recalled(context.memory.get(turn.key), now) for turn in turns}
    everything = f"manage.py health --check {check} --deep"
    ends = time.monotonic() + seconds
    if context.deep:
        context.limit(_DEEP_SECONDS)
    for some in _in_order(context, turns, memory, now):
        if not context.deep and time.monotonic() >= ends:
            break
        suspects = _suspects(context, some, together)
        for turn in some:
            if turn.key in suspects:
                _look(context, turn, memory[turn.key], now)
            else:
                memory[turn.key] = _Seen(memory[turn.key].known, looked=now, tried=now)
    context.memory.clear()
    context.memory.update((key, seen.kept()) for key, seen in memory.items())
    _tell_unseen(context, turns, memory, now - days * 86_400, noun, everything)
    for turn in turns:
        for key, severity, *rest in memory[turn.key].found:
            yield Reported(key, Severity(severity), *rest)


def _in_order(
    context: Context, turns: Sequence[Turn], memory: dict[str, _Seen], now: int
) -> Iterator[list[Turn]]:
    """The longest unseen first; small ones some at a time, each of the others alone."""
    small: list[Turn] = []
    for turn in sorted(turns, key=lambda turn: memory[turn.key].tried):
        seen = memory[turn.key]
        if seen.too_slow and not context.deep and now - seen.tried < _AGAIN_AFTER:
            continue
        if not turn.is_small or seen.too_slow:
            yield [turn]
            continue
        small.append(turn)
        if len(small) == _AT_ONCE:
            yield small
            small = []
    if small:
        yield small


def _suspects(context: Context, some: list[Turn], together: Together) -> set[str]:
    """Which of them need a look of their own: all when the server refuses any."""
    keys = {turn.key for turn in some}
    if len(some) == 1:
        return keys
    try:
        with context.attempt():
            return keys & set(together([turn.key for turn in some]))
    except psycopg.Error:
        if context.connection.broken:
            raise
        return keys


def _look(context: Context, turn: Turn, seen: _Seen, now: int) -> None:
    seen.tried = now
    try:
        with context.attempt():
            found = list(turn.look())
    except psycopg.errors.QueryCanceled:
        seen.too_slow = True
        return
    except psycopg.errors.LockNotAvailable:
        context.blind(f"{turn.title} is locked by another session, and was not waited for.")
        return
    except psycopg.errors.InsufficientPrivilege as error:
        allow = context.past_row_security or turn.allow
        context.blind(f"{turn.title} may not be read ({one_line(error)}).", allow)
        return
    except BlindError as error:
        context.blind(error.blindness.what, error.blindness.allow)
        return
    except psycopg.Error as error:
        if context.connection.broken:
            raise
        told = turn.refused(error)
        if told is None:
            context.blind(f"{turn.title} could not be looked at ({one_line(error)}).")
            return
        found = [told]
    seen.looked, seen.too_slow = now, False
    seen.found = [list(astuple(each)) for each in found]


def _tell_unseen(
    context: Context,
    turns: Sequence[Turn],
    memory: dict[str, _Seen],
    since: int,
    noun: str,
    everything: str,
) -> None:
    late, slow = [], []
    for turn in turns:
        seen = memory[turn.key]
        is_late = (seen.looked or seen.known) < since
        if seen.too_slow and (is_late or not seen.looked):
            slow.append(turn.title)
        elif is_late:
            late.append(turn.title)
    if slow:
        context.blind(
            f"{len(slow):,} of {len(turns):,} {noun} take longer than a regular run may: "
            f"{several(slow)}.",
            everything,
        )
    if late:
        context.blind(
            f"{len(late):,} of {len(turns):,} {noun} were not looked at for too long: "
            f"{several(late)}.",
            everything,
        )


def _recalled(kept: Any, now: int) -> _Seen:
    # Whatever an older version kept in another form is looked at anew.
    if isinstance(kept, list) and len(kept) == len(_Seen.__dataclass_fields__):
        return _Seen(*kept)
    return _Seen(known=now)
