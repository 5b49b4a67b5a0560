"""Reading the WAL archive again: each stored segment to its last byte, held against its name.

Since the last time alone, or all of it. How far a check came is kept in its run, so one that was
stopped goes on where it was; what it found damaged is looked at again each time, and told for as
long as it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ops.backups.errors import DamagedError, KeyMissingError, MissingObjectError
from ops.backups.vault import Vault
from ops.backups.wal.shipping import verify_segment
from ops.models import Run, RunKind, RunStatus, WalSegment
from ops.progress import Counter, Progress, Several
from ops.runs import Asker, ask, running

WAL = "wal"  # what the run of such a check is of
_KEPT_EVERY = 50  # segments, after which it is noted how far the check came


@dataclass(frozen=True)
class BadSegment:
    """A segment that nothing can be replayed from."""

    row: int
    segment: str
    storage: str
    why: str


@dataclass
class WalChecked:
    """What a check of the WAL archive came to."""

    whole: int = 0  # read to their last byte
    sealed: int = 0  # as they were stored, and nothing here opens them
    bad: list[BadSegment] = field(default_factory=list)
    through: int = 0  # the last row that was looked at

    def __str__(self) -> str:
        said = f"{self.whole:,} segments of WAL are whole"
        if self.sealed:
            said += f", {self.sealed:,} more are as they were stored (no identity here opens them)"
        if self.bad:
            said += f", {len(self.bad):,} are damaged or missing"
        return f"{said}."


def ask_for_wal_check(*, by: Asker, everything: bool = False) -> Run:
    """Record that the WAL archive is to be read: what is new since the last time, or all of it."""
    return ask(RunKind.VERIFY, "the WAL archive", by=by, arguments={"kind": WAL, "all": everything})


def check_wal(run: Run, progress: Progress | None = None) -> WalChecked:
    """Read the segments a run is of. Damage is an outcome, not an error.

    Raises OpsError where a storage is out of reach: then nothing new is known of the rest.
    """
    with running(run) as own:
        told = Several(own, progress or Counter())
        before = _last_check(run)
        done = WalChecked(through=_start(run, before))
        found = list(_known_bad(before))
        known = {row.pk for row in found}
        found += WalSegment.objects.filter(pk__gt=done.through).exclude(pk__in=known).order_by("pk")
        for label in {row.storage for row in found}:
            Vault.of(label).require_there()
        told.phase("reading WAL", len(found), "segments")
        try:
            for number, row in enumerate(found, start=1):
                told.check()
                _check(row, done)
                done.through = max(done.through, row.pk) if row.pk not in known else done.through
                told.advance(1)
                if number % _KEPT_EVERY == 0:
                    _keep(run, done, found[number:], known, before)
        finally:
            _keep(run, done, found[done.whole + done.sealed + len(done.bad) :], known, before)
        own.say(str(done))
    return done


def _check(row: WalSegment, done: WalChecked) -> None:
    try:
        verify_segment(row)
    except KeyMissingError:
        done.sealed += 1
    except (DamagedError, MissingObjectError) as error:
        done.bad.append(BadSegment(row.pk, row.segment, row.storage, str(error)))
    else:
        done.whole += 1


def _keep(
    run: Run, done: WalChecked, unseen: list[WalSegment], known: set[int], before: Run | None
) -> None:
    """Note how far it came, and what is bad; what was bad before and is not looked at yet, too."""
    left = {row.pk for row in unseen} & known
    bad = [asdict(each) for each in done.bad]
    bad += [each for each in _bad_of(before) if each["row"] in left]
    run.arguments = {**run.arguments, "through": done.through, "bad": bad}
    Run.objects.filter(pk=run.pk).update(arguments=run.arguments)


def _last_check(run: Run) -> Run | None:
    checks = Run.objects.filter(kind=RunKind.VERIFY, arguments__kind=WAL, pk__lt=run.pk)
    return checks.filter(arguments__has_key="through").order_by("-pk").first()


def _start(run: Run, before: Run | None) -> int:
    """Return the row behind which it begins: where the last one ended, for all at the front."""
    if before is None:
        return 0
    unfinished = before.arguments.get("all") and before.status != RunStatus.DONE
    if run.arguments.get("all") and not unfinished:
        return 0
    return int(before.arguments["through"])


def _known_bad(before: Run | None) -> list[WalSegment]:
    rows = [each["row"] for each in _bad_of(before)]
    return list(WalSegment.objects.filter(pk__in=rows).order_by("pk"))


def _bad_of(before: Run | None) -> list[dict[str, Any]]:
    return [] if before is None else list(before.arguments.get("bad", []))
