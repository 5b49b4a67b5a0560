"""Functions that act with another's rights or can be led astray, and extensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from ops.health.catalogue import NOT_OURS
from ops.health.checks.rights import quoted_role
from ops.health.checks.row_policies import EVERYBODY, ROLES_OF_SETTINGS
from ops.health.context import Context
from ops.health.contract import DAILY, SOON, Reported, check
from ops.health.quoting import quoted
from ops.health.steps import as_superuser
from ops.models import Area, Severity
from ops.postgres.roles import OWNER
from ops.rls.triggers import unguarded


@dataclass(frozen=True)
class _Function:
    signature: str  # public.name(types), quoted
    schema: str
    name: str
    owner: str
    as_owner: bool  # SECURITY DEFINER
    fixed_path: bool
    bound: bool  # its names were looked up when it was made (BEGIN ATOMIC)
    callers: tuple[str, ...]


def read_functions(context: Context) -> list[_Function]:
    """Read all functions and procedures but extensions', for Context.once."""
    return [_function(row) for row in context.rows(_FUNCTIONS)]


def _function(row: tuple[Any, ...]) -> _Function:
    values: list[Any] = [*row[:-1], tuple(row[-1])]
    return _Function(*values)


@check(Area.SECURITY, "Functions that act with their owner's rights", every=SOON)
def definer_functions(context: Context) -> Iterator[Reported]:
    """A SECURITY DEFINER function sees past row security as its owner does. Without a search_path
    of its own whoever calls it chooses what its names mean; and only those who need it may call
    it (settings.RLS_DEFINER_FUNCTIONS).
    """
    for function in context.once(read_functions):
        if not function.as_owner:
            continue
        known = [
            ROLES_OF_SETTINGS[key]
            for key, names in settings.RLS_DEFINER_FUNCTIONS.items()
            if function.schema == "public" and function.name in names
        ]
        callers = [role for role in function.callers if role not in known]
        steps = []
        if not function.fixed_path:
            steps.append(
                f"ALTER ROUTINE {function.signature} SET search_path = "
                f"{quoted(function.schema)}, pg_temp;"
            )
        steps += [
            f"REVOKE ALL ON ROUTINE {function.signature} FROM {quoted_role(role)};"
            for role in callers
        ]
        if not steps:
            continue
        who = " and ".join("everybody" if role == EVERYBODY else role for role in callers)
        wrong = [] if function.fixed_path else ["has no search_path of its own"]
        wrong += [f"may be called by {who}"] if callers else []
        yield Reported(
            function.signature,
            Severity.CRITICAL if callers else Severity.WARNING,
            f"{function.signature} acts with the rights of {function.owner} and "
            f"{' and '.join(wrong)}",
            (f"What it does for {who} is done with all of {function.owner}'s rights, and row "
             "security does not hold it. " if callers else "")
            + ("" if function.fixed_path else
               "Names in it mean what the caller's search_path says, so that a caller's own table "
               "or function can take the place of the one that was meant."),
            "\n".join(steps),
            f"function {function.signature}",
        )  # fmt: skip


@check(Area.SECURITY, "Functions whose names can be made to mean something else")
def function_search_paths(context: Context) -> Iterator[Reported]:
    """A function without a search_path of its own takes the caller's: a temporary table of the
    same name then stands in for the real one. Rules and history are triggers, so this is a way
    around them.
    """
    guarded = {name.partition("(")[0]: name for name in unguarded(context.connection.cursor())}
    for function in context.once(read_functions):
        is_trigger = function.schema == "public" and quoted(function.name) in guarded
        if is_trigger:
            yield Reported(
                function.signature,
                Severity.CRITICAL,
                f"The trigger function {function.signature} can be tricked",
                "A request's own SQL can put a temporary table in the place of the one it means, "
                "or switch it off, and so get around rules and history. A migration guards every "
                "trigger and changes no data.",
                "manage.py migrate",
                f"function {function.signature}",
            )
        elif not function.fixed_path and not function.as_owner:
            yield Reported(
                function.signature,
                Severity.INFO if function.bound else Severity.WARNING,
                f"{function.signature} takes the search_path of whoever calls it",
                "Its names were looked up when it was made, so this is for completeness only."
                if function.bound
                else "What its names mean is up to the session that calls it.",
                f"ALTER ROUTINE {function.signature} SET search_path = "
                f"{quoted(function.schema)}, pg_temp;",
                f"function {function.signature}",
            )


