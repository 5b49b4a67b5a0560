"""Damaged and wrong copies of a server's files: refused for their own reasons, good ones proven.

Their drills fail at the step that tells, with that very reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from ops.backups.deepphysical import prove_physical
from ops.backups.errors import DamagedError, DisprovenError, MissingObjectError
from ops.backups.inspection import inspect
from ops.models import BackupKind
from ops.progress import Counter
from ops.restores.drills.ladder import climb
from ops.restores.drills.steps.copies import CopyRehearsal
from tests.harness import run
from tests.harness.database import connect as superuser
from tests.ops.backups.corpus import Case, Stock, stocked
from tests.ops.backups.corpus_physical import CASES, DEEP, beside, parent
from tests.ops.backups.replicating import server_of_a_module
from tests.ops.restores.drilling import failure, row_of

server = server_of_a_module()

# What a drill finds out before it reads every byte, and what only later.
ENDED = {"incremental: said to be a base"}
LATER = {
    "a damaged block that every manifest agrees with": "rows",
    "another end": "restore",
    "no witness, and other definitions": "structure",
}


@pytest.fixture(scope="module")
def stock(server: object, django_db_blocker: Any) -> Iterator[Stock]:
    """A base, an incremental backup that adds to it, and another base."""

    def make(stock: Stock) -> None:
        # The fewer files, the quicker every case.
        with superuser() as connection:
            connection.execute(f"DROP DATABASE {run.name()}_template".encode())
        stock.copy("base", BackupKind.BASE)
        stock.execute("CREATE TABLE later AS SELECT n, md5(n::text) FROM generate_series(1, 99) n")
        stock.copy("incremental", BackupKind.INCREMENTAL)
        stock.copy("other", BackupKind.BASE)

    with django_db_blocker.unblock(), stocked(make, content="SELECT 1") as found:
        yield found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_it_is_refused_for_its_own_reason(case: Case, stock: Stock, tmp_path: Path) -> None:
    sample = stock.sample(case.which, tmp_path)
    case.damage(sample)

    with pytest.raises(DamagedError, match=case.reason):
        inspect(sample.name, sample.vault, Counter())


@pytest.mark.parametrize("case", [*CASES, *DEEP], ids=lambda case: case.id)
def test_its_drill_fails_at_the_step_that_tells(case: Case, stock: Stock, tmp_path: Path) -> None:
    sample = stock.sample(case.which, tmp_path)
    case.damage(sample)

    with CopyRehearsal(row_of(sample), Counter()) as rehearsal:
        step, why = failure(climb(rehearsal.steps(), Counter(), lambda outcomes: None))

    assert step == LATER.get(case.id, "ended" if case.id in ENDED else "checksum")
    # The witness is looked for once definitions are as they were.
    assert re.search(case.reason.partition(r"\. Run")[0], why)


def test_postgresqls_manifest_gone_is_missing(stock: Stock, tmp_path: Path) -> None:
    sample = stock.sample("base", tmp_path)
    beside(sample).unlink()

    with pytest.raises(MissingObjectError, match=r"backup_manifest\.zst is not in the storage"):
        inspect(sample.name, sample.vault, Counter())


@pytest.mark.parametrize("case", DEEP, ids=lambda case: case.id)
def test_what_only_a_start_can_tell(case: Case, stock: Stock, tmp_path: Path) -> None:
    sample = stock.sample(case.which, tmp_path)
    case.damage(sample)

    with pytest.raises(DisprovenError, match=case.reason):
        prove_physical(sample.manifest_now, sample.vault, Counter())


# --- good ones -----------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["base", "incremental"])
def test_a_good_one_is_readable(which: str, stock: Stock, tmp_path: Path) -> None:
    sample = stock.sample(which, tmp_path)

    assert inspect(sample.name, sample.vault, Counter()).unread == ""


@pytest.mark.parametrize("which", ["base", "incremental"])
def test_a_good_one_is_proven(which: str, stock: Stock, tmp_path: Path) -> None:
    sample = stock.sample(which, tmp_path)

    said = prove_physical(sample.manifest, sample.vault, Counter())

    assert re.fullmatch(
        r"Restored and started: (2 links combined, )?\d+ tables, \d+ rows, every index and block\.",
        said,
    )


def test_a_chain_that_cannot_be_opened_here_is_hashed_link_by_link(
    stock: Stock, settings: Settings, tmp_path: Path
) -> None:
    settings.BACKUP_AGE_IDENTITY_FILES = []
    sample = stock.sample("incremental", tmp_path)

    assert inspect(sample.name, sample.vault, Counter()).unread.startswith("It is encrypted to")
    parent(sample).flip(99)
    with pytest.raises(DamagedError, match=r"-base-\w+\.tar\.zst\.age was changed after"):
        inspect(sample.name, sample.vault, Counter())
