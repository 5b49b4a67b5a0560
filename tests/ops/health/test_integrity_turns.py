"""What does not fit into one run comes first in the next; nothing found is forgotten meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from django.utils import timezone

from ops.health.checks import rows
from ops.health.checks.references import Reference, references
from ops.health.checks.rows import orphans
from ops.health.context import Context
from ops.health.contract import Reported
from ops.models import CheckState
from tests.harness import database
from tests.ops.health.conftest import Patient

KEY = "public.child.to_parent"


@pytest.fixture
def orphaned(patient: Patient) -> Patient:
    """Return a database with an orphan that was found, and a parent for it that is back."""
    patient.execute(
        "SET ROLE srvc_owner",
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (parent int)",
        "INSERT INTO child VALUES (1)",
        "ALTER TABLE child ADD CONSTRAINT to_parent FOREIGN KEY (parent) REFERENCES parent"
        " NOT VALID",
    )
    assert sorted(patient.found(orphans, deep=True)) == [KEY]
    patient.execute("INSERT INTO parent VALUES (1)")
    return patient


def test_one_that_is_not_looked_at_again_stays_found_until_its_turn(
    orphaned: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_ORPHANS_SECONDS", 0.0)
    assert sorted(orphaned.found(orphans)) == [KEY]
    monkeypatch.setattr(rows, "_ORPHANS_SECONDS", 600.0)
    assert orphaned.found(orphans) == {}


def test_the_longest_unseen_comes_first(orphaned: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def note(context: Context, some: Sequence[Reference]) -> Iterator[str]:
        looked.extend(each.key for each in some)
        return iter(())

    monkeypatch.setattr(rows, "any_of", note)
    monkeypatch.setattr(rows, "_ORPHANS_SECONDS", 600.0)
    orphaned.memories["orphans"][KEY][2] = 5  # tried in 1970
    orphaned.run(orphans)
    assert looked[0] == KEY
    looked.clear()
    del orphaned.memories["orphans"][min(orphaned.memories["orphans"])]
    orphaned.run(orphans)
    assert looked[0] != KEY


def test_a_locked_table_is_not_waited_for_and_not_taken_for_well(orphaned: Patient) -> None:
    with database.connect(orphaned.name) as other, other.transaction():
        other.execute("LOCK TABLE child")
        outcome = orphaned.run(orphans, deep=True)
    assert outcome.state == CheckState.BLIND
    told = {each.key: each for each in outcome.reported}
    assert sorted(told) == ["!blind", KEY]
    assert "locked" in told["!blind"].detail
    assert orphaned.found(orphans, deep=True) == {}


def test_one_that_takes_too_long_is_told_with_what_gives_it_time(
    orphaned: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(context: Context, reference: Reference) -> list[Reported]:
        context.limit(0.05)
        context.rows("SELECT pg_sleep(30)")
        return []

    def only_ours(context: Context) -> list[Reference]:
        return [each for each in references(context) if each.key == KEY]

    monkeypatch.setattr(rows, "references", only_ours)
    orphaned.memories.clear()
    with monkeypatch.context() as patched:
        patched.setattr(rows, "_orphans_of", slow)
        outcome = orphaned.run(orphans)
    assert outcome.state == CheckState.BLIND
    (told,) = outcome.reported
    assert "1 of 1 references take longer than a regular run may" in told.detail
    assert told.next_step == "manage.py health --check orphans --deep"
    # It is not tried again within a day, and is not well for that.
    assert orphaned.run(orphans).state == CheckState.BLIND
    assert orphaned.found(orphans, deep=True) == {}
    assert orphaned.found(orphans) == {}


def test_what_was_not_looked_at_for_too_long_is_told(
    orphaned: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_ORPHANS_SECONDS", 0.0)
    long_ago = int((timezone.now() - timedelta(days=8)).timestamp())
    for seen in orphaned.memories["orphans"].values():
        seen[0] = seen[1] = long_ago
    outcome = orphaned.run(orphans)
    assert outcome.state == CheckState.BLIND
    blind = next(each for each in outcome.reported if each.key == "!blind")
    assert "references were not looked at for too long" in blind.detail
    assert blind.next_step == "manage.py health --check orphans --deep"
    orphaned.run(orphans, orphans_days=9)
    assert orphaned.run(orphans, orphans_days=9).state == CheckState.FOUND
