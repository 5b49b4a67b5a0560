"""Faults of the whole server, planted in a transaction that is never committed.

Roles belong to every database, and other tests run on the same server: what is planted is seen by
the check within the transaction that plants it, and by nobody else.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from django.utils import timezone

from ops.health.context import Context
from ops.health.contract import Check, Reported
from ops.health.running import run_checks
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.runs import OWNER
from tests.harness import database
from tests.ops.health.conftest import Patient


def found_with(patient: Patient, check: Check, *statements: str) -> dict[str, Reported]:
    """What a check reports within a transaction in which a superuser ran statements."""
    found, _ = looked_at(patient, check, *statements)
    return found


def looked_at(
    patient: Patient, check: Check, *statements: str, ask: str = "SELECT"
) -> tuple[dict[str, Reported], list[tuple[Any, ...]]]:
    """As found_with, and the rows that a query has there."""
    with closing(database.connect(patient.name)) as connection:
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement)
        rows = connection.execute(ask).fetchall()
        context = Context(Endpoint.of(OWNER), timezone.now())
        context._connection = connection
        (outcome,) = run_checks([check], context, {}, Counter())
        connection.execute("ROLLBACK")
    assert outcome.is_complete, outcome.reported
    return {each.key: each for each in outcome.reported}, rows


def steps(found: dict[str, Reported]) -> list[str]:
    """Every statement of the next steps, in their order."""
    return [line for each in found.values() for line in each.next_step.splitlines()]
