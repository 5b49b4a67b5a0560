"""What a dump does not carry: the owner, grants, limit and settings of the live database."""

from __future__ import annotations

from contextlib import closing

import psycopg
from psycopg import sql

from ops.postgres import server
from ops.postgres.endpoint import Connection
from ops.postgres.errors import ServerError, one_line
from ops.postgres.roles import MAINTENANCE_DATABASE
from ops.restores.complete.administrator import administrator

_REFUSED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject)


def adopt_properties(connection: Connection, live: str, beside: str, *, known_as: str) -> list[str]:
    """Give a database beside what the live one has today; return what could not be taken over.

    By the session's login; what a superuser set, by the administrator's where one was given. What
    is left is told in sentences, with the SQL for `known_as`, the name that `beside` will have.
    """
    left = []
    for statement in server.property_statements(connection, live, beside):
        try:
            connection.execute(statement)
        except _REFUSED as error:
            if not _done_by_administrator(statement):
                left.append(_sentence(statement, one_line(error), connection, beside, known_as))
    return left


def _done_by_administrator(statement: sql.Composed) -> bool:
    try:
        place = administrator()
        if place is None:
            return False
        with closing(place.at(MAINTENANCE_DATABASE).connect()) as session:
            session.execute(statement)
    except (psycopg.Error, ServerError):
        return False
    return True


def _sentence(
    statement: sql.Composed, reason: str, connection: Connection, beside: str, known_as: str
) -> str:
    here, there = (sql.Identifier(name).as_string(connection) for name in (beside, known_as))
    wanted = statement.as_string(connection).replace(here, there)
    return (
        f"The server did not let the owner's login take this over ({reason}); as a superuser run: "
        f"{wanted};"
    )
