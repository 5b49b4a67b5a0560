"""The owner's alias of Django reaches PostgreSQL itself, or nothing (ops/postgres/pooler.py).

Its sessions have the settings that all of ours have (ops/postgres/session_settings.py).
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ops.postgres import pooler
from ops.postgres.endpoint import Endpoint
from ops.postgres.session_settings import make_our_settings
from ops.rls.router import OWNER_ALIAS


def refuse_pooler(sender: Any, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Close a new connection of the owner's that leads to a pooler. Raises PoolerError."""
    if connection.alias != OWNER_ALIAS or connection.connection is None:
        return
    endpoint = Endpoint.of(OWNER_ALIAS)
    try:
        pooler.require_direct(connection.connection, endpoint.user, endpoint.place)
        make_our_settings(connection.connection)
    except BaseException:
        connection.close()
        raise


def connect_signals() -> None:
    """Look at each connection of the owner's before anything uses it."""
    connection_created.connect(refuse_pooler, dispatch_uid="ops.rls.direct")
