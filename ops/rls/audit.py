"""Is row security really in force? Asked of the database itself, as the web process's login.

Policies are only as good as the login they are applied to: a superuser, a role with BYPASSRLS and
a table's owner see past them. A managed service's console makes that mistake easy, so the web
process looks before it serves anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ops.postgres.roles import ADMIN, APP, MEMBER, OWNER, PUBLIC, REQUEST_ROLES
from ops.rls.triggers import unguarded

_ROLES = {"app": APP, "member": MEMBER, "admin": ADMIN, "public": PUBLIC}
_ATTRIBUTES = (
    ("is a superuser", "NOSUPERUSER"),
    ("has BYPASSRLS", "NOBYPASSRLS"),
    ("has CREATEROLE", "NOCREATEROLE"),
    ("has REPLICATION", "NOREPLICATION"),
)


@dataclass(frozen=True)
class Finding:
    """One way past row security: a stable id, what is wrong, the SQL or command that ends it."""

    id: str
    message: str
    hint: str
    subject: str = ""  # the role, table or function
    sql: str = ""  # what of the hint can be run as it is


class RowSecurityError(Exception):
    """The database would show one account's rows to another. Nothing may be served."""


def audit_login(*, using: str = DEFAULT_DB_ALIAS) -> list[Finding]:
    """What is wrong with the login of this connection, and with the roles it takes."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT session_user, current_database()")
        login, database = cursor.fetchone()
        return login_findings(cursor, login, database)


def audit_tables(*, using: str = DEFAULT_DB_ALIAS) -> list[Finding]:
    """Tables that row security does not cover although a request's role reaches them."""
    with connections[using].cursor() as cursor:
        return table_findings(cursor)


def login_findings(cursor: Any, login: str, database: str) -> list[Finding]:
    """What is wrong with a login and the roles it takes, asked by any login of its database."""
    findings = _attributes(cursor, login)
    if findings:
        # A superuser may become anybody: the rest would only repeat it.
        return findings
    findings = _owned(cursor, login, database)
    for role in REQUEST_ROLES:
        findings += _attributes(cursor, role) + _owned(cursor, role, database)
    return findings + _memberships(cursor, login)


def table_findings(cursor: Any) -> list[Finding]:
    """As audit_tables, asked by any login of the database."""
    cursor.execute(_TABLES, {"roles": list(_ROLES.values())})
    tables = {row[0]: row[1:] for row in cursor.fetchall()}
    findings = []
    for table, (enabled, forced, policies, rights) in tables.items():
        if policies:
            if not (enabled and forced):
                findings.append(_not_forced(table))
        elif sorted(rights or []) != _declared(table):
            findings.append(_undeclared(table))
        elif not rights and table not in settings.RLS_OWNER_ONLY_TABLES:
            findings.append(_unlisted(table))
    return [*findings, *map(_unguarded, unguarded(cursor))]


def require_safe_login(connection: BaseDatabaseWrapper) -> None:
    """Raise RowSecurityError when the connection's login sees past row security."""
    findings = audit_login(using=connection.alias)
    if findings:
        raise RowSecurityError(" ".join(f"{each.message} {each.hint}" for each in findings))


_TABLES = """
    SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity,
           EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid),
           (SELECT array_agg(coalesce(r.rolname, 'PUBLIC') || ' ' || a.privilege_type || a.columns)
            FROM (SELECT grantee, privilege_type, '' AS columns FROM aclexplode(c.relacl)
                  UNION ALL
                  SELECT e.grantee, e.privilege_type, format('(%%s)', t.attname)
                  FROM pg_attribute t, aclexplode(t.attacl) e
                  WHERE t.attrelid = c.oid AND t.attacl IS NOT NULL AND NOT t.attisdropped) a
            LEFT JOIN pg_roles r ON r.oid = a.grantee
            WHERE a.grantee = 0 OR r.rolname = ANY(%(roles)s))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
      -- An extension's tables are its own affair.
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    ORDER BY c.relname
"""


_RIGHT = re.compile(r"([A-Z]+)(?:\(([a-z0-9_,]+)\))?")


def _declared(table: str) -> list[str]:
    """The rights that settings give on a table, one for each column where they name columns."""
    return sorted(
        f"{_ROLES[key]} {right}{column and f'({column})'}"
        for key, grants in settings.RLS_TABLE_GRANTS.items()
        for right, columns in _RIGHT.findall(grants.get(table, "").replace(" ", ""))
        for column in columns.split(",")
    )


