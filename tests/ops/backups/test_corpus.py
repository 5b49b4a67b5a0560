"""Damaged and wrong backups, each refused for its own reason; and good ones, of which none is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from ops.backups import scratch as scratching
from ops.backups.deep import prove
from ops.backups.errors import DamagedError, DisprovenError, MissingObjectError, StorageError
from ops.backups.inspection import inspect
from ops.backups.scratch import Scratch
from ops.backups.vault import Vault
from ops.models import BackupKind
from ops.progress import Counter
from tests.ops.backups.corpus import Case, Sample, Stock, stocked
from tests.ops.backups.corpus_signed import CONTENTS, DEEP, OPENED
from tests.ops.backups.corpus_stored import MANIFESTS, STORED


@pytest.fixture(scope="module")
def stock(django_test_environment: None, django_db_blocker: Any) -> Iterator[Stock]:
    """Good backups of each logical kind."""

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
def server(stock: Stock) -> Iterator[Scratch]:
    """One scratch server for all that only content can tell."""
    with scratching.scratch() as found:
        yield found


def check(sample: Sample) -> None:
    inspect(sample.name, sample.vault, Counter())


REFUSED = [*STORED, *MANIFESTS, *OPENED, *CONTENTS]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_it_is_refused_for_its_own_reason(case: Case, stock: Stock, tmp_path: Path) -> None:
    sample = stock.sample(case.which, tmp_path)

    case.damage(sample)

    with pytest.raises((DamagedError, StorageError), match=case.reason):
        check(sample)


@pytest.mark.parametrize("case", DEEP, ids=lambda case: case.id)
def test_what_only_content_can_tell_is_refused_by_a_restore(
    case: Case, stock: Stock, server: Scratch, tmp_path: Path
) -> None:
    sample = stock.sample(case.which, tmp_path)
    case.damage(sample)

    seen = inspect(sample.name, sample.vault, Counter())  # it is whole, and as it was signed

    with pytest.raises(DisprovenError, match=case.reason):
        prove(seen, sample.vault, Counter(), server=server)


# --- what is not there ---------------------------------------------------------------------------


def test_a_missing_archive_is_missing(stock: Stock, tmp_path: Path) -> None:
    sample = stock.sample("full", tmp_path)
    sample.path.unlink()

    with pytest.raises(MissingObjectError, match=rf"{sample.path.name} is not in the storage"):
        check(sample)


def test_an_archive_without_manifest_is_no_backup(stock: Stock, tmp_path: Path) -> None:
    sample = stock.sample("full", tmp_path)
    sample.manifest_path.unlink()

    with pytest.raises(MissingObjectError, match=rf"manifests/{sample.name}\.json is not in the"):
        check(sample)


def test_a_folder_that_is_away_is_no_loss(stock: Stock, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"is not there, so nothing is known") as caught:
        inspect(stock.names["full"], Vault.folder(tmp_path / "not mounted"), Counter())

    assert not isinstance(caught.value, MissingObjectError)


# --- good ones -----------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["full", "plain", "schema", "data", "tables"])
def test_no_good_one_is_refused(which: str, stock: Stock, server: Scratch, tmp_path: Path) -> None:
    sample = stock.sample(which, tmp_path)

    seen = inspect(sample.name, sample.vault, Counter())

    assert seen.unread == ""
    with stock.in_the_catalogue("schema", "full"):
        said = prove(seen, sample.vault, Counter(), server=server)
    assert said.startswith("Restored")
    assert "equal: " in said


def test_one_signed_with_a_former_key_is_good(stock: Stock, tmp_path: Path) -> None:
    sample = stock.sample("full", tmp_path)
    sample.sign("a former signing key")

    assert inspect(sample.name, sample.vault, Counter()).unread == ""


def test_one_that_cannot_be_opened_here_is_whole_and_unread(
    stock: Stock, settings: Settings, tmp_path: Path
) -> None:
    settings.BACKUP_AGE_IDENTITY_FILES = []
    sample = stock.sample("full", tmp_path)

    seen = inspect(sample.name, sample.vault, Counter())

    assert seen.unread.startswith("It is encrypted to age1")
    sample.flip(sample.size // 2)
    with pytest.raises(DamagedError, match="was changed after it was stored"):
        check(sample)
