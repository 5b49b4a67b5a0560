"""Every damaged backup of the corpus fails its drill, at its step, for its own reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.backups import scratch as scratching
from ops.backups.scratch import Scratch
from ops.models import BackupKind
from ops.progress import Counter
from ops.restores.drills.ladder import Outcome, climb
from ops.restores.drills.steps.dumps import DumpRehearsal
from tests.ops.backups.corpus import Case, Sample, Stock, stocked
from tests.ops.backups.corpus_signed import CONTENTS, DEEP, OPENED
from tests.ops.backups.corpus_stored import MANIFESTS, STORED
from tests.ops.restores.drilling import failure, row_of

READ = [*STORED, *MANIFESTS, *OPENED, *CONTENTS]
# Manifests that can be read and are signed; what they say is not what is there.
SIGNED = {"no proof", "no object", "another raw size"}
# What only a restore can tell, and the step that tells it.
STEPS = {
    "a value changed": "content",
    "a row that breaks a key": "restore",
}


@pytest.fixture(scope="module")
def stock(django_test_environment: None, django_db_blocker: Any) -> Iterator[Stock]:
    """Good backups of each kind that a case damages."""

    def make(stock: Stock) -> None:
        stock.take("full")
        stock.take("other", label="other")
        stock.take("plain", encrypt=False)
        stock.take("schema", kind=BackupKind.SCHEMA)
        stock.take("data", kind=BackupKind.DATA)
        stock.take("tables", kind=BackupKind.TABLES, tables=("customer",))

    with django_db_blocker.unblock(), stocked(make) as found:
        yield found


@pytest.fixture(scope="module")
def scratch_server(stock: Stock) -> Iterator[Scratch]:
    """One server for all that only a restore can tell."""
    with scratching.scratch() as found:
        yield found


def climbed(sample: Sample, server: Scratch | None = None) -> list[Outcome]:
    """Climb the ladder of a sample, which no catalogue knows."""
    with DumpRehearsal(row_of(sample), Counter(), server=server) as rehearsal:
        return climb(rehearsal.steps(), Counter(), lambda outcomes: None)


@pytest.mark.parametrize("case", READ, ids=lambda case: case.id)
def test_what_reading_can_tell_fails_before_anything_is_restored(
    case: Case, stock: Stock, tmp_path: Path
) -> None:
    sample = stock.sample(case.which, tmp_path)
    case.damage(sample)

    step, why = failure(climbed(sample))

    assert step == ("ended" if case in MANIFESTS and case.id not in SIGNED else "checksum")
    assert re.search(case.reason, why)


@pytest.mark.parametrize("case", DEEP, ids=lambda case: case.id)
def test_what_only_a_restore_can_tell_fails_at_its_step(
    case: Case, stock: Stock, scratch_server: Scratch, tmp_path: Path
) -> None:
    sample = stock.sample(case.which, tmp_path)
    case.damage(sample)

    step, why = failure(climbed(sample, scratch_server))

    assert step == STEPS.get(case.id, "structure")
    assert re.search(case.reason, why)
