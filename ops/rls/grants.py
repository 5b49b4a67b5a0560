"""Rights on tables that carry no row policy: sessions, permissions, throttling, tasks.

Business tables get their grants with their policies. The rest is listed in
`settings.RLS_TABLE_GRANTS`; after every migration exactly that is in force, and a table that is in
neither place is out of reach.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connections

from ops.postgres.roles import ADMIN, APP, MEMBER, PUBLIC
from ops.rls.triggers import guard_triggers

_ROLES = {"app": APP, "member": MEMBER, "admin": ADMIN, "public": PUBLIC}

_TABLES_WITHOUT_POLICIES = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
      AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
    ORDER BY c.relname
"""


def apply_table_grants(using: str) -> None:
    """Make the grants on tables without row policies what the settings say, as the owner."""
    roles = ", ".join(_ROLES.values())
    with connections[using].cursor() as cursor:
        cursor.execute(_TABLES_WITHOUT_POLICIES)
        tables = {name for (name,) in cursor.fetchall()}
        for table in sorted(tables):
            cursor.execute(f'REVOKE ALL ON "{table}" FROM {roles}')
        for key, grants in settings.RLS_TABLE_GRANTS.items():
            for table, rights in grants.items():
                if table in tables:
                    cursor.execute(f'GRANT {rights} ON "{table}" TO {_ROLES[key]}')


def apply_after_migrate(using: str, **kwargs: Any) -> None:
    """`pre_migrate` and `post_migrate` receiver."""
    apply_table_grants(using)
    guard_triggers(using)
