"""Logins of fewer rights than the owner's: what such a one can't see it has to tell.

Roles belong to the whole server, where other tests run: what is taken away is taken away within the
transaction that the check runs in, and that is never committed.
"""

from __future__ import annotations

from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import psycopg
from django.utils import timezone

from ops.health.context import Context, _Marking
from ops.health.contract import Check
from ops.health.running import Outcome, run_checks
from ops.health.thresholds import Thresholds
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.runs import OWNER
from tests.harness import database
from tests.ops.health.conftest import Patient


@dataclass(frozen=True)
class Perspective:
    """Who looks, and what is taken away before."""

    name: str
    takes: tuple[str, ...] = ()  # run by a superuser before the role is taken
    role: str = "srvc_owner"


# What is in another schema than public becomes another role's, which gives the owner nothing.
_TO_ANOTHER = """
DO $$ DECLARE each record; BEGIN
    FOR each IN SELECT format('ALTER TABLE %I.%I OWNER TO pg_checkpoint', n.nspname, c.relname)
            AS statement
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_'
          AND n.nspname NOT IN ('public', 'information_schema')
        UNION ALL SELECT format('ALTER SCHEMA %I OWNER TO pg_checkpoint', n.nspname)
        FROM pg_namespace n WHERE n.nspname !~ '^pg_'
          AND n.nspname NOT IN ('public', 'information_schema')
    LOOP EXECUTE each.statement; END LOOP;
END $$
"""
NO_STATISTICS = Perspective("the owner without pg_monitor", ("REVOKE pg_monitor FROM srvc_owner",))
# A predefined role, so that none has to be made: it owns nothing here and may nothing.
STRANGER = Perspective("a login that may only enter", role="pg_checkpoint")
HELD = Perspective("the owner, held by row security", ("ALTER ROLE srvc_owner NOBYPASSRLS",))
ANOTHERS = Perspective("the owner, and the tables are another's", (_TO_ANOTHER,))
NO_SETTINGS = Perspective(
    "the owner without pg_read_all_settings",
    (
        "REVOKE pg_monitor FROM srvc_owner",
        "GRANT pg_read_all_stats, pg_stat_scan_tables TO srvc_owner",
    ),
)
NO_STATEMENTS = Perspective(
    "the owner without pg_stat_statements", ("DROP EXTENSION IF EXISTS pg_stat_statements CASCADE",)
)
# Those by which every planted fault is looked at.
OF_FAULTS = (STRANGER, NO_STATISTICS, HELD, ANOTHERS)
ALL = (*OF_FAULTS, NO_SETTINGS, NO_STATEMENTS)


def seen_by(
    perspective: Perspective, patient: Patient, check: Check, *, deep: bool = False, **limits: Any
) -> Outcome:
    """What a check comes to by such a login. What it remembers is not kept."""
    context = Context(Endpoint.of(OWNER), timezone.now(), limits=Thresholds(**limits), deep=deep)
    superuser = {**database.admin(), "dbname": patient.name}
    with closing(
        psycopg.connect(**superuser, autocommit=True, cursor_factory=_Marking)
    ) as connection:
        connection.execute("BEGIN")
        for statement in perspective.takes:
            connection.execute(statement.encode())
        connection.execute(f"SET LOCAL ROLE {perspective.role}".encode())
        context._connection = connection
        (outcome,) = run_checks([check], context, deepcopy(patient.memories), Counter())
        if not connection.broken:
            connection.execute("ROLLBACK")
    return outcome
