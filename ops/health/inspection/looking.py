"""A look by hand: the owner's login, read-only, each statement within its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.utils import timezone

from ops.health.context import Context
from ops.health.contract import BlindError
from ops.health.errors import HealthError
from ops.health.steps import granting, in_a_sentence
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import one_line
from ops.runs import OWNER


@contextmanager
def looking(limit: float = 10.0) -> Iterator[Context]:
    """Yield a context in a transaction that only reads; `limit` is in seconds a statement.

    Raises ServerError when the server can't be reached, and HealthError when it does not answer in
    time, keeps something locked, or does not let the login look.
    """
    context = Context(Endpoint.of(OWNER), timezone.now())
    try:
        with context.asking(limit, {}):
            yield context
    except BlindError as error:
        raise HealthError(said(error)) from None
    except psycopg.errors.QueryCanceled:
        raise HealthError(
            f"The server did not answer within {limit:g} s and was asked to stop. Nothing was "
            "changed. See what keeps it busy: manage.py inspect --report blocking"
        ) from None
    except psycopg.errors.LockNotAvailable:
        raise HealthError(
            "Another session holds a lock that even reading has to wait for. Nothing was changed. "
            "See who: manage.py inspect --report locks"
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise HealthError(
            f"The login {context.endpoint.user} may not look at it ({one_line(error)}). Nothing "
            f"was changed. {in_a_sentence(granting(context.endpoint.user, 'pg_monitor'))}"
        ) from None
    finally:
        context.close()


def said(error: BlindError) -> str:
    """Return what can't be seen and, where it is known, what allows it."""
    blindness = error.blindness
    return f"{blindness.what} {in_a_sentence(blindness.allow)}".strip()
