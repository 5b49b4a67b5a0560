"""What is planted, which finding tells it, and what its next step does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Plant = str | Callable[[], object]


@dataclass(frozen=True)
class Looks:
    """The next step only shows what is wrong: it ends well, changes nothing, and the fault stays,
    for a person has to decide."""


@dataclass(frozen=True)
class Mends:
    """The next step takes the fault away, and changes nothing but these objects.

    Keys of the fingerprint (ops.backups.fingerprint), as "table public.jobs", compared with the
    database as it was planted.
    """

    changes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ByAPerson:
    """The next step is not taken here, for a reason."""

    why: str


def mends(*changes: str) -> Mends:
    """Return that the step mends it and changes these objects."""
    return Mends(frozenset(changes))


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    name: str  # a sentence
    check: str  # the name of the check that tells it
    key: str  # the finding's; {database} is the database's name
    plant: tuple[Plant, ...]  # SQL, as the owner's login until RESET ROLE; or functions
    step: Looks | Mends | ByAPerson
    undo: tuple[str, ...] = ()  # of what is planted outside of the database
    limits: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    deep: bool = False
    # Why a login of fewer rights neither tells it nor that it can't see it; "": it has to.
    hidden: str = ""

    @property
    def leaves_rows(self) -> bool:
        """Whether rows of ours may be left when the fault is mended."""
        return any(
            not isinstance(each, str) or each.split()[0] in {"INSERT", "UPDATE", "DELETE"}
            for each in self.plant
        )


FLUSH = "SELECT pg_stat_force_next_flush()"
