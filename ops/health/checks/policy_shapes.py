"""Policies that are slow, or that let through more than somebody meant."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from django.apps import apps

from ops.health.checks.row_policies import (
    EVERYBODY,
    Policy,
    is_open_knowingly,
    read_policies,
)
from ops.health.context import Context
from ops.health.contract import SOON, Reported, check, several
from ops.health.quoting import quoted
from ops.models import Area, Severity
from ops.postgres.roles import ADMIN, OWNER
from ops.rls.policies import RowPolicy


@check(Area.SECURITY, "Policies that call a function for every row")
def policies_per_row(context: Context) -> Iterator[Reported]:
    """A function in a policy's condition is called for every row that a query looks at; read
    through a scalar sub-select it is called once. In our trial 100,000 rows took 21 s instead of
    0.07 ms.
    """
    policies = context.once(read_policies).all
    functions = _changing_functions(context, policies)
    for policy in policies:
        if not policy.table.row_security:
            continue  # asked of no row at all: row_security tells
        calls = {
            functions[call.function]: call.of_the_row
            for expression in policy.expressions.values()
            for call in expression.calls_per_row
            if call.function in functions
        }
        looks_up = any(each.looks_up_per_row for each in policy.expressions.values())
        if not calls and not looks_up:
            continue
        what = f"calls {several(sorted(calls))}" if calls else "runs a sub-select"
        once = [name for name, of_the_row in calls.items() if not of_the_row]
        mend = "by the next step" if once else "by comparing a column with what a sub-select yields"
        yield Reported(
            policy.key,
            Severity.WARNING,
            f"The policy {policy.name} of {policy.table.title} {what} for every row",
            f"Every query on the table pays for it once per row it looks at, and can't use an "
            f"index for it. It is paid once per query when mended {mend}.",
            _wrapped(context, policy, once)
            if once
            else f"manage.py inspect {policy.table.schema}.{policy.table.name}",
            policy.subject,
        )


@check(Area.SECURITY, "Policies on a column without an index")
def policies_without_index(context: Context) -> Iterator[Reported]:
    """Every query of a member carries the policy's condition. Without an index that starts with
    its column each of them reads the whole table: 15 ms more for every 100,000 rows in our trial.
    """
    catalogue = context.catalogue
    told: set[tuple[int, str]] = set()
    for policy in context.once(read_policies).all:
        expression = policy.expressions.get("USING")
        if not policy.permissive or expression is None or not expression.compared:
            continue
        table = policy.table
        first = {
            index.columns[0]
            for index in catalogue.indexes_of.get(table.oid, ())
            if index.is_valid and not index.predicate
        }
        columns = catalogue.column_names(table.oid, expression.compared)
        if first.intersection(expression.compared) or (table.oid, columns[0]) in told:
            continue
        told.add((table.oid, columns[0]))
        # Of a partitioned table no index can be made while others write.
        how = "" if table.kind == "p" else "CONCURRENTLY "
        yield Reported(
            f"{table.title}.{columns[0]}",
            Severity.WARNING,
            f"No index of {table.title} starts with {columns[0]}, which its policy asks for",
            f"The policy {policy.name} compares {' and '.join(columns)} in every query of "
            f"{', '.join(policy.roles)}: each reads the whole table, about "
            f"{max(0, round(table.rows)):,} rows now.",
            f"CREATE INDEX {how}ON {quoted(table.schema, table.name)} ({quoted(columns[0])});",
            f"table {table.title}",
        )


@check(Area.SECURITY, "Several policies for one role and command")
def overlapping_policies(context: Context) -> Iterator[Reported]:
    """Of several permissive policies for a role, one that lets a row through is enough, so the
    widest counts; and their OR keeps PostgreSQL from using the index (0.2 ms became 214 ms in our
    trial).
    """
    declared = _declared_policies()
    for policies in context.once(read_policies).of_table.values():
        by_role: dict[str, list[Policy]] = defaultdict(list)
        for policy in policies:
            if policy.permissive:
                for role in policy.roles:
                    by_role[role].append(policy)
        everybodys = by_role.get(EVERYBODY, [])
        for role, some in by_role.items():
            applying = some if role == EVERYBODY else [*some, *everybodys]
            commands = [command for each in applying for command in each.commands]
            twice = sorted({command for command in commands if commands.count(command) > 1})
            if not twice or (role != EVERYBODY and len(some) == 0):
                continue
            table = policies[0].table
            names = sorted(policy.name for policy in applying)
            added = [policy for policy in applying if policy.name not in declared]
            yield Reported(
                f"{table.title}.{role}",
                Severity.WARNING,
                f"{table.title} has {len(applying)} policies for {role} at once",
                f"{several(names)} all apply to {', '.join(twice)}: a row that one of them lets "
                "through is seen, and no index is used for their OR.",
                "\n".join(f"DROP POLICY {policy.place};" for policy in added)
                if 0 < len(added) < len(applying)
                else f"manage.py inspect {table.schema}.{table.name}",
                f"table {table.title}",
            )


@check(Area.SECURITY, "Policies that let every row through", every=SOON)
def open_policies(context: Context) -> Iterator[Reported]:
    """A policy that is true for every row, or whenever the session says nothing of itself, looks
    like protection and is none. Only the platform administrators' role is meant to see every row;
    the other exceptions stand in settings.RLS_OPEN_TABLES.
    """
    policies = context.once(read_policies)
    for policy in policies.all:
        roles = [
            role
            for role in policy.roles
            if role not in {ADMIN, OWNER} and not is_open_knowingly(policy.table, role)
        ]
        if not policy.permissive or not roles:
            continue
        conditions = {
            clause: expression
            for clause, expression in policy.expressions.items()
            if expression.is_constant or expression.open_without_session
        }
        texts = policy.conditions(context) if conditions else {}
        clauses = [clause for clause in conditions if texts.get(clause, "false") != "false"]
        if clauses:
            yield _open(context, policy, roles, clauses, texts, policies.owner_columns)


def _open(
    context: Context,
    policy: Policy,
    roles: list[str],
    clauses: list[str],
    texts: dict[str, str],
    owner_columns: frozenset[str],
) -> Reported:
    table = policy.table
    columns = context.catalogue.columns.get(table.oid, {}).values()
    of_accounts = owner_columns.intersection(columns)
    told = " and ".join(f"{clause} {texts[clause]}" for clause in clauses)
    always = all(policy.expressions[clause].is_constant for clause in clauses)
    does = "see" if policy.command == "r" else "see and change"
    if "USING" not in clauses:
        does = "write"
    return Reported(
        policy.key,
        Severity.CRITICAL if of_accounts else Severity.WARNING,
        f"The policy {policy.name} lets {' and '.join(roles)} {does} every row of {table.title}",
        f"{told} is true {'always' if always else 'as soon as the session says nothing of itself'}"
        + (f", and the rows belong to accounts ({', '.join(sorted(of_accounts))})." if of_accounts
           else "."),
        f"DROP POLICY {policy.place};",
        policy.subject,
    )  # fmt: skip


def _changing_functions(context: Context, policies: list[Policy]) -> dict[int, str]:
    """Names of those called that may answer differently another time, by oid."""
    called = {
        call.function
        for policy in policies
        for expression in policy.expressions.values()
        for call in expression.calls_per_row
    }
    if not called:
        return {}
    return dict(
        context.rows(
            "SELECT oid::bigint, proname::text FROM pg_proc"
            " WHERE oid = ANY (%s) AND provolatile <> 'i'",
            [list(called)],
        )
    )


def _wrapped(context: Context, policy: Policy, functions: list[str]) -> str:
    """SQL that reads the functions through a scalar sub-select."""
    clauses = [
        f"{clause} ({_in_sub_selects(text, functions)})"
        for clause, text in policy.conditions(context).items()
    ]
    return f"ALTER POLICY {policy.place}\n  " + "\n  ".join(clauses) + ";"


def _in_sub_selects(condition: str, functions: list[str]) -> str:
    names = "|".join(map(re.escape, functions))
    begin = re.compile(rf'(?<![\w."])(?:\w+\.)?(?:{names})\(')
    done, rest = "", condition
    while match := begin.search(rest):
        end = _end_of_call(rest, match.end())
        call = rest[match.start() : end]
        is_inside = re.search(r"\bselect\s*$", rest[: match.start()], re.IGNORECASE)
        done += rest[: match.start()] + (call if is_inside else f"(SELECT {call})")
        rest = rest[end:]
    return done + rest


def _end_of_call(text: str, position: int) -> int:
    """Where the parenthesis closes that was opened before the position; quotes are skipped."""
    depth, quote = 1, ""
    for place in range(position, len(text)):
        letter = text[place]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
            if depth == 0:
                return place + 1
    return len(text)


def _declared_policies() -> set[str]:
    """Names of the policies that models declare."""
    return {
        constraint.name
        for model in apps.get_models(include_auto_created=True)
        for constraint in model._meta.constraints
        if isinstance(constraint, RowPolicy)
    }
