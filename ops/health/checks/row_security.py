"""Is row security on where it has to be, and does each role have a policy?"""

from __future__ import annotations

from collections.abc import Iterator

from ops.health.catalogue import Table
from ops.health.checks.rights import read_rights
from ops.health.checks.row_policies import EVERYBODY, Policies, Policy, read_policies
from ops.health.context import Context
from ops.health.contract import SOON, Reported, check, several
from ops.health.quoting import quoted
from ops.models import Area, Severity
from ops.postgres.roles import ADMIN, APP, MEMBER, PUBLIC, REQUEST_ROLES
from ops.rls.policies import CURRENT_ACCOUNT, policy_sql

_TAKEN_BY = {
    MEMBER: "staff of a business",
    ADMIN: "platform administrators",
    PUBLIC: "visitors",
    APP: "whoever signs in",
}


@check(Area.SECURITY, "Row security that is switched off", every=SOON)
def row_security(context: Context) -> Iterator[Reported]:
    """Policies only count while row security is enabled on their table, and forced, so that they
    hold for the table's owner as well. Disabled, each business reads the others' rows.
    """
    for policies in context.once(read_policies).of_table.values():
        table = policies[0].table
        name = quoted(table.schema, table.name)
        if not table.row_security:
            yield Reported(
                table.title,
                Severity.CRITICAL,
                f"Row security is off on {table.title}",
                f"It has {_policies(len(policies))} ({several([each.name for each in policies])}), "
                "which count for nothing: every role that may read the table reads the rows of all "
                "accounts, and may change them.",
                f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;",
                f"table {table.title}",
            )
        elif not table.forced:
            yield Reported(
                table.title,
                Severity.WARNING,
                f"Row security does not hold for the owner of {table.title}",
                f"It is enabled and not forced. {table.owner}, who owns the table, and whoever may "
                "become that role see the rows of all accounts.",
                f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY;",
                f"table {table.title}",
            )


@check(Area.SECURITY, "Tables with an owner's column and no row security", every=SOON)
def unprotected_tables(context: Context) -> Iterator[Reported]:
    """A table that says in each row whose it is holds data of many businesses. Without policies,
    any member of a business who may read it reads everybody's.
    """
    policies, rights = context.once(read_policies), context.once(read_rights)
    for table in context.catalogue.tables.values():
        column = _owner_column(context, policies, table)
        if not column or table.oid in policies.of_table or table.kind == "m":
            continue
        if table.row_security:
            continue  # nobody sees a row: missing_policies tells
        reached_by = rights.reached_by(table.oid, (MEMBER, PUBLIC, EVERYBODY))
        if not reached_by:
            continue
        policy = policy_sql(
            table.name,
            f"{table.name}_member",
            role=MEMBER,
            using=f"{quoted(column)} = {CURRENT_ACCOUNT}",
            schema=table.schema,
        )
        admin = policy_sql(table.name, f"{table.name}_admin", role=ADMIN, schema=table.schema)
        yield Reported(
            table.title,
            Severity.CRITICAL,
            f"{table.title} has rows of many accounts and no row security",
            f"Its column {column} says whose a row is, and {' and '.join(reached_by)} may use the "
            "table: one business reads the rows of all others.",
            f"{policy};\n{admin};",
            f"table {table.title}",
        )


@check(Area.SECURITY, "Roles that row security leaves without a policy")
def missing_policies(context: Context) -> Iterator[Reported]:
    """Under row security a role without a policy sees no row and no error: pages are silently
    empty, and history seems never to have happened. Each role of a request needs a policy on
    every table of an account, history tables too.
    """
    policies, rights = context.once(read_policies), context.once(read_rights)
    for table in context.catalogue.tables.values():
        if not table.row_security:
            continue
        own = policies.of_table.get(table.oid, [])
        if not own:
            yield _no_policy_at_all(table)
            continue
        yield from map(_without_condition, (each for each in own if not each.expressions))
        column = _owner_column(context, policies, table)
        has = {role for policy in own if policy.permissive for role in policy.roles}
        needs = {MEMBER, ADMIN} if column else set()
        needs |= set(rights.reached_by(table.oid, (*REQUEST_ROLES, APP)))
        for role in sorted(needs - has) if EVERYBODY not in has else ():
            is_members = role == MEMBER and column
            using = f"{quoted(column)} = {CURRENT_ACCOUNT}" if is_members else "true"
            mend = policy_sql(
                table.name, f"{table.name}_{role}", role=role, using=using, schema=table.schema
            )
            yield Reported(
                f"{table.title}.{role}",
                Severity.WARNING,
                f"{table.title} has no policy for {role}",
                f"Row security is on, so {_TAKEN_BY[role]} see no row of it and can add none, "
                f"without an error. It has policies for {', '.join(sorted(has)) or 'nobody'}.",
                f"{mend};" if role in {MEMBER, ADMIN} and column else _revoke(table, role),
                f"table {table.title}",
            )


def _no_policy_at_all(table: Table) -> Reported:
    name = quoted(table.schema, table.name)
    return Reported(
        table.title,
        Severity.WARNING,
        f"{table.title} has row security and not one policy",
        "Nobody but its owner and roles that see past row security reads or writes a row of it, "
        "and nobody is told: queries answer with no rows.",
        f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;",
        f"table {table.title}",
    )


def _without_condition(policy: Policy) -> Reported:
    table, roles = policy.table.title, ", ".join(policy.roles)
    return Reported(
        policy.key,
        Severity.WARNING,
        f"The policy {policy.name} of {table} has no condition and lets no row through",
        f"It has neither USING nor WITH CHECK. PostgreSQL takes that for no, so {roles} may not "
        f"{' or '.join(policy.commands)}.",
        f"DROP POLICY {policy.place};",
        policy.subject,
    )


def _revoke(table: Table, role: str) -> str:
    return f"REVOKE ALL ON {quoted(table.schema, table.name)} FROM {role};"


def _owner_column(context: Context, policies: Policies, table: Table) -> str:
    columns = sorted(context.catalogue.columns.get(table.oid, {}).items())
    return next((name for _, name in columns if name in policies.owner_columns), "")


def _policies(count: int) -> str:
    return f"{count} {'policy' if count == 1 else 'policies'}"