@check(Area.SECURITY, "Extensions in a schema where others may create", every=DAILY)
def extensions_within_reach(context: Context) -> Iterator[Reported]:
    """Whoever may create objects beside an extension's functions can put one of the same name and
    better fitting types there, and have it called by others. In a schema in which only the owner
    creates, as `manage.py provision` makes `public`, an extension is as safe as anywhere.
    """
    for extension, schema, roles in context.rows(_EXTENSIONS_WITHIN_REACH, [OWNER]):
        who = " and ".join("everybody" if role == EVERYBODY else role for role in roles)
        yield Reported(
            extension,
            Severity.WARNING,
            f"The extension {extension} is in {schema}, where {who} may create objects",
            "A function that stands beside those of the extension, under the same name, can be "
            "called in their place.",
            "\n".join(
                f"REVOKE CREATE ON SCHEMA {quoted(schema)} FROM {quoted_role(role)};"
                for role in roles
            ),
            f"extension {extension}",
        )


@check(Area.SECURITY, "Extensions that are behind the version that is installed", every=DAILY)
def extension_versions(context: Context) -> Iterator[Reported]:
    """After an upgrade of the server an extension in the database stays at its old version, with
    the faults that the new one mends, until somebody updates it.
    """
    for name, installed, available in context.rows(_VERSIONS):
        gone = available is None
        yield Reported(
            name,
            Severity.WARNING,
            f"The server has no files for the extension {name}"
            if gone
            else f"The extension {name} is not at the version the server has",
            f"The database has version {installed}, and the server none: what the extension does "
            "fails, and so will an upgrade and a restore."
            if gone
            else f"The database has {installed}, the server {available}.",
            as_superuser(
                f"DROP EXTENSION {quoted(name)};"
                if gone
                else f"ALTER EXTENSION {quoted(name)} UPDATE;"
            ),
            f"extension {name}",
        )


_FUNCTIONS = f"""
    SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
        n.nspname::text, p.proname::text, pg_get_userbyid(p.proowner)::text, p.prosecdef,
        EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%'),
        p.prosqlbody IS NOT NULL,
        ARRAY(SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC'
                  ELSE pg_get_userbyid(a.grantee)::text END
              FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
              WHERE p.prosecdef AND a.grantee <> p.proowner ORDER BY 1)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    -- Aggregates have no settings of their own.
    WHERE p.prokind <> 'a' AND {NOT_OURS} AND NOT EXISTS (
        SELECT FROM pg_depend e
        WHERE e.objid = p.oid AND e.classid = 'pg_proc'::regclass AND e.deptype = 'e')
    ORDER BY 1
"""  # noqa: S608 (constants)
_EXTENSIONS_WITHIN_REACH = """
    SELECT x.extname::text, n.nspname::text, array_agg(DISTINCT
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END)
    FROM pg_extension x
    JOIN pg_namespace n ON n.oid = x.extnamespace, aclexplode(n.nspacl) a
    WHERE a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
      AND a.grantee NOT IN (SELECT oid FROM pg_roles WHERE rolsuper OR rolname = %s)
      AND n.nspname <> 'pg_catalog'
    GROUP BY 1, 2 ORDER BY 1
"""
_VERSIONS = """
    SELECT x.extname::text, x.extversion, v.default_version
    FROM pg_extension x LEFT JOIN pg_available_extensions v ON v.name = x.extname
    WHERE x.extversion IS DISTINCT FROM v.default_version ORDER BY 1
"""
