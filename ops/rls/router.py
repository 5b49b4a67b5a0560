"""Which login a query without `using` takes: the owner's while migrations run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

OWNER_ALIAS = "owner"
_migrating: ContextVar[bool] = ContextVar("migrating", default=False)


@contextmanager
def as_owner_by_default() -> Iterator[None]:
    """Send queries that name no database to the owner's login.

    Some packages' data migrations forget `using=schema_editor.connection.alias`; as the web
    process's login they would wait for locks that the migration itself holds.
    """
    token = _migrating.set(True)
    try:
        yield
    finally:
        _migrating.reset(token)


class OwnerWhileMigrating:
    """Database router; see `as_owner_by_default`."""

    def db_for_read(self, model: type[Any], **hints: Any) -> str | None:
        return OWNER_ALIAS if _migrating.get() else None

    def db_for_write(self, model: type[Any], **hints: Any) -> str | None:
        return OWNER_ALIAS if _migrating.get() else None

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        # Both aliases are one database.
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == OWNER_ALIAS
