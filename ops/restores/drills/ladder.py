"""Climbing the ladder: one step after the other, each told apart and timed.

A step that failed ends it: what comes after would stand on nothing. One that can't be tried here
(no key, another PostgreSQL, no room) is skipped and the rest goes on as far as it can, but the
drill has not passed then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import psycopg

from ops.backups.errors import DamagedError, DisprovenError, MissingObjectError
from ops.errors import OpsError
from ops.models import BackupState, DrillVerdict
from ops.postgres.errors import one_line
from ops.progress import CancelledError, Progress
from ops.restores.errors import RefusedError, RestoreError, UnreachableError

# What the server says of the data it reads, rather than of itself.
_BAD_DATA = (psycopg.errors.DataCorrupted, psycopg.errors.IndexCorrupted)


class SkippedError(OpsError):
    """A step can't be tried here; the message says why."""


class StepState(StrEnum):
    """What became of a step."""

    HELD = "held"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNREACHED = "unreached"


@dataclass(frozen=True)
class Step:
    """One thing to try. `act` returns what was found, in a sentence, or raises."""

    name: str
    title: str
    act: Callable[[], str]
    until_usable: bool = False  # a real restore takes this time too, before anybody can go on
    judges_backup: bool = True  # what it finds is about the backup, not about the data itself
    may_lack: bool = False  # a backup counts as proven where this could not be tried


@dataclass(frozen=True)
class Outcome:
    """What a step came to."""

    step: Step
    state: StepState
    found: str
    seconds: float = 0.0
    bad: str = ""  # the state of a backup of which this is true
    is_disproven: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return what the drill's row keeps."""
        return {
            "step": self.step.name,
            "title": self.step.title,
            "state": str(self.state),
            "seconds": round(self.seconds, 3),
            "found": self.found,
        }


def climb(
    steps: Sequence[Step], progress: Progress, on_outcome: Callable[[list[Outcome]], None]
) -> list[Outcome]:
    """Try the steps in their order, telling after each what there is so far.

    Raises CancelledError, and what is no expected failure.
    """
    outcomes: list[Outcome] = []
    for step in steps:
        if any(each.state == StepState.FAILED for each in outcomes):
            outcomes.append(Outcome(step, StepState.UNREACHED, "A step before it failed."))
            continue
        progress.check()
        began = time.monotonic()
        outcome = _tried(step)
        # Whoever interrupts twice breaks a step off in the middle, which looks like a failed one.
        progress.check()
        outcomes.append(replace(outcome, seconds=time.monotonic() - began))
        on_outcome(outcomes)
    on_outcome(outcomes)
    return outcomes


def _tried(step: Step) -> Outcome:
    try:
        found = step.act()
    except CancelledError:
        raise
    except MissingObjectError as error:
        return Outcome(step, StepState.FAILED, str(error), bad=BackupState.MISSING)
    except DamagedError as error:
        disproven = isinstance(error, DisprovenError)
        bad = BackupState.FAILED if step.judges_backup else ""
        return Outcome(step, StepState.FAILED, str(error), bad=bad, is_disproven=disproven)
    except (RestoreError, UnreachableError) as error:
        refused = isinstance(error, RefusedError) and not isinstance(error, UnreachableError)
        state = StepState.SKIPPED if refused else StepState.FAILED
        return Outcome(step, state, str(error))
    except OpsError as error:
        return Outcome(step, StepState.SKIPPED, str(error))
    except _BAD_DATA as error:
        said = f"Restored, it is damaged: {one_line(error)}."
        return Outcome(step, StepState.FAILED, said, bad=BackupState.FAILED, is_disproven=True)
    except psycopg.Error as error:
        said = f"The private server failed ({one_line(error)}), which says nothing of the backup."
        return Outcome(step, StepState.SKIPPED, said)
    return Outcome(step, StepState.HELD, found)


def verdict(outcomes: Sequence[Outcome]) -> DrillVerdict:
    """Return what a ladder came to: passed only if every step was tried and held."""
    states = {each.state for each in outcomes}
    if StepState.FAILED in states:
        return DrillVerdict.FAILED
    return DrillVerdict.PASSED if states == {StepState.HELD} else DrillVerdict.INCOMPLETE


def seconds_until_usable(outcomes: Sequence[Outcome]) -> float | None:
    """Return how long a restore takes until its data can be used; None when it never could."""
    needed = [each for each in outcomes if each.step.until_usable]
    if not needed or any(each.state != StepState.HELD for each in needed):
        return None
    return round(sum(each.seconds for each in needed), 3)
