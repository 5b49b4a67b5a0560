"""Facts about a server, and its databases: make, clone, rename, drop.

Every function takes a psycopg connection in autocommit mode: PostgreSQL allows none of this inside
a transaction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from ops.postgres.errors import ServerError

OLDEST_MAJOR, NEWEST_MAJOR = 15, 18

# The catalogue keeps these as lists of names already quoted; quoting again would make one name.
_LISTS = {"search_path", "session_preload_libraries", "local_preload_libraries", "temp_tablespaces"}

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class ServerFacts:
    """What a server is."""

    version: str
    major: int
    data_checksums: bool
    in_recovery: bool
    role: str
    is_superuser: bool


def facts(connection: Connection) -> ServerFacts:
    """Return what the server on the other end is."""
    row = connection.execute(
        "SELECT current_setting('server_version'),"
        " current_setting('server_version_num')::int / 10000,"
        " current_setting('data_checksums')::bool, pg_is_in_recovery(), current_user,"
        " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
    ).fetchone()
    assert row is not None
    return ServerFacts(*row)


def require_supported(connection: Connection) -> ServerFacts:
    """Return the server's facts, or refuse one that SRVC was not made for."""
    found = facts(connection)
    if not OLDEST_MAJOR <= found.major <= NEWEST_MAJOR:
        raise ServerError(
            f"The server is PostgreSQL {found.version}; SRVC works with {OLDEST_MAJOR} to "
            f"{NEWEST_MAJOR}. Nothing was changed. Use a server of one of these versions."
        )
    if found.in_recovery:
        raise ServerError(
            "The server is a standby and cannot be written to. Nothing was changed. "
            "Use the address of its primary."
        )
    return found


def database_exists(connection: Connection, name: str) -> bool:
    """Tell whether the server has this database."""
    found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
    return found is not None


def databases(connection: Connection, prefix: str = "") -> list[str]:
    """Return the names of the server's databases that begin like this, without its templates."""
    rows = connection.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        " AND datname NOT IN ('template0', 'template1') ORDER BY datname",
        [prefix],
    ).fetchall()
    return [name for (name,) in rows]


def extensions(connection: Connection) -> set[str]:
    """Return the names of the extensions in the connection's database."""
    return {name for (name,) in connection.execute("SELECT extname FROM pg_extension")}


def create_database(connection: Connection, name: str, *, owner: str) -> None:
    """Create an empty UTF-8 database."""
    connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(
            sql.Identifier(name), sql.Identifier(owner)
        )
    )


def clone_database(connection: Connection, source: str, name: str) -> None:
    """Copy a database that nobody is connected to, with its owner, grants and settings.

    File by file: page by page through the WAL takes longer whatever its size.
    """
    connection.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
            sql.Identifier(name), sql.Identifier(source)
        )
    )
    copy_properties(connection, source, name)


def create_from_template(connection: Connection, name: str, template: str, *, owner: str) -> None:
    """Create a database with what a template has in it; nobody but the owner may enter.

    Its owner may do so, who is no superuser, as long as nobody is connected to the template.
    """
    connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(owner), sql.Identifier(template)
        )
    )
    connection.execute(
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
    )


def copy_properties(connection: Connection, source: str, target: str) -> None:
    """Give a database the owner, grants and settings of another; no copy or dump brings them."""
    for statement in property_statements(connection, source, target):
        connection.execute(statement)


def property_statements(connection: Connection, source: str, target: str) -> Iterator[sql.Composed]:
    """Yield what gives a database the owner, grants, settings and limit of another.

    Raises ServerError when there is no such database.
    """
    row = connection.execute(
        "SELECT pg_get_userbyid(datdba), datconnlimit FROM pg_database WHERE datname = %s",
        [source],
    ).fetchone()
    if row is None:
        raise ServerError(f"There is no database {source} to copy from. Nothing was changed.")
    owner, limit = row
    name = sql.Identifier(target)
    yield sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(owner))
    yield sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, sql.Literal(limit))
    yield sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name)
    for grantee, privilege, grantable in _grants(connection, source):
        yield sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
            sql.SQL(privilege),
            name,
            sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC"),
            sql.SQL(" WITH GRANT OPTION" if grantable else ""),
        )
    for role, setting, value in _settings(connection, source):
        subject = (
            sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), name)
            if role
            else sql.SQL("DATABASE {}").format(name)
        )
        yield sql.SQL("ALTER {} SET {} = {}").format(
            subject,
            # A setting of an extension has two parts.
            sql.SQL(".").join(sql.Identifier(part) for part in setting.split(".")),
            sql.SQL(value) if setting in _LISTS else sql.Literal(value),
        )


def rename_database(connection: Connection, name: str, new_name: str) -> None:
    """Rename a database that nobody is connected to."""
    connection.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
            sql.Identifier(name), sql.Identifier(new_name)
        )
    )


def drop_database(connection: Connection, name: str, *, end_sessions: bool = False) -> None:
    """Drop a database if it is there; with `end_sessions` its clients are disconnected first."""
    force = sql.SQL(" WITH (FORCE)" if end_sessions else "")
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}{}").format(sql.Identifier(name), force))


def _grants(connection: Connection, database: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END, privilege_type,"
        " is_grantable"
        " FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))"
        " WHERE datname = %s AND grantee <> datdba",
        [database],
    ).fetchall()


def _settings(connection: Connection, database: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT CASE WHEN setrole <> 0 THEN pg_get_userbyid(setrole) END,"
        " split_part(pair, '=', 1), substr(pair, strpos(pair, '=') + 1)"
        " FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase,"
        " unnest(s.setconfig) AS pair WHERE d.datname = %s",
        [database],
    ).fetchall()
