"""What a look comes to: by area for people, an exit status for programs, a line for Nagios."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from ops.health.contract import Check, Reported
from ops.health.look import Look
from ops.health.running import SELF
from ops.models import Area, CheckState, Finding, Severity

NOT_RECORDED = "The findings could not be recorded, so nobody else sees them."
_BLIND = f"{SELF}blind"
_ORDER = {each.value: number for number, each in enumerate(Area)}


class Exit(IntEnum):
    """How `manage.py health` ends. Of Nagios, the first four."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3
    USAGE = 64  # sysexits.h EX_USAGE: what argparse uses, 2, means critical here


@dataclass(frozen=True)
class Told:
    """One thing that a check reported now, and what is known about it."""

    check: Check
    reported: Reported
    row: Finding | None  # None: nothing could be kept
    counts: bool  # neither snoozed nor accepted

    @property
    def is_blindness(self) -> bool:
        """Whether it says that something could not be seen, rather than that it is wrong."""
        return self.reported.key == _BLIND

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return Severity(self.reported.severity)


@dataclass(frozen=True)
class AreaVerdict:
    """How it is in one area, as far as it was looked at."""

    area: Area
    checks: int
    worst: Told | None  # None: nothing that counts
    loud: int
    quiet: int  # snoozed or accepted
    unseen: int  # checks that could not see everything

    @property
    def is_well(self) -> bool:
        """Whether everything was seen and nothing counts, snoozed blindness included."""
        return self.worst is None and not self.unseen


def told(look: Look) -> list[Told]:
    """Return everything reported: what counts before what does not, the worst and oldest first."""
    found = [
        Told(outcome.check, reported, row, row is None or row.is_loud(look.at))
        for outcome in look.outcomes
        for reported in outcome.reported
        for row in [look.findings.get((outcome.check.name, reported.key[:250]))]
    ]
    return sorted(found, key=lambda each: _place(each, look))


def areas(look: Look) -> list[AreaVerdict]:
    """Return how it is in each area that was looked at."""
    everything = told(look)
    found = []
    for area in Area:
        outcomes = [each for each in look.outcomes if each.check.area == area]
        if not outcomes:
            continue
        here = [each for each in everything if each.check.area == area]
        loud = [each for each in here if each.counts]
        unseen = sum(each.state in {CheckState.BLIND, CheckState.FAILED} for each in outcomes)
        found.append(
            AreaVerdict(
                area, len(outcomes), loud[0] if loud else None, len(loud),
                len(here) - len(loud), unseen,
            )
        )  # fmt: skip
    return found


def status(look: Look, fail_on: Severity = Severity.WARNING) -> Exit:
    """Return how a command that looked ends: the worst that counts, from `fail_on` upwards.

    A look that could not be recorded is never OK, whatever `fail_on` says.
    """
    worst = look.worst
    if worst is None or worst.rank < fail_on.rank:
        return Exit.WARNING if look.not_recorded else Exit.OK
    return Exit.CRITICAL if worst is Severity.CRITICAL else Exit.WARNING


def nagios(look: Look, fail_on: Severity = Severity.WARNING) -> tuple[Exit, str]:
    """Return a plugin's status and its line (Monitoring Plugins Development Guidelines).

    What could not be seen, or not be recorded, is UNKNOWN, whatever `fail_on` says, unless
    something worse was found.
    """
    loud = [each for each in told(look) if each.counts]
    wrong = [each for each in loud if not each.is_blindness]
    unseen = [each for each in loud if each.is_blindness]
    state = _state(wrong, fail_on)
    if state is Exit.OK and (unseen or look.not_recorded):
        state = Exit.UNKNOWN
    first = (unseen if state is Exit.UNKNOWN else wrong)[:1]
    said = f": {first[0].reported.title}" if first else ""
    counts = {each: sum(one.severity is each for one in wrong) for each in reversed(Severity)}
    summary = ", ".join(f"{number} {each}" for each, number in counts.items() if number)
    if unseen:
        summary = ", ".join([*([summary] if summary else []), f"{len(unseen)} not seen"])
    nothing = "nothing found, but not recorded" if look.not_recorded else "all is well"
    line = f"{summary or f'{len(look.outcomes)} checks, {nothing}'}{said}"
    if look.not_recorded:
        line = f"{line}. {NOT_RECORDED} {look.not_recorded}"
    return state, nagios_line(state, line, " ".join(_performance(look, counts, len(unseen))))


def nagios_line(state: Exit, said: str, performance: str = "") -> str:
    """Return a plugin's line; the bar is its separator, and so appears nowhere else."""
    sentence = " ".join(said.split()).replace("|", "¦")
    return f"HEALTH {state.name} - {sentence}" + (f" | {performance}" if performance else "")


def _state(wrong: list[Told], fail_on: Severity) -> Exit:
    worst = max((each.severity.rank for each in wrong), default=0)
    if worst < fail_on.rank:
        return Exit.OK
    return Exit.CRITICAL if worst == Severity.CRITICAL.rank else Exit.WARNING


def _performance(look: Look, counts: dict[Severity, int], unseen: int) -> Iterator[str]:
    yield f"critical={counts[Severity.CRITICAL]};;0;0"
    yield f"warning={counts[Severity.WARNING]};0;;0"
    yield f"info={counts[Severity.INFO]};;;0"
    yield f"unseen={unseen};;;0;{len(look.outcomes)}"
    yield f"checks={len(look.outcomes)};;;0"
    yield f"seconds={sum(each.seconds for each in look.outcomes):.3f}s;;;0"


def _place(each: Told, look: Look) -> tuple[object, ...]:
    since = each.row.opened_at if each.row else look.at
    return (
        not each.counts, -each.severity.rank, since, _ORDER[each.check.area], each.check.name,
        each.reported.key,
    )  # fmt: skip
