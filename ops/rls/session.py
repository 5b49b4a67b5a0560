"""Who the database takes us for: one `set_config` per transaction, undone with it.

The login `srvc_app` has no right on a business table. Work happens inside one of these contexts;
outside, PostgreSQL answers "permission denied". Nothing outlives the transaction, so a
transaction-pooling PgBouncer in between is safe. The same statement asks whether writes are open
(ops/rls/closed.py); each context raises ClosedError while a restore keeps them closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from ops.postgres.roles import ADMIN, MEMBER, PUBLIC
from ops.rls.closed import LOCK_CLASS, WRITES, ClosedError

_SETTINGS = ("role", "app.account_id", "app.user_id", "app.via")
# Shared until the transaction ends: a restore that wants writes closed waits for us (closed.py).
_OPEN = f"pg_try_advisory_xact_lock_shared({LOCK_CLASS}, {WRITES})"


class Actor(Protocol):
    """What row security needs to know about a user; `crm.User` is one."""

    pk: Any

    @property
    def row_security_account_id(self) -> int | None:
        """The account whose rows the user may see; None for none."""

    @property
    def is_platform_administrator(self) -> bool:
        """True for whoever may see every account."""

    @property
    def is_auditor(self) -> bool:
        """True for whoever may look at operations and change nothing."""


def _apply(using: str, values: tuple[str, ...], *, writes: bool, auditor: bool) -> None:
    """Take an identity, and with it the right to write. Raises ClosedError when there is none.

    An auditor has none ever.
    """
    calls = ", ".join(f"set_config('{name}', %s, true)" for name in _SETTINGS)
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {calls}, {_OPEN}, current_setting('transaction_read_only')", values)
        *_, is_open, read_only = cursor.fetchone()
        # Read-only already: then the context around this one has found writes closed.
        if read_only == "on":
            return
        if not is_open:
            # Closed by a restore, or by somebody who may not: that one's session is ended.
            cursor.execute("SELECT public.ops_share_writes()")
            (is_open,) = cursor.fetchone()
        if is_open and not auditor:
            return
        if writes and not auditor:
            raise ClosedError
        cursor.execute("SET TRANSACTION READ ONLY")


def _read(using: str) -> tuple[str, ...]:
    calls = ", ".join(f"coalesce(current_setting('{name}', true), '')" for name in _SETTINGS)
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {calls}")
        row: tuple[str, ...] = cursor.fetchone()
    return (row[0] or "none", *row[1:])


def _put_back(using: str, values: tuple[str, ...]) -> None:
    calls = ", ".join(f"set_config('{name}', %s, true)" for name in _SETTINGS)
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {calls}", values)


@contextmanager
def _acting(using: str, *values: str, writes: bool = True, auditor: bool = False) -> Iterator[None]:
    nested = connections[using].in_atomic_block
    with transaction.atomic(using=using):
        before = _read(using) if nested else None
        _apply(using, values, writes=writes, auditor=auditor)
        yield
        # After an exception the rollback to the savepoint has put the settings back already, and it
        # does so where one is wanted all the same.
        if before is not None and not connections[using].needs_rollback:
            _put_back(using, before)


def identity(user: Actor | None) -> tuple[str, str, str]:
    """Role, account id and user id under which a user's statements run."""
    if user is None or user.pk is None:
        return PUBLIC, "", ""
    if user.is_platform_administrator or user.is_auditor:
        return ADMIN, "", str(user.pk)
    account = user.row_security_account_id
    # A member without an account matches no row: the policies compare with NULL.
    return MEMBER, "" if account is None else str(account), str(user.pk)


@contextmanager
def acting_as(
    user: Actor | None, *, via: str = "", using: str = DEFAULT_DB_ALIAS, writes: bool = True
) -> Iterator[None]:
    """Run the block as this user, in a transaction; None is an anonymous visitor.

    `via` says what caused the change (a path, a command) and lands in the history rows. While a
    restore keeps writes closed, a block without `writes` still reads, in a read-only transaction,
    and any other one raises ClosedError. An auditor's transaction is always read-only.
    """
    role, account, user_id = identity(user)
    auditor = user is not None and user.is_auditor
    with _acting(using, role, account, user_id, via, writes=writes, auditor=auditor):
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
