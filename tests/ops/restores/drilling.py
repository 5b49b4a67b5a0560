"""What tests of drills have in common: one rehearsed, and its ladder read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ops.backups.naming import parse_name
from ops.invariants import Invariant
from ops.models import Backup, Drill, DrillVerdict
from ops.progress import Progress
from ops.restores.drills.drill import ask_for_drill, drill
from ops.restores.drills.ladder import Outcome, StepState, verdict
from ops.restores.requests import DrillRequest
from tests.ops.backups.conftest import ASKER
from tests.ops.backups.corpus import Sample

BROKEN = [Invariant("one_is_two", "One is two.", "SELECT '1 is not 2'", ())]


def rehearse(
    backup: Backup | None = None,
    progress: Progress | None = None,
    *,
    backup_named: str = "",
    **choices: Any,
) -> Drill:
    """Rehearse as the command does."""
    name = backup.name if backup else backup_named
    done = drill(ask_for_drill(DrillRequest(backup=name, **choices), by=ASKER), progress)
    return Drill.objects.get(pk=done.pk)


def states(done: Drill) -> dict[str, str]:
    """What became of each step."""
    return {each["step"]: each["state"] for each in done.steps}


def found(done: Drill, step: str) -> str:
    """What a step found."""
    return next(str(each["found"]) for each in done.steps if each["step"] == step)


def failed_step(done: Drill) -> tuple[str, str]:
    """Which step failed, and for what reason."""
    (step,) = (each for each in done.steps if each["state"] == "failed")
    return step["step"], step["found"]


def row_of(sample: Sample) -> Backup:
    """A row for a sample of the corpus, as the catalogue would have it, and not kept there."""
    parts = parse_name(sample.name)
    assert parts is not None
    return Backup(name=sample.name, kind=parts.kind, storage=str(sample.folder))


def failure(outcomes: Sequence[Outcome]) -> tuple[str, str]:
    """Which step failed and why; those before it held, and those after it were not reached."""
    (number,) = (index for index, each in enumerate(outcomes) if each.state == StepState.FAILED)
    assert {each.state for each in outcomes[:number]} <= {StepState.HELD}
    assert {each.state for each in outcomes[number + 1 :]} <= {StepState.UNREACHED}
    assert verdict(outcomes) == DrillVerdict.FAILED
    return outcomes[number].step.name, outcomes[number].found
