"""A connection forgets whom it served, before it serves somebody else.

The role and its settings end with their transaction (session.py). What a statement can leave on the
session does not: temporary tables, cursors WITH HOLD, prepared statements, LISTEN, settings without
LOCAL, advisory locks of the session. All of it is dropped between two requests or tasks.
"""

from __future__ import annotations

import logging
from typing import Any

import psycopg
from django.core.signals import request_finished
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import sql
from psycopg.pq import TransactionStatus

log = logging.getLogger(__name__)

# What DISCARD ALL does, which may not share a message with the time zone that Django set on the
# connection and would not set again. Behind a pooler RESET ALL brings back the pooler's name, not
# ours. One message, one round trip.
_RESET = """
    CLOSE ALL;
    SET SESSION AUTHORIZATION DEFAULT;
    RESET ROLE;
    RESET ALL;
    DEALLOCATE ALL;
    UNLISTEN *;
    SELECT pg_advisory_unlock_all();
    DISCARD TEMP;
    DISCARD SEQUENCES;
    SET TIME ZONE {time_zone};
    SET application_name = {name};
"""


def forget(connection: psycopg.Connection[Any]) -> None:
    """Drop what a session carries; also the `reset` of a pool. Raises psycopg.Error."""
    wrapper = connections[DEFAULT_DB_ALIAS]
    values = {
        "time_zone": wrapper.timezone_name,
        "name": wrapper.settings_dict["OPTIONS"].get("application_name", ""),
    }
    literals = {key: sql.Literal(value).as_string(connection) for key, value in values.items()}
    autocommit = connection.autocommit
    if not autocommit:
        connection.autocommit = True
    try:
        connection.execute(_RESET.format(**literals).encode())
    finally:
        if not autocommit and not connection.closed:
            connection.autocommit = False


def forget_session(sender: Any = None, **kwargs: Any) -> None:
    """Drop what this thread's session carries, or close it: after a request and after a task.

    A pool does the same when it gets a connection back.
    """
    wrapper = connections[DEFAULT_DB_ALIAS]
    connection = wrapper.connection
    if (
        connection is None
        or wrapper.in_atomic_block
        or wrapper.settings_dict["OPTIONS"].get("pool")
    ):
        return
    try:
        if connection.info.transaction_status != TransactionStatus.IDLE:
            raise psycopg.OperationalError("left within a transaction")
        forget(connection)
    except psycopg.Error as error:
        log.info("A connection is closed, as it could not be reset (%s)", type(error).__name__)
        wrapper.close()


def connect_signals() -> None:
    """Reset the session of a thread after each request and each task of the worker."""
    from django_tasks.signals import task_finished

    request_finished.connect(forget_session, dispatch_uid="ops.rls.reset")
    task_finished.connect(forget_session, dispatch_uid="ops.rls.reset")
