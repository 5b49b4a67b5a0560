"""Asking both sides at the same time, each in a thread, so that both can be stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg

from ops.backups.pinned import pinned
from ops.backups.watch import watched
from ops.postgres.endpoint import Connection
from ops.postgres.errors import one_line
from ops.progress import Progress
from ops.restores.errors import RestoreError

_MEMORY = "64MB"  # for one step of a query, while it runs


@contextmanager
def stoppable(progress: Progress, *connections: Connection) -> Iterator[None]:
    """Let a block's queries be cancelled when `progress` says so."""
    with watched(progress.check) as watch:
        for each in connections:
            watch.stop_by(lambda each=each: each.cancel_safe(timeout=5))  # type: ignore[misc]
        yield


@contextmanager
def reading(connection: Connection) -> Iterator[None]:
    """Read under the settings that both sides share; nothing that is made within it is kept."""
    with pinned(connection):
        connection.execute("SELECT pg_catalog.set_config('work_mem', %s, true)", [_MEMORY])
        yield


@contextmanager
def told(table: str) -> Iterator[None]:
    """Tell in words why a table can't be compared."""
    try:
        yield
    except psycopg.DataError as error:
        raise RestoreError(
            f"{table} can't be compared: a value of the backup does not fit the type that its "
            f"column has today ({one_line(error)}). Nothing was changed. Restore the backup beside "
            "(`manage.py restore BACKUP --as NAME`) and look there."
        ) from error
    except psycopg.Error as error:
        raise RestoreError(
            f"{table} can't be compared: {one_line(error)}. Nothing was changed. See that the "
            "server runs and that nobody changes the table's definition, and run this again."
        ) from error


def at_once[Here, There](
    here: Callable[[], Here], there: Callable[[], There]
) -> tuple[Here, There]:
    """Do the one in a thread while the other is done; raise what either raises."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="difference") as pool:
        future = pool.submit(here)
        found = there()
        return future.result(), found
