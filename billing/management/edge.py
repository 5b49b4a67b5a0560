"""Where the commands' expected errors end: one or two sentences and no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.core.management.base import CommandError
from django.db import Error

from billing.errors import BillingError
from crm.errors import CrmError


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn refusals, and a database that is away or not migrated, into CommandErrors.

    For work that is one transaction: whatever failed, nothing of it stands.
    """
    try:
        yield
    except (BillingError, CrmError) as error:
        raise CommandError(str(error)) from None
    except (Error, psycopg.Error) as error:
        sentence = _sentence(error if isinstance(error, psycopg.Error) else error.__cause__)
        if sentence is None:
            raise
        raise CommandError(sentence) from None


def _sentence(cause: BaseException | None) -> str | None:
    """What an operator can act on; None for a bug, which is worth its traceback."""
    if isinstance(cause, psycopg.errors.UndefinedTable):
        return "The database has no tables yet. Nothing was created; run `manage.py migrate` first."
    if isinstance(cause, psycopg.OperationalError):
        return (
            f"The database gave up: {' '.join(str(cause).split())}. Nothing was created; see that "
            "it runs, has room and is the one that DATABASE_URL and DATABASE_OWNER_URL name, then "
            "run this again."
        )
    return None
