"""Background tasks in the name of whoever asked for them.

The queue is a table that no role of a request may write, so enqueueing drops to the bare login;
the worker signs in as that login too, and takes the asker's role before it does anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from django.contrib.auth import get_user_model
from django.db import DEFAULT_DB_ALIAS, connections

from ops.errors import OpsError
from ops.rls.session import Actor, acting_as, acting_as_login


def enqueue_as(user: Actor, task: Any, **arguments: Any) -> Any:
    """Queue a task that will run as this user; the worker sees it once the transaction commits.

    The task takes `user_id` besides its arguments, and hands it to `acting_as_asker`. Returns
    django_tasks' TaskResult.
    """
    with acting_as_login():
        return task.enqueue(user_id=user.pk, **arguments)


@contextmanager
def acting_as_asker(user_id: int, *, via: str) -> Iterator[Any]:
    """Run the block as the user who queued the task, in a transaction; yields the user.

    Raises OpsError when the user may not sign in any more: what they asked for dies with that.
    """
    with acting_as_login():
        user = get_user_model()._default_manager.filter(pk=user_id, is_active=True).first()
    if user is None:
        raise OpsError(f"User {user_id} may not sign in any more; the task was not run.")
    with acting_as(user, via=via):
        yield user


class SecondConnection:
    """Another connection to the same database, for what others must see before a long
    transaction ends: its progress, and whether somebody cancelled it.

    Inside `active()` it stands in for the thread's own; the two transactions know nothing of each
    other, so never touch the same row from both.
    """

    def __init__(self, using: str = DEFAULT_DB_ALIAS) -> None:
        self.using = using

    def __enter__(self) -> Self:
        self._second = connections.create_connection(self.using)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._second.close()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let every query of the block go through the second connection."""
        first = connections[self.using]
        connections[self.using] = self._second
        try:
            yield
        finally:
            connections[self.using] = first