def _attributes(cursor: Any, role: str) -> list[Finding]:
    cursor.execute(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolreplication FROM pg_roles"
        " WHERE rolname = %s",
        [role],
    )
    row = cursor.fetchone()
    if row is None:
        return [
            Finding(
                "ops.E104",
                f"The role {role} does not exist.",
                "Run `manage.py provision`: it makes the roles and changes no data.",
                role,
                "manage.py provision",
            )
        ]
    return [
        Finding(
            "ops.E101",
            f"{role} {words}, so rows of one account would be open to another.",
            f'As a superuser run: ALTER ROLE "{role}" {remedy};',
            role,
            f'ALTER ROLE "{role}" {remedy};',
        )
        for value, (words, remedy) in zip(row, _ATTRIBUTES, strict=True)
        if value
    ]


def _owned(cursor: Any, role: str, database: str) -> list[Finding]:
    cursor.execute(
        "SELECT min(c.relname), count(*) FROM pg_class c"
        " JOIN pg_roles r ON r.oid = c.relowner"
        " WHERE r.rolname = %s AND c.relkind IN ('r', 'p', 'v', 'm') AND c.relpersistence <> 't'",
        [role],
    )
    example, count = cursor.fetchone()
    if not count:
        return []
    return [
        Finding(
            "ops.E102",
            f"{role} owns {count} table(s) such as {example}, and an owner may switch row security "
            "off.",
            f"As a superuser run in the database {database}: REASSIGN OWNED BY "
            f'"{role}" TO {OWNER};',
            role,
            f'REASSIGN OWNED BY "{role}" TO {OWNER};',
        )
    ]


def _memberships(cursor: Any, login: str) -> list[Finding]:
    cursor.execute(
        # Whoever may become a role has its rights, at once (USAGE) or after SET ROLE (MEMBER).
        "SELECT rolname, rolname = ANY(%(roles)s), pg_has_role(%(login)s, oid, 'MEMBER'),"
        "  pg_has_role(%(login)s, oid, 'USAGE'),"
        "  rolsuper OR rolbypassrls OR EXISTS ("
        "    SELECT FROM pg_class WHERE relowner = pg_roles.oid AND relkind IN ('r', 'p')"
        "    AND relnamespace = 'public'::regnamespace)"
        " FROM pg_roles WHERE rolname <> %(login)s ORDER BY rolname",
        {"login": login, "roles": list(REQUEST_ROLES)},
    )
    findings = []
    for role, is_request_role, member, inherits, powerful in cursor.fetchall():
        if is_request_role and not member:
            findings.append(
                Finding(
                    "ops.E104",
                    f"{login} may not become {role}, so no request could be answered.",
                    "Run `manage.py provision`: it grants the roles and changes no data.",
                    role,
                    "manage.py provision",
                )
            )
        elif is_request_role and inherits:
            findings.append(
                Finding(
                    "ops.E103",
                    f"{login} has the rights of {role} all the time, not for a request only.",
                    f'As a superuser run: ALTER ROLE "{login}" NOINHERIT; on PostgreSQL 16 and '
                    f'later also: GRANT {role} TO "{login}" WITH INHERIT FALSE, SET TRUE;',
                    role,
                    "manage.py provision",
                )
            )
        elif not is_request_role and member and powerful:
            findings.append(
                Finding(
                    "ops.E103",
                    f"{login} may become {role}, whom row security does not hold.",
                    f'As a superuser run: REVOKE "{role}" FROM "{login}";',
                    role,
                    f'REVOKE "{role}" FROM "{login}";',
                )
            )
    return findings


def _unguarded(function: str) -> Finding:
    return Finding(
        "ops.E107",
        f"The trigger function {function} can be tricked by a request's own SQL.",
        "Run `manage.py migrate`: it guards every trigger and changes no data.",
        function,
        "manage.py migrate",
    )


def _not_forced(table: str) -> Finding:
    return Finding(
        "ops.E105",
        f"The policies of {table} are switched off.",
        f'As {OWNER} run: ALTER TABLE public."{table}" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL '
        "SECURITY;",
        table,
        f'ALTER TABLE public."{table}" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;',
    )


def _undeclared(table: str) -> Finding:
    return Finding(
        "ops.E106",
        f"{table} has no row policies, and its grants are not those of settings.RLS_TABLE_GRANTS.",
        "Run `manage.py migrate`: it puts the declared grants in force and changes no data. If "
        f'PUBLIC has rights, as {OWNER} run: REVOKE ALL ON public."{table}" FROM PUBLIC;',
        table,
        "manage.py migrate",
    )


def _unlisted(table: str) -> Finding:
    return Finding(
        "ops.W101",
        f"{table} has neither row policies nor grants: only {OWNER} reaches it.",
        "Give it policies or settings.RLS_TABLE_GRANTS, or list it in "
        "settings.RLS_OWNER_ONLY_TABLES.",
        table,
    )
