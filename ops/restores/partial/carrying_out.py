"""A recovery between two open sessions: worked out, shown, carried out, and recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import connections
from django.utils import timezone

from ops.backups.manifest import Manifest
from ops.models import Backup, Recovery, RecoveryState, Run
from ops.postgres.endpoint import Connection
from ops.progress import Progress
from ops.restores.errors import ConflictError
from ops.restores.partial.afterwards import (
    remember_truths,
    require_separation,
    require_truths,
    untruths,
)
from ops.restores.partial.apply import Author, apply
from ops.restores.partial.drift import renames_since
from ops.restores.partial.dropped import Recreation
from ops.restores.partial.plan import Prepared, prepare
from ops.restores.partial.preview import SAMPLES, bring_files, note_of
from ops.restores.partial.recreating import (
    Definitions,
    gone_today,
    recreated,
)
from ops.restores.partial.stage import prepare_session
from ops.restores.requests import RecoverRequest
from ops.runs import OWNER

# Shows a recovery's plan to somebody, and tells whether it is to be carried out.
Confirm = Callable[[Recovery, Progress], bool]

_LISTED = 20  # conflicts told in a sentence


@dataclass(frozen=True)
class Origin:
    """What rows are recovered from."""

    text: str
    holds: datetime | None
    definitions: Definitions  # how its tables are defined, read only when one of them is gone
    manifest: Manifest | None = None
    backup: Backup | None = None


def subject_words(request: RecoverRequest) -> str:
    """Return what is recovered, in words."""
    what = [*request.tables, *(each.split("=", 1)[0] for each in request.csv)]
    if request.subject:
        what.append(f"{request.subject} {', '.join(request.keys)}")
    words = ", ".join(what)
    return f"{words} where {request.where}" if request.where else words


def recover_between(
    run: Run,
    request: RecoverRequest,
    live: Connection,
    then: Connection,
    origin: Origin,
    progress: Progress,
    *,
    samples: int = SAMPLES,
    confirm: Confirm | None = None,
) -> Recovery:
    """Recover between two open sessions, one on either database; the run is running already."""
    recovery = Recovery.objects.create(
        run=run,
        backup=origin.backup,
        origin=origin.text[:500],
        holds=origin.holds,
        subject=subject_words(request)[:500],
    )
    for session in (live, then):
        prepare_session(session)
    work = _Work(run, recovery, request, live, then, origin, progress, samples)
    with kept(recovery):
        prepared = work.change(confirm)
    if recovery.state == RecoveryState.APPLIED:
        bring_back_files(recovery, prepared, progress)
    return recovery


@dataclass(frozen=True)
class _Work:
    run: Run
    recovery: Recovery
    request: RecoverRequest
    live: Connection
    then: Connection
    origin: Origin
    progress: Progress
    samples: int

    def change(self, confirm: Confirm | None) -> Prepared:
        """Prepare, ask, and change the rows; what is not done says so in the recovery's note."""
        shown = None
        if self.request.dry_run:
            confirm = None
        if confirm is not None and gone_today(self.request, self.live, self.then):
            # Made anew, tables are locked until the end: they are shown before, and unmade again.
            preview = replace(self.request, dry_run=True)
            with self._recreated(preview) as anew:
                prepared = self._prepared(anew)
            if not self._confirmed(prepared, confirm):
                return prepared
            self.then.execute("DISCARD TEMPORARY")
            confirm, shown = None, self.recovery.plan
        with self._recreated(self.request) as anew:
            prepared = self._prepared(anew)
            if shown is not None and self.recovery.plan != shown:
                raise ConflictError(
                    "Others changed these rows while the difference was being looked at. Nothing "
                    "was changed. Run this again."
                )
            if self.request.dry_run:
                self.recovery.note = "Previewed; nothing was changed."
            elif self._confirmed(prepared, confirm):
                exact, finish = self.request.exact, anew.finish if anew else None
                change_rows(
                    self.run, self.recovery, prepared, self.live, self.progress,
                    exact=exact, finish=finish,
                )  # fmt: skip
        return prepared

    def _recreated(self, request: RecoverRequest) -> AbstractContextManager[Recreation | None]:
        applied, definitions = self._applied, self.origin.definitions
        return recreated(self.live, self.then, request, applied, definitions)

    def _prepared(self, anew: Recreation | None) -> Prepared:
        renames, more = renames_since(self._applied), anew.references() if anew else ()
        prepared = prepare(self.request, self.live, self.then, renames, self.progress, more)
        prepared.notes += anew.notes() if anew else []
        self.recovery.plan = prepared.as_json(self.samples)
        self.recovery.save(update_fields=["plan"])
        return prepared

    def _confirmed(self, prepared: Prepared, confirm: Confirm | None) -> bool:
        require_no_conflict(prepared)
        if confirm is None or not prepared.rows or confirm(self.recovery, self.progress):
            return True
        self.recovery.note = "Shown and not confirmed; nothing was changed."
        return False

    @property
    def _applied(self) -> Sequence[str]:
        return self.origin.manifest.migrations if self.origin.manifest else []


