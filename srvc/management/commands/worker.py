"""`manage.py worker`: carries out what pages queued, and stays when the database is away a moment.

django_tasks' own worker ends with the first lost connection, and the task that it had would say for
ever that it is running. A restore's swap disconnects everybody, so this one connects again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django_tasks_db.management.commands import db_worker
from django_tasks_db.models import DBTaskResult

from ops.background import QUEUE
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import PoolerError, ServerError
from ops.rls.router import OWNER_ALIAS
from srvc.maintenance import AWAY, why_unavailable

log = logging.getLogger(__name__)
PATIENCE = 60.0  # seconds; then it ends, and whoever started it starts it again
_PAUSE = 0.2


class Worker(db_worker.Worker):
    """Waits for a database that is away."""

    def run(self) -> None:
        """Work until asked to stop. Raises django.db.Error when the database does not come back."""
        while self.running:
            try:
                super().run()
            except Error as error:
                if why_unavailable(error) != AWAY:
                    raise
                wait_for_database()
            else:
                return

    def run_task(self, db_task_result: DBTaskResult[..., Any]) -> None:
        """Carry out a task; how it ended is written as soon as the database is back."""
        # Its connection may be gone when the task ends, and the former one is all that it knows.
        db_task_result.save = _saving(db_task_result.save)  # type: ignore[method-assign]
        super().run_task(db_task_result)


class Command(db_worker.Command):
    """The options of django_tasks' `db_worker`; it is never reloaded."""

    help = "Carry out what pages queued (backups, restores, imports)"

    def handle(self, **options: Any) -> None:
        """Work until asked to stop."""
        self.configure_logging(options["verbosity"])
        excluded = options["exclude_queues"]
        worker = Worker(
            queue_names=options["queue_name"].split(","),
            interval=options["interval"],
            batch=options["batch"],
            backend_name=options["backend_name"],
            startup_delay=options["startup_delay"],
            max_tasks=options["max_tasks"],
            worker_id=options["worker_id"],
            excluded_queue_names=excluded.split(",") if excluded else [],
        )
        if worker.process_all_queues or QUEUE in worker.queue_names:
            _require_direct_owner()
        worker.configure_signals()
        worker.run()


def _require_direct_owner() -> None:
    """Refuse to begin where the owner's work could not be done: what is queued stays queued.

    Raises CommandError. A server that is away is waited for.
    """
    try:
        Endpoint.of(OWNER_ALIAS).connect(application_name="srvc worker").close()
    except PoolerError as error:
        raise CommandError(str(error)) from None
    except ServerError:
        log.debug("the owner's login can't sign in yet", exc_info=True)


def wait_for_database() -> None:
    """Return when the database lets us in. Raises django.db.Error when it does not in time."""
    deadline = time.monotonic() + PATIENCE
    log.warning("The database is away; the worker waits for it.")
    while True:
        connections.close_all()
        try:
            connections[DEFAULT_DB_ALIAS].ensure_connection()
        except Error:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return


def _saving(save: Callable[..., None]) -> Callable[..., None]:
    def saved(*args: Any, **kwargs: Any) -> None:
        try:
            save(*args, **kwargs)
        except Error as error:
            if why_unavailable(error) != AWAY:
                raise
            wait_for_database()
            save(*args, **kwargs)

    return saved
