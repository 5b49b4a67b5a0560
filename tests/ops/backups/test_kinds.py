"""Each kind of object is proven and restored equal, and the fingerprint sees a change of it.

What a kind is stands in `kinds`, a line each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from ops.backups.comparison import compare
from ops.backups.dump_restore import comparing
from ops.backups.fingerprint import definitions
from ops.backups.placement import gathered, rehashed_partitions
from ops.backups.verify import ask_for_verification, verify_backup
from ops.models import Backup, BackupState, RestoreState
from ops.restores.complete.restore import ask_for_restore, restore
from ops.restores.requests import RestoreRequest
from tests.ops.backups.conftest import ASKER
from tests.ops.backups.copies import proof_of, rolled_back
from tests.ops.backups.kinds import KINDS, Kind
from tests.ops.backups.kinds.loading import Corpus, changed, loaded

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def corpus(
    django_test_environment: None, django_db_blocker: Any, worker_id: str
) -> Iterator[Corpus]:
    """Every kind that the owner's login can make."""
    with django_db_blocker.unblock(), loaded(f"{worker_id}_kinds", refused=False) as found:
        yield found


@pytest.fixture(scope="module")
def administrators(
    django_test_environment: None, django_db_blocker: Any, worker_id: str
) -> Iterator[Corpus]:
    """Every kind that takes an administrator to restore it."""
    with django_db_blocker.unblock(), loaded(f"{worker_id}_admins", refused=True) as found:
        yield found


def told_of(kinds: tuple[Kind, ...], texts: list[str]) -> Mapping[str, list[str]]:
    """Return what texts say, by the kind they speak of; "" for what is of none."""
    found: dict[str, list[str]] = {}
    for text in texts:
        names = [kind.name for kind in kinds if kind.is_named_in(text)] or [""]
        for name in names:
            found.setdefault(name, []).append(text)
    return found


def test_there_are_kinds_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(KINDS) >= 350
    assert len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("which", ["corpus", "administrators"])
def test_every_kind_can_be_made_and_the_fingerprint_sees_a_change_of_it(
    which: str, request: pytest.FixtureRequest
) -> None:
    corpus: Corpus = request.getfixturevalue(which)
    assert corpus.unmade == {}
    kinds = tuple(kind for kind in corpus.kinds if kind.change)
    with rolled_back(corpus.name) as connection:
        before = definitions(connection)
        unchanged = changed(connection, kinds)
        after = definitions(connection)
    assert unchanged == {}
    differing = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    seen = told_of(kinds, differing)
    assert [kind.name for kind in kinds if kind.name not in seen] == []


def test_every_kind_is_proven_and_restored_equal(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "SHOWN", 10_000)
    taken = corpus.backups.take()

    verify_backup(ask_for_verification(taken, by=ASKER, deep=True))

    found = Backup.objects.get(pk=taken.pk)
    assert told_of(corpus.kinds, _sentences(found)) == {}

    copy = f"{corpus.name}_copy"
    request = RestoreRequest(backup=taken.name, as_name=copy)
    done = restore(ask_for_restore(request, by=ASKER))
    assert done.state == RestoreState.BESIDE
    with rolled_back(corpus.name) as live, rolled_back(copy) as restored:
        whole = rehashed_partitions(restored)
        before, after = (
            replace(proof, tables=gathered(proof.tables, whole))
            for proof in (proof_of(live), proof_of(restored))
        )
    differences = compare(before, after)
    ours = [str(each) for each in differences if ".ops_" not in str(each)]
    assert told_of(corpus.kinds, ours) == {}


def _sentences(backup: Backup) -> list[str]:
    return [] if backup.state == BackupState.PROVEN else backup.state_note.split(". ")
