"""Rights that somebody has and nobody declared, or that everybody has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ops.health.checks.rights import Relation, read_rights
from ops.health.checks.row_policies import EVERYBODY, ROLES_OF_SETTINGS, read_policies
from ops.health.context import Context
from ops.health.contract import SOON, Reported, check, several
from ops.health.quoting import quoted
from ops.models import Area, Severity
from ops.postgres.roles import APP, LOGINS, REQUEST_ROLES
from ops.rls.audit import table_findings

_OURS = {*ROLES_OF_SETTINGS.values(), *LOGINS}
# Row security is not asked for these: TRUNCATE empties the table of every account, REFERENCES tells
# by an error which keys there are, a TRIGGER runs with the rights of whoever writes.
_BEYOND_POLICIES = ("TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")


@check(Area.SECURITY, "Rights that everybody has", every=SOON)
def public_rights(context: Context) -> Iterator[Reported]:
    """PUBLIC is every login of the server, also one made tomorrow for something else. What it may
    is reached around the roles by which rows are kept apart; where it may create, it may put a
    function of its own in the place of ours.
    """
    policies = context.once(read_policies)
    for relation in context.once(read_rights).relations.values():
        rights = sorted({each.privilege for each in relation.rights if each.grantee == EVERYBODY})
        if not rights:
            continue
        only_reads = rights == ["SELECT"] and relation.oid in policies.of_table
        columns = ", ".join(sorted({quoted(each.column) for each in relation.rights
                                    if each.column and each.grantee == EVERYBODY}))  # fmt: skip
        # What is granted on columns is taken away by taking the whole.
        yield Reported(
            relation.title,
            Severity.WARNING if only_reads else Severity.CRITICAL,
            f"Everybody may {', '.join(rights)} on {relation.title}",
            "PUBLIC was granted it" + (f" on {columns}" if columns else "") + ": every login that "
            "enters the database has it, whatever role it has.",
            f"REVOKE ALL ON {relation.granted_on} FROM PUBLIC;",
            f"{'sequence' if relation.kind == 'S' else 'table'} {relation.title}",
        )
    yield from _schemas(context)
    yield from _database(context)


@check(Area.SECURITY, "Rights beyond those that are declared", every=SOON)
def undeclared_rights(context: Context) -> Iterator[Reported]:
    """What a request's role may is declared, with a table's policies or in
    settings.RLS_TABLE_GRANTS. What was granted besides is known to nobody, survives every
    migration, and may lead around row security.
    """
    relations = context.once(read_rights).relations
    everybodys = {
        each.name for each in relations.values() if EVERYBODY in each.grantees()
    }  # public_rights tells
    for finding in table_findings(context.connection.cursor()):
        if finding.id in {"ops.E106", "ops.W101"} and finding.subject not in everybodys:
            is_wider = finding.id == "ops.E106"
            yield Reported(
                f"public.{finding.subject}",
                Severity.CRITICAL if is_wider else Severity.INFO,
                f"{finding.subject} has other rights than the declared ones"
                if is_wider
                else f"{finding.subject} has neither policies nor declared rights",
                f"{finding.message} {finding.hint}",
                finding.sql,
                f"table public.{finding.subject}",
            )
    policies = context.once(read_policies)
    others: dict[str, list[Relation]] = defaultdict(list)
    for relation in relations.values():
        if relation.oid in policies.of_table:
            yield from _beyond_policies(relation)
        for grantee in relation.grantees():
            if grantee not in _OURS and grantee != EVERYBODY:
                others[grantee].append(relation)
    for role, some in others.items():
        titles = [relation.title for relation in some]
        yield Reported(
            f"role {role}",
            Severity.WARNING,
            f"{role}, who is no role of SRVC, has rights on {several(titles)}",
            f"Of {len(some):,} {'table' if len(some) == 1 else 'tables'} it may at least read "
            "some. Row security holds it only where it has policies for that role. If it is meant "
            "to be so, say so in settings.HEALTH_ACCEPTED.",
            "\n".join(f"REVOKE ALL ON {each.granted_on} FROM {quoted(role)};" for each in some),
            f"role {role}",
        )


def _beyond_policies(relation: Relation) -> Iterator[Reported]:
    for role in relation.grantees(_BEYOND_POLICIES):
        if role not in {*REQUEST_ROLES, APP}:
            continue
        granted = {each.privilege for each in relation.rights if each.grantee == role}
        rights = [each for each in _BEYOND_POLICIES if each in granted]
        yield Reported(
            f"{relation.title}.{role}",
            Severity.CRITICAL,
            f"{role} may {', '.join(rights)} on {relation.title}, past its policies",
            "Row security is not asked for it"
            + (": one statement empties the table of every account."
               if "TRUNCATE" in rights else "."),
            f"REVOKE {', '.join(rights)} ON {relation.place} FROM {role};",
            f"table {relation.title}",
        )  # fmt: skip


def _schemas(context: Context) -> Iterator[Reported]:
    for schema, role in context.rows(_CREATING, [[EVERYBODY, *REQUEST_ROLES, APP]]):
        who = "Everybody" if role == EVERYBODY else role
        yield Reported(
            f"schema {schema}.{role}",
            Severity.CRITICAL,
            f"{who} may create objects in the schema {schema}",
            "A function made there under the name of one of ours is called in its place, with the "
            "rights of whoever calls it.",
            f"REVOKE CREATE ON SCHEMA {quoted(schema)} FROM {role};",
            f"schema {schema}",
        )


def _database(context: Context) -> Iterator[Reported]:
    database, rights = context.one(_ENTERING)
    if rights:
        yield Reported(
            "database",
            Severity.WARNING,
            f"Everybody may {', '.join(rights)} on the database {database}",
            "Each login of the server enters it, also those of other applications. What they find "
            "is then a matter of single grants.",
            f"REVOKE ALL ON DATABASE {quoted(database)} FROM PUBLIC;",
            f"database {database}",
        )
    for owner, schema, kind in context.rows(_DEFAULTS):
        within = f"IN SCHEMA {quoted(schema)} " if schema else ""
        yield Reported(
            f"defaults {owner}.{schema}.{kind}",
            Severity.WARNING,
            f"Everybody will have rights on {kind.lower()} that {owner} makes",
            "Default privileges grant them to PUBLIC, on every one that a migration adds.",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(owner)} {within}"
            f"REVOKE ALL ON {kind} FROM PUBLIC;",
            f"role {owner}",
        )


_CREATING = """
    SELECT * FROM (
        SELECT n.nspname::text,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS role
        FROM pg_namespace n, aclexplode(n.nspacl) a
        WHERE a.privilege_type = 'CREATE' AND n.nspname !~ '^pg_'
          AND n.nspname <> 'information_schema') g
    WHERE role = ANY (%s) ORDER BY 1, 2
"""
_ENTERING = """
    SELECT d.datname::text, ARRAY(
        SELECT a.privilege_type FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
        WHERE a.grantee = 0 ORDER BY 1)
    FROM pg_database d WHERE d.datname = current_database()
"""
# Functions are left out: that everybody may call them is PostgreSQL's own default.
_DEFAULTS = """
    SELECT pg_get_userbyid(d.defaclrole)::text, coalesce(n.nspname::text, ''),
        CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' ELSE 'SEQUENCES' END
    FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
    WHERE d.defaclobjtype IN ('r', 'S')
      AND EXISTS (SELECT FROM aclexplode(d.defaclacl) a WHERE a.grantee = 0)
    ORDER BY 1, 2, 3
"""
