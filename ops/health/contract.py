"""What a check is, what it is given, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ops.errors import OpsError
from ops.models import Area, Severity

if TYPE_CHECKING:
    from ops.health.context import Context

# How often a check is run when nobody asks (`health --due`).
OFTEN = timedelta(minutes=1)
SOON = timedelta(minutes=5)  # for what lets rows be seen or changed that must not be
HOURLY = timedelta(hours=1)
DAILY = timedelta(days=1)
DOCUMENTATION = "docs/health.md"


@dataclass(frozen=True)
class Reported:
    """One thing that is wrong, as a check tells it."""

    # What it is about, by a name that stays the same from run to run ("public.jobs.jobs_fk"), and
    # holds no number that changes. Empty for the only thing a check can report.
    key: str
    severity: Severity
    title: str  # what is wrong, in a sentence, with the object's name
    detail: str = ""  # with numbers, and what it means for the data or for users
    next_step: str = ""  # a command or SQL that can be run as it is
    subject: str = ""  # the object concerned: "table public.jobs"


@dataclass(frozen=True)
class Blindness:
    """What a check could not see, and how to allow it."""

    what: str
    allow: str = ""  # a command or SQL that can be run as it is


class BlindError(OpsError):
    """A check can't see anything of what it is about."""

    def __init__(self, what: str, allow: str = "") -> None:
        super().__init__(what)
        self.blindness = Blindness(what, allow)


Look = Callable[["Context"], Iterable[Reported]]


@dataclass(frozen=True)
class Check:
    """A check: a function that looks, and what is known about it beforehand."""

    name: str  # unique over all areas: "orphans"
    area: Area
    title: str  # what it looks for: "Rows whose parent is gone"
    about: str  # why it matters, for people: the function's docstring
    look: Look
    limit: float  # seconds for each of its statements
    every: timedelta
    # It connects by itself, and runs when the server is away, too.
    connects: bool = False

    @property
    def documentation(self) -> str:
        """Where it is explained, below the top of the project."""
        return f"{DOCUMENTATION}#{self.name}"

    def __call__(self, context: Context) -> Iterable[Reported]:
        return self.look(context)


def check(
    area: Area,
    title: str,
    *,
    limit: float = 3.0,
    every: timedelta = HOURLY,
    connects: bool = False,
) -> Callable[[Look], Check]:
    """Make a check of a function that takes a Context and yields what it reports.

    `limit` is in seconds, for each statement. The function's name is the check's; its docstring
    says why it matters. One that `connects` by itself is given no transaction.
    """

    def make(look: Look) -> Check:
        about = " ".join((look.__doc__ or "").split())
        return Check(look.__name__, area, title, about, look, limit, every, connects)

    return make


def several(first: Sequence[str], most: int = 3) -> str:
    """Return the first few of many names, and how many more there are."""
    more = len(first) - most
    return ", ".join(first[:most]) + (f" and {more:,} more" if more > 0 else "")
