"""A check of the area connection: what a connection pooler in front of PostgreSQL does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
from django.db import DEFAULT_DB_ALIAS

from ops.health.context import Context
from ops.health.contract import HOURLY, Reported, check
from ops.models import Area, Severity
from ops.postgres import pooler
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ServerError, one_line

_PATIENCE = 5  # seconds


@check(Area.CONNECTION, "A connection pooler that mixes sessions", every=HOURLY)
def connection_pooler(context: Context) -> Iterator[Reported]:
    """Behind a pooler one session of the server serves many requests. Unless the pooler empties it
    each time, what one request's SQL leaves there reaches another account's. An owner's address
    that leads to a pooler needs no check: no health run begins there."""
    yield from _of_the_web_process(context)
    yield from _of_replication(context)


def _of_the_web_process(context: Context) -> Iterator[Reported]:
    web = Endpoint.of(DEFAULT_DB_ALIAS)
    try:
        mixed = pooler.hands_on_sessions(lambda: web.connect(connect_timeout=_PATIENCE))
    except ServerError:
        return  # told by `reachable`
    except psycopg.Error as error:
        context.blind(f"What the pooler of {web.user} does could not be tried: {one_line(error)}.")
        return
    if mixed:
        yield Reported(
            "web",
            Severity.CRITICAL,
            "The connection pooler hands on sessions as they were left",
            f"{web.user} reaches {web.place} through a pooler that gives one client what another "
            "left: temporary tables, cursors, settings. In pgbouncer.ini set "
            "server_reset_query_always = 1 and reload it; another pooler needs session mode "
            "(docs/poolers.md).",
            "manage.py check --database default",
            f"login {web.user}",
        )


def _of_replication(context: Context) -> Iterator[Reported]:
    replication = Endpoint.replication()
    if replication is None:
        return
    try:
        connection = replication.connect(connect_timeout=_PATIENCE)
    except ServerError:
        return  # told by `reachable`
    with closing(connection):
        pooled = pooler.is_pooled_replication(connection, context.connection)
    if pooled:
        yield Reported(
            "replication",
            Severity.WARNING,
            f"{replication.user} reaches the server through a connection pooler",
            "Base backups and WAL are refused until DATABASE_REPLICATION_URL has the address of "
            "PostgreSQL itself (docs/poolers.md).",
            "manage.py dbping",
            f"login {replication.user}",
        )
