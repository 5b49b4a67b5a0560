"""A database of the test's own, to plant faults in and to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.utils import timezone

from ops.health.context import Context
from ops.health.contract import Check, Reported
from ops.health.running import Outcome, run_checks
from ops.health.thresholds import Thresholds
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.runs import OWNER
from tests.harness import database
from tests.ops.health.commanding import manage  # noqa: F401 (a fixture)


@dataclass
class Patient:
    """The database, and ways to hurt it, mend it and look at it."""

    name: str
    # What checks kept since the test began, as between two runs.
    memories: dict[str, dict[str, Any]] = field(default_factory=dict)

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the server's superuser, each committed; returns the last one's rows."""
        rows: list[tuple[Any, ...]] = []
        with database.connect(self.name) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def make_room_for_statements(self) -> None:
        """Let pg_stat_statements forget databases that are gone.

        It keeps what ran in all tests' databases together, and when it is full those statements go
        that ran least: the ones of a test that has just begun.
        """
        self.execute(
            "SELECT pg_stat_statements_reset(0, gone.dbid, 0) FROM"
            " (SELECT DISTINCT dbid FROM pg_stat_statements(false)"
            "  WHERE dbid NOT IN (SELECT oid FROM pg_database)) AS gone"
        )

    def run(self, check: Check, *, deep: bool = False, **limits: Any) -> Outcome:
        """Run one check as the owner's login, as of now, with some thresholds changed."""
        context = Context(
            Endpoint.of(OWNER), timezone.now(), limits=Thresholds(**limits), deep=deep
        )
        try:
            (outcome,) = run_checks([check], context, self.memories, Counter())
        finally:
            context.close()
        if outcome.memory:
            self.memories[check.name] = outcome.memory
        return outcome

    def found(self, check: Check, *, deep: bool = False, **limits: Any) -> dict[str, Reported]:
        """What a check reports, by key; the check must have seen everything."""
        outcome = self.run(check, deep=deep, **limits)
        assert outcome.is_complete, outcome.reported
        return {each.key: each for each in outcome.reported}


@pytest.fixture
def patient(fresh_database: str) -> Iterator[Patient]:
    """Return a healthy database."""
    return Patient(fresh_database)
