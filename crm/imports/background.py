"""The worker's part of an import from the admin."""

from __future__ import annotations

import logging
import time
from typing import Any

from django.utils import timezone
from django_tasks import task

from crm.errors import CrmError
from crm.imports.problems import ImportCancelledError, ImportRefusedError
from crm.imports.run import Summary, run_import
from crm.imports.uploads import may_import, options_of, sources_of, take_run_lock
from crm.models import ImportRun, ImportStatus, User
from ops.rls.session import acting_as
from ops.tasks import SecondConnection, acting_as_asker

log = logging.getLogger(__name__)
_LOOK_EVERY = 0.5


@task()
def import_uploaded(user_id: int, run_id: int) -> None:
    """Import what was uploaded, as the user who confirmed it."""
    try:
        _import(user_id, run_id)
    except ImportRefusedError as refusal:
        problems = [problem.as_dict() for problem in refusal.problems]
        _end(user_id, run_id, str(refusal), problems=problems)
    except CrmError as error:
        _end(user_id, run_id, str(error))
    except Exception:
        log.exception("import %s crashed", run_id)
        _end(user_id, run_id, "The import crashed; see the log. Nothing was imported.")
        raise


def _import(user_id: int, run_id: int) -> None:
    with (
        SecondConnection() as second,
        acting_as_asker(user_id, via=f"import {run_id}") as user,
    ):
        take_run_lock(run_id, wait=True)
        reporter = _Reporter(second, user, run_id)
        if not reporter.start():
            return
        run = ImportRun.objects.select_related("account").get(pk=run_id)
        if not may_import(user, run.kind):
            raise CrmError("You may not import these rows any more. Nothing was imported.")
        summary = run_import(
            kind=run.kind,
            sources=sources_of(run),
            account=run.account,
            by=user,
            options=options_of(run),
            progress=reporter,
        )
        # In the import's own transaction: rows and "done" become visible together.
        finished = ImportRun.objects.filter(pk=run_id, status=ImportStatus.RUNNING).update(
            status=ImportStatus.DONE,
            rows_total=summary.rows,
            rows_done=summary.rows,
            rows_created=summary.created_rows,
            rows_skipped=summary.skipped,
            message=done_message(summary),
            content=b"",
            finished_at=timezone.now(),
        )
        if not finished:
            raise ImportCancelledError


def done_message(summary: Summary) -> str:
    """What an import came to, in a sentence."""
    created = ", ".join(f"{count:,} {name}" for name, count in summary.created.items() if count)
    parts = [f"Imported {created or 'nothing new'}."]
    if summary.skipped:
        reasons = ", ".join(f"{count:,} by {name}" for name, count in summary.duplicates.items())
        parts.append(f"{summary.skipped:,} were there already ({reasons}).")
    return " ".join(parts)


class _Reporter:
    """Writes progress where the page sees it at once, and reads there whether to stop."""

    def __init__(self, second: SecondConnection, user: User, run_id: int) -> None:
        self.second, self.user, self.run_id = second, user, run_id
        self.looked = time.monotonic()
        self.lines = 0

    def _update(self, expected: str, **values: Any) -> bool:
        with self.second.active(), acting_as(self.user, via=f"import {self.run_id}"):
            runs = ImportRun.objects.filter(pk=self.run_id)
            changed = runs.filter(status=expected).update(**values)
            self.lines = self.lines or runs.values_list("rows_total", flat=True)[0]
        return bool(changed)

    def start(self) -> bool:
        """Whether the run was waiting; it is running then."""
        return self._update(
            ImportStatus.QUEUED,
            status=ImportStatus.RUNNING,
            started_at=timezone.now(),
            message="Reading",
        )

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.looked < _LOOK_EVERY:
            return
        self.looked = now
        if phase == "Reading" and total:
            # Told in bytes; the page counts rows, about one per line.
            done, total = self.lines * done // total, self.lines
        values = {"message": phase, "rows_done": done, "rows_total": total}
        if not self._update(ImportStatus.RUNNING, **values):
            raise ImportCancelledError


def _end(
    user_id: int, run_id: int, message: str, *, problems: list[dict[str, Any]] | None = None
) -> None:
    """Record why nothing was imported; a cancelled run stays cancelled."""
    with acting_as_asker(user_id, via=f"import {run_id}"):
        ImportRun.objects.filter(
            pk=run_id, status__in=(ImportStatus.QUEUED, ImportStatus.RUNNING)
        ).update(
            status=ImportStatus.REFUSED,
            message=message[:1000],
            problems=problems or [],
            content=b"",
            finished_at=timezone.now(),
        )
