"""The mark by which the application's smoke test knows that it was let loose on a copy.

It opens pages as people of the database, so it may not meet the live one by mistake. Addresses
don't tell the two apart (a socket, a name and a number can be one server); a secret does, which
only the private database has, and whoever starts the test there.
"""

from __future__ import annotations

import secrets

from psycopg import sql

from ops.postgres.endpoint import Connection
from ops.restores.private import PrivateDatabase

SETTING = "srvc.smoke_mark"
VARIABLE = "SRVC_SMOKE"
_SHORTEST = 20


def mark(private: PrivateDatabase) -> dict[str, str]:
    """Mark a private database, and return the variable that the process of the test needs.

    Sessions that are open already don't see the mark, and it is a setting of the database: compare
    those before.
    """
    secret = secrets.token_hex(16)
    with private.connect() as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                sql.Identifier(private.name),
                sql.SQL(SETTING),
                sql.Literal(secret),
            )
        )
    return {VARIABLE: secret}


def is_marked(connection: Connection, secret: str) -> bool:
    """Tell whether a session is on the database that was marked with this secret."""
    row = connection.execute("SELECT current_setting(%s, true)", [SETTING]).fetchone()
    return len(secret) >= _SHORTEST and row is not None and row[0] == secret
