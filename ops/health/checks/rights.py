"""Who may do what with tables, views and sequences, as granted; read once for several checks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ops.health.catalogue import NOT_OURS
from ops.health.checks.row_policies import EVERYBODY
from ops.health.context import Context
from ops.health.quoting import quoted


@dataclass(frozen=True)
class Right:
    """One right of one role on a relation, or on a column of it."""

    grantee: str  # PUBLIC for everybody
    privilege: str  # SELECT, TRUNCATE …
    column: str  # "" for the whole


@dataclass(frozen=True)
class Relation:
    """A table, view, materialized view, foreign table or sequence, and who has rights on it."""

    oid: int
    schema: str
    name: str
    kind: str  # relkind
    owner: str
    options: tuple[str, ...]
    rights: tuple[Right, ...]  # its owner's aside

    @property
    def title(self) -> str:
        """As people write it."""
        return f"{self.schema}.{self.name}"

    @property
    def place(self) -> str:
        """For SQL."""
        return quoted(self.schema, self.name)

    @property
    def granted_on(self) -> str:
        """For GRANT and REVOKE."""
        return f"SEQUENCE {self.place}" if self.kind == "S" else self.place

    def grantees(self, privileges: Iterable[str] = ()) -> list[str]:
        """Return who has any of these rights, or any at all, on the whole or on a column."""
        wanted = set(privileges)
        return sorted(
            {each.grantee for each in self.rights if not wanted or each.privilege in wanted}
        )


@dataclass(frozen=True)
class Rights:
    """Every relation with its rights."""

    relations: dict[int, Relation]

    def reached_by(self, oid: int, roles: Iterable[str]) -> list[str]:
        """Return those of some roles that have a right on a relation."""
        relation = self.relations.get(oid)
        granted = relation.grantees() if relation else []
        return [role for role in roles if role in granted]


def quoted_role(role: str) -> str:
    """Return a role for GRANT and REVOKE; PUBLIC is a keyword there."""
    return role if role == EVERYBODY else quoted(role)


def read_rights(context: Context) -> Rights:
    """Read them by two queries; for Context.once."""
    rights: dict[int, list[Right]] = defaultdict(list)
    for oid, grantee, privilege, column in context.rows(_RIGHTS):
        rights[oid].append(Right(grantee, privilege, column))
    return Rights(
        {
            oid: Relation(
                oid, schema, name, kind, owner, tuple(options), tuple(rights.get(oid, ()))
            )
            for oid, schema, name, kind, owner, options in context.rows(_RELATIONS)
        }
    )


# An extension's relations are its own affair.
_OURS = f"""
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND {NOT_OURS}
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = c.oid
                      AND e.classid = 'pg_class'::regclass AND e.deptype = 'e')
"""
_RELATIONS = f"""
    SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text,
        pg_get_userbyid(c.relowner)::text, coalesce(c.reloptions, '{{}}')
    {_OURS} ORDER BY n.nspname, c.relname
"""
_RIGHTS = f"""
    WITH ours AS (SELECT c.oid, c.relowner, c.relacl {_OURS}),
    granted AS (
        SELECT o.oid, o.relowner, a.grantee, a.privilege_type, '' AS of_column
        FROM ours o, aclexplode(o.relacl) a
        UNION ALL
        SELECT o.oid, o.relowner, a.grantee, a.privilege_type, t.attname
        FROM ours o
        JOIN pg_attribute t ON t.attrelid = o.oid AND t.attacl IS NOT NULL AND NOT t.attisdropped,
        aclexplode(t.attacl) a
    )
    SELECT oid::bigint,
        CASE grantee WHEN 0 THEN '{EVERYBODY}' ELSE pg_get_userbyid(grantee)::text END,
        privilege_type, of_column::text
    FROM granted WHERE grantee <> relowner
"""  # noqa: S608 (constants)
