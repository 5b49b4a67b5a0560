"""What a dump does not bring: the roles it speaks of, and its database as it was set up.

Made from a manifest, on a server where the connection is a superuser's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from ops.backups.pinned import Connection
from ops.postgres import configuration
from ops.postgres.errors import one_line

_ROLE = re.compile(r'^(?:CREATE|ALTER) ROLE (?P<role>"(?:[^"]|"")+"|[^\s;"]+)')
_GRANT = re.compile(
    r'^(?P<grantee>"(?:[^"]|"")+"|\S+) (?P<right>[A-Z]+)(?P<grantable> WITH GRANT OPTION)?$',
    re.DOTALL,
)
_SETTING = re.compile(
    r'^(?:(?P<role>"(?:[^"]|"")+"|[^":=]+): )?(?P<name>[^=:\s]+)=(?P<value>.*)$', re.DOTALL
)
# The catalogue keeps these as lists of names already quoted; quoting again would make one name.
_LISTS = {"search_path", "session_preload_libraries", "local_preload_libraries", "temp_tablespaces"}
_RIGHTS = {"CONNECT", "CREATE", "TEMPORARY"}
# What two servers with the same data may differ in: where the operating system's locales enter.
LOCALE = frozenset(
    {"locale_provider", "collation", "character_type", "locale", "collation_version"}
)


def statements(script: str) -> Iterator[str]:
    """Yield the statements of what pg_dumpall --roles-only wrote, without psql's own commands."""
    begun, quote = "", ""
    for line in script.splitlines(keepends=True):
        if not begun and (not line.strip() or line.startswith(("--", "\\"))):
            continue
        begun += line
        for letter in line:
            if quote:
                quote = "" if letter == quote else quote
            elif letter in "'\"":
                quote = letter
        if not quote and line.rstrip().endswith(";"):
            yield begun.strip()
            begun = ""


def create_roles(connection: Connection, roles_sql: str) -> list[str]:
    """Make roles, memberships and their settings; return what this server refused.

    The bootstrap superuser stays as it is: another server's version of it could lock us out.
    """
    refused = []
    for statement in statements(roles_sql):
        role = _ROLE.match(statement)
        if role is not None and unquoted(role["role"]) == configuration.SUPERUSER:
            continue
        try:
            connection.execute(statement.encode())
        except psycopg.errors.DuplicateObject:
            continue
        except psycopg.Error as error:
            refused.append(one_line(error))
    return refused


def create_database(connection: Connection, name: str, properties: dict[str, Any]) -> str:
    """Make an empty database with a manifest's encoding, and its locale where this server has it.

    Returns "" or, in half a sentence, which locale it has instead. Raises psycopg.Error.
    """
    encoding = str(properties.get("encoding") or "UTF8")
    for clause in _locale_clauses(properties):
        try:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {} {}").format(
                    sql.Identifier(name), sql.Literal(encoding), clause
                )
            )
        except psycopg.errors.DuplicateDatabase:
            raise
        except psycopg.Error:
            continue
        return ""
    connection.execute(
        sql.SQL(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LOCALE_PROVIDER libc LOCALE 'C'"
        ).format(sql.Identifier(name), sql.Literal(encoding))
    )
    wanted = properties.get("locale") or properties.get("collation")
    return f"the locale C instead of {wanted} ({properties.get('locale_provider')})"


def set_properties(connection: Connection, name: str, properties: dict[str, Any]) -> list[str]:
    """Give a database the owner, grants, settings, limit and comment of a manifest.

    Returns what this server refused.
    """
    refused = []
    for statement in _property_statements(sql.Identifier(name), properties):
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            refused.append(one_line(error))
    return refused


def unquoted(name: str) -> str:
    """Return an identifier that may be written in double quotes."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _locale_clauses(properties: dict[str, Any]) -> Iterator[sql.Composed]:
    collate, ctype = properties.get("collation") or "C", properties.get("character_type") or "C"
    libc = sql.SQL("LC_COLLATE {} LC_CTYPE {}").format(sql.Literal(collate), sql.Literal(ctype))
    locale = properties.get("locale")
    match properties.get("locale_provider"):
        case "builtin" if locale:
            yield (
                sql.SQL("LOCALE_PROVIDER builtin BUILTIN_LOCALE {} ").format(sql.Literal(locale))
                + libc
            )
        case "icu" if locale:
            yield sql.SQL("LOCALE_PROVIDER icu ICU_LOCALE {} ").format(sql.Literal(locale)) + libc
        case "libc":
            yield sql.SQL("LOCALE_PROVIDER libc ") + libc


def _property_statements(
    name: sql.Identifier, properties: dict[str, Any]
) -> Iterator[sql.Composed]:
    if owner := properties.get("owner"):
        yield sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(owner))
    yield sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name)
    if owner and "grants" in properties:
        yield sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(name, sql.Identifier(owner))
    for grant in properties.get("grants") or ():
        match = _GRANT.match(grant)
        if match is None or match["right"] not in _RIGHTS:
            continue
        grantee = match["grantee"]
        yield sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
            sql.SQL(match["right"]),
            name,
            sql.SQL("PUBLIC") if grantee == "PUBLIC" else sql.Identifier(unquoted(grantee)),
            sql.SQL(" WITH GRANT OPTION" if match["grantable"] else ""),
        )
    for setting in properties.get("settings") or ():
        match = _SETTING.match(setting)
        if match is not None:
            yield _setting(name, match)
    limit = properties.get("connection_limit")
    if limit is not None:
        yield sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, sql.Literal(int(limit)))
    if comment := properties.get("comment"):
        yield sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(comment))


def _setting(name: sql.Identifier, match: re.Match[str]) -> sql.Composed:
    role, setting, value = match["role"], match["name"], match["value"]
    subject = (
        sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(unquoted(role)), name)
        if role
        else sql.SQL("DATABASE {}").format(name)
    )
    return sql.SQL("ALTER {} SET {} = {}").format(
        subject,
        # A setting of an extension has two parts.
        sql.SQL(".").join(sql.Identifier(part) for part in setting.split(".")),
        sql.SQL(value) if setting in _LISTS else sql.Literal(value),
    )
