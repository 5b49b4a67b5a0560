"""Who the database takes us for: one `set_config` per transaction, undone with it.

The login `srvc_app` has no right on a business table. Work happens inside one of these contexts;
outside, PostgreSQL answers "permission denied". Nothing outlives the transaction, so a
transaction-pooling PgBouncer in between is safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from ops.postgres.roles import ADMIN, MEMBER, PUBLIC

_SETTINGS = ("role", "app.account_id", "app.user_id", "app.via")


class Actor(Protocol):
    """What row security needs to know about a user; `crm.User` is one."""

    pk: Any

    @property
    def row_security_account_id(self) -> int | None:
        """The account whose rows the user may see; None for none."""

    @property
    def is_platform_administrator(self) -> bool:
        """True for whoever may see every account."""


def _apply(using: str, values: tuple[str, ...]) -> None:
    calls = ", ".join(f"set_config('{name}', %s, true)" for name in _SETTINGS)
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {calls}", values)


def _read(using: str) -> tuple[str, ...]:
    calls = ", ".join(f"coalesce(current_setting('{name}', true), '')" for name in _SETTINGS)
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {calls}")
        row: tuple[str, ...] = cursor.fetchone()
    return (row[0] or "none", *row[1:])


@contextmanager
def _acting(using: str, *values: str) -> Iterator[None]:
    nested = connections[using].in_atomic_block
    with transaction.atomic(using=using):
        before = _read(using) if nested else None
        _apply(using, values)
        yield
        # After an exception the rollback to the savepoint has put the settings back already.
        if before is not None:
            _apply(using, before)


def identity(user: Actor | None) -> tuple[str, str, str]:
    """Role, account id and user id under which a user's statements run."""
    if user is None or user.pk is None:
        return PUBLIC, "", ""
    if user.is_platform_administrator:
        return ADMIN, "", str(user.pk)
    account = user.row_security_account_id
    # A member without an account matches no row: the policies compare with NULL.
    return MEMBER, "" if account is None else str(account), str(user.pk)


@contextmanager
def acting_as(
    user: Actor | None, *, via: str = "", using: str = DEFAULT_DB_ALIAS
) -> Iterator[None]:
    """Run the block as this user, in a transaction; None is an anonymous visitor.

    `via` says what caused the change (a path, a command) and lands in the history rows.
    """
    role, account, user_id = identity(user)
    with _acting(using, role, account, user_id, via):
        yield


@contextmanager
def acting_as_admin(
    *, via: str = "", account_id: int | None = None, using: str = DEFAULT_DB_ALIAS
) -> Iterator[None]:
    """Run the block as the platform: every account's rows. For commands, tasks and tests.

    With `account_id` new rows without an account of their own belong to that account.
    """
    account = "" if account_id is None else str(account_id)
    with _acting(using, ADMIN, account, "", via):
        yield


@contextmanager
def acting_as_login(*, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Run the block as the bare login: users, sessions and second factors, no business row.

    Signing in needs rows that no role of a request may read (everybody's password hash).
    """
    with _acting(using, "none", "", "", ""):
        yield


def current_account_id(*, using: str = DEFAULT_DB_ALIAS) -> int | None:
    """The account of the running context, as the database has it; None outside of one."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT NULLIF(current_setting('app.account_id', true), '')::bigint")
        account: int | None = cursor.fetchone()[0]
    return account