def bring_back_files(recovery: Recovery, prepared: Prepared, progress: Progress) -> None:
    recovery.note += bring_files(prepared.stage, progress)
    connections[OWNER].close_if_unusable_or_obsolete()
    recovery.save(update_fields=["note"])


@contextmanager
def kept(recovery: Recovery) -> Iterator[None]:
    """Keep what became of a recovery, however it ends."""
    try:
        yield
    except BaseException as error:
        connections[OWNER].close_if_unusable_or_obsolete()
        # Interrupted after the rows were committed, it is applied all the same.
        Recovery.objects.filter(pk=recovery.pk, state=RecoveryState.PREVIEWED).update(
            state=RecoveryState.FAILED,
            note=str(error) or "It was interrupted. Nothing was changed.",
        )
        raise
    else:
        connections[OWNER].close_if_unusable_or_obsolete()
        recovery.save(update_fields=["state", "note", "applied_at"])


def require_no_conflict(prepared: Prepared) -> None:
    """Raise ConflictError, which lists what stands in the way."""
    found = prepared.conflicts
    if found:
        more = f" And {len(found) - _LISTED:,} more." if len(found) > _LISTED else ""
        raise ConflictError(
            f"{' '.join(found[:_LISTED])}{more} Nothing was changed. Move what stands in the way, "
            "or recover other rows."
        )


def change_rows(
    run: Run,
    recovery: Recovery,
    prepared: Prepared,
    live: Connection,
    progress: Progress,
    *,
    exact: bool,
    finish: Callable[[Connection], None] | None = None,
    undone: Recovery | None = None,
) -> None:
    staged = prepared.stage.tables
    titles = [each.table.title for each in staged if each.planned]
    progress.phase("asking what is true of today's data")
    remember_truths(live, titles)
    broken: list[str] = []

    def afterwards() -> None:
        if finish is not None:
            finish(live)
        progress.phase("asking what is true of the recovered data")
        require_separation(live, staged)
        if undone is None:
            require_truths(live, titles)
        else:  # it was so before the recovery: an undo tells, and keeps nobody from going back
            broken.extend(untruths(live, titles))
        _mark_applied(live, recovery)
        if undone is not None:
            _mark_undone(live, undone, by=run.asked_by)

    author = Author(recovery.pk, f"{run.kind} run {run.pk}", run.asked_by_user_id)
    applied = apply(
        live, staged, prepared.references, author, progress, exact=exact, afterwards=afterwards
    )
    recovery.state, recovery.applied_at = RecoveryState.APPLIED, timezone.now()
    recovery.note = note_of(prepared.stage, applied)
    if broken:
        recovery.note += f" As before the recovery, it is not true now: {' '.join(broken)}"


def _mark_applied(live: Connection, recovery: Recovery) -> None:
    """Say so in the same transaction: a recovery killed after it was committed is known as one."""
    live.execute(
        "UPDATE public.ops_recovery SET state = %s, applied_at = now() WHERE id = %s",
        [RecoveryState.APPLIED, recovery.pk],
    )


def _mark_undone(live: Connection, recovery: Recovery, *, by: str) -> None:
    live.execute(
        "UPDATE public.ops_recovery SET state = %s, undone_at = now(), undone_by = %s"
        " WHERE id = %s AND state = %s",
        [RecoveryState.UNDONE, by, recovery.pk, RecoveryState.APPLIED],
    )
