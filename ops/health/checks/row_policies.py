"""Row policies as they stand in the database, and what settings say of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from django.conf import settings

from ops.health.catalogue import NOT_OURS, Table
from ops.health.checks.policy_expressions import Expression, read_expression
from ops.health.context import Context
from ops.health.quoting import quoted
from ops.postgres.roles import ADMIN, APP, MEMBER, PUBLIC

EVERYBODY = "PUBLIC"
_ACCOUNT = "app.account_id"  # the setting that says whose session it is (ops/rls/session.py)
ROLES_OF_SETTINGS = {"app": APP, "member": MEMBER, "admin": ADMIN, "public": PUBLIC}
COMMANDS = {
    "r": ("SELECT",),
    "a": ("INSERT",),
    "w": ("UPDATE",),
    "d": ("DELETE",),
    "*": ("SELECT", "INSERT", "UPDATE", "DELETE"),
}


@dataclass(frozen=True)
class Policy:
    """One row policy."""

    table: Table
    name: str
    command: str  # r, a, w, d; * for all
    permissive: bool
    roles: tuple[str, ...]
    using_tree: str  # as PostgreSQL keeps it, "" for none
    with_check_tree: str

    @property
    def key(self) -> str:
        """What findings about it go by."""
        return f"{self.table.title}.{self.name}"

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands it applies to."""
        return COMMANDS[self.command]

    @property
    def subject(self) -> str:
        """As findings name it."""
        return f"policy {self.name} of {self.table.title}"

    @property
    def place(self) -> str:
        """Name and table for SQL."""
        return f"{quoted(self.name)} ON {quoted(self.table.schema, self.table.name)}"

    @cached_property
    def expressions(self) -> dict[str, Expression]:
        """What can be said of each condition, by its clause."""
        trees = {"USING": self.using_tree, "WITH CHECK": self.with_check_tree}
        return {clause: read_expression(tree) for clause, tree in trees.items() if tree}

    def conditions(self, context: Context) -> dict[str, str]:
        """Return each condition as SQL, by its clause; takes a lock on the table for a moment."""
        using, with_check = context.one(_CONDITIONS, [self.table.oid, self.name])
        return {
            clause: text for clause, text in (("USING", using), ("WITH CHECK", with_check)) if text
        }


@dataclass(frozen=True)
class Policies:
    """All row policies, by table."""

    of_table: dict[int, list[Policy]]
    # Columns that say whose row it is: what members' policies compare, "user_id".
    owner_columns: frozenset[str]

    @cached_property
    def all(self) -> list[Policy]:
        """Every policy, in the order of tables and names."""
        return [policy for some in self.of_table.values() for policy in some]


def read_policies(context: Context) -> Policies:
    """Read them by one query; for Context.once."""
    catalogue = context.catalogue
    found: dict[int, list[Policy]] = defaultdict(list)
    columns: set[str] = set()
    for oid, name, command, permissive, roles, using, with_check in context.rows(_POLICIES):
        table = catalogue.tables.get(oid)
        if table is None:
            continue
        policy = Policy(table, name, command, permissive, tuple(roles), using, with_check)
        found[oid].append(policy)
        if MEMBER in policy.roles:
            columns |= {
                column
                for expression in policy.expressions.values()
                if _ACCOUNT in expression.texts
                for column in catalogue.column_names(oid, expression.compared)
            }
    return Policies(dict(found), frozenset(columns))


def is_open_knowingly(table: Table, role: str) -> bool:
    """Whether settings let a role see every row of a table (RLS_OPEN_TABLES)."""
    return table.schema == "public" and any(
        ROLES_OF_SETTINGS[key] == role and table.name in tables
        for key, tables in settings.RLS_OPEN_TABLES.items()
    )


_POLICIES = f"""
    SELECT p.polrelid::bigint, p.polname::text, p.polcmd::text, p.polpermissive,
        ARRAY(SELECT CASE r WHEN 0 THEN '{EVERYBODY}' ELSE pg_get_userbyid(r)::text END
              FROM unnest(p.polroles) r),
        coalesce(p.polqual::text, ''), coalesce(p.polwithcheck::text, '')
    FROM pg_policy p
    JOIN pg_class c ON c.oid = p.polrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {NOT_OURS}
    ORDER BY n.nspname, c.relname, p.polname
"""  # noqa: S608 (constants)
_CONDITIONS = """
    SELECT pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
    FROM pg_policy WHERE polrelid = %s AND polname = %s
"""
