"""Triggers that no statement of a request can talk its way around.

Rules and history are triggers, and whoever can send SQL as a request's role has two ways to trick a
trigger: the setting `pgtrigger.ignore`, by which django-pgtrigger lets any session switch triggers
off, and a temporary table that hides a real one from the trigger's function. After every migration
both are closed: only the owner may switch a trigger off (loading rows that are complete already),
and every trigger's function looks for tables in `public` before it looks among temporary ones.
"""

from __future__ import annotations

from typing import Any

from django.db import connections

from ops.postgres.roles import OWNER

SEARCH_PATH = "search_path=public, pg_temp"
_OWNER_ONLY = f"%current_user = '{OWNER}'%"

# django-pgtrigger writes its own version whenever it installs a trigger.
_IGNORE_SQL = f"""
    CREATE OR REPLACE FUNCTION public._pgtrigger_should_ignore(trigger_name name)
    RETURNS boolean AS $$
    BEGIN
        RETURN current_user = '{OWNER}'
            AND trigger_name = ANY (
                coalesce(nullif(current_setting('pgtrigger.ignore', true), ''), '{{}}')::text[]);
    END;
    $$ LANGUAGE plpgsql STABLE
"""

# By the catalog alone: a login without rights on the schema may ask as well.
_UNGUARDED = """
    SELECT p.oid::regprocedure::text FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace
      AND (p.oid IN (SELECT tgfoid FROM pg_trigger WHERE NOT tgisinternal)
           -- What the libraries' own triggers call.
           OR p.proname IN ('_pgtrigger_should_ignore', '_pgh_attach_context'))
      AND NOT coalesce(%s = ANY (p.proconfig), false)
    ORDER BY 1
"""
_SWITCH = """
    SELECT prosrc LIKE %s FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proname = '_pgtrigger_should_ignore'
"""


def guard_triggers(using: str) -> None:
    """Close both ways around the triggers of the database, as the owner."""
    with connections[using].cursor() as cursor:
        cursor.execute(_SWITCH, [_OWNER_ONLY])
        if cursor.fetchone() is not None:
            cursor.execute(_IGNORE_SQL)
        cursor.execute(_UNGUARDED, [SEARCH_PATH])
        for (function,) in cursor.fetchall():
            cursor.execute(f"ALTER FUNCTION {function} SET search_path = public, pg_temp")


def unguarded_functions(using: str) -> list[str]:
    """Functions of triggers that a request's statement could trick; none after a migration."""
    with connections[using].cursor() as cursor:
        return unguarded(cursor)


def unguarded(cursor: Any) -> list[str]:
    """As unguarded_functions, asked by any login of the database."""
    cursor.execute(_UNGUARDED, [SEARCH_PATH])
    found = {function for (function,) in cursor.fetchall()}
    cursor.execute(_SWITCH, [_OWNER_ONLY])
    row = cursor.fetchone()
    if row is not None and not row[0]:
        found.add("_pgtrigger_should_ignore(name)")
    return sorted(found)
