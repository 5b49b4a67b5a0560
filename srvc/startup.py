"""What a web process does before it serves: check everything, or say why not and end.

A wrong configuration ends the process, since it would not mend itself. A database that doesn't
answer does not: machines start in any order, so the process waits with `/readyz` at 503, and the
login is checked on the first connection instead. Nothing is served through an unchecked one.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, NoReturn

import django
from django.conf import settings
from django.core import checks
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ops.rls import audit, reset

logger = logging.getLogger(__name__)

# gunicorn tells by this status that another try is useless, and stops instead of starting the
# worker again for ever.
APP_LOAD_ERROR = 4


def prepare_web_process() -> None:
    """Load Django and check settings and database; ends the process when it may not serve."""
    django.setup()
    _refuse(checks.run_checks(include_deployment_checks=False))
    connection = connections[DEFAULT_DB_ALIAS]
    try:
        connection.ensure_connection()
    except OperationalError as error:
        logger.error(
            "The database does not answer (%s). The web process starts all the same; /readyz says "
            "503 until it does. Check the server and DATABASE_URL.",
            " ".join(str(error).split()),
        )
        connection_created.connect(_check_first_connection, dispatch_uid=_UID)
    else:
        _refuse(checks.run_checks(tags=[checks.Tags.database], databases=[DEFAULT_DB_ALIAS]))
    finally:
        # A server that forks after this must not share the connection.
        connection.close()
    _use_pool()


_UID = "srvc.startup.first_connection"


def _check_first_connection(sender: Any, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if connection.alias != DEFAULT_DB_ALIAS:
        return
    try:
        audit.require_safe_login(connection)
    except audit.RowSecurityError as error:
        connection.close()
        logger.critical("Nothing is served: %s", error)
        raise
    connection_created.disconnect(dispatch_uid=_UID)


def _use_pool() -> None:
    # Only here: commands and the worker need one connection, and no threads to look after it.
    if settings.DATABASE_POOL:
        database = settings.DATABASES[DEFAULT_DB_ALIAS]
        database["CONN_MAX_AGE"] = 0  # the pool keeps them
        database["OPTIONS"]["pool"] = {
            "min_size": 1,
            "max_size": settings.DATABASE_POOL,
            "timeout": 10,  # seconds a request waits for a connection before it fails
            "reset": reset.forget,  # done by a thread of the pool: no request waits for it
        }


def _refuse(messages: list[checks.CheckMessage]) -> None:
    errors = [each for each in messages if each.is_serious() and not each.is_silenced()]
    for each in messages:
        if each not in errors and not each.is_silenced():
            logger.warning("%s %s (%s)", each.msg, each.hint or "", each.id)
    if errors:
        _stop(errors)


def _stop(errors: list[checks.CheckMessage]) -> NoReturn:
    lines = [f"  {each.id} {each.msg} {each.hint or ''}".rstrip() for each in errors]
    print("SRVC does not start; no data was touched.", *lines, sep="\n", file=sys.stderr)
    sys.exit(APP_LOAD_ERROR)
