"""Each kind of object that no ordinary owner can make again is named, and restored all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from ops.backups.comparison import compare
from ops.backups.dump_restore import comparing
from ops.backups.dump_restore.administrator_needs import needs_of
from ops.backups.manifest import Manifest
from ops.backups.verify import ask_for_verification, verify_backup
from ops.models import Backup, BackupState, RestoreState
from ops.restores.complete.restore import ask_for_restore, restore
from ops.restores.errors import RefusedError
from ops.restores.requests import RestoreRequest
from tests.harness import database
from tests.ops.backups.conftest import ASKER
from tests.ops.backups.copies import proof_of, rolled_back
from tests.ops.backups.kinds.loading import Corpus, loaded

pytestmark = pytest.mark.long


# Schemas and tables are the owner's, who takes the backup; what is named is what is in them.
READABLE = """
    DO $$ DECLARE each record; BEGIN
      FOR each IN SELECT oid::regnamespace AS name, nspowner FROM pg_namespace
        WHERE nspname ~ '^k_' LOOP
        IF each.nspowner = 'postgres'::regrole THEN
          EXECUTE format('ALTER SCHEMA %s OWNER TO srvc_owner', each.name);
        ELSE EXECUTE format('GRANT USAGE ON SCHEMA %s TO srvc_owner', each.name); END IF;
      END LOOP;
      FOR each IN SELECT c.oid::regclass AS name, c.relowner, c.relkind FROM pg_class c
        WHERE c.relnamespace::regnamespace::text ~ '^k_' AND c.relkind IN ('r', 'p', 'f') LOOP
        IF each.relowner = 'postgres'::regrole THEN
          EXECUTE format('ALTER TABLE %s OWNER TO srvc_owner', each.name);
        ELSE EXECUTE format('GRANT SELECT ON %s TO srvc_owner', each.name); END IF;
      END LOOP; END $$
"""


@pytest.fixture(scope="module")
def corpus(
    django_test_environment: None, django_db_blocker: Any, worker_id: str
) -> Iterator[Corpus]:
    """Every kind that only an administrator can restore, and the one backup of them."""
    with django_db_blocker.unblock(), loaded(f"{worker_id}_refused", refused=True) as found:
        found.backups.execute(READABLE)
        # Of one whose handler belongs to an extension pg_dump writes no more than the name.
        found.backups.execute("DROP LANGUAGE k_language")
        found.backups.take()
        yield found


@pytest.fixture
def backup(corpus: Corpus) -> Backup:
    return Backup.objects.get(kind="full")


def test_each_is_named_for_what_it_is(corpus: Corpus, backup: Backup) -> None:
    assert corpus.unmade == {}
    assert len(corpus.kinds) >= 25
    # Functions and types of theirs are a superuser's, too; that is not what is asked.
    named = [
        name
        for need in needs_of(Manifest.of_row(backup.manifest))
        for name in need.objects
        if need.reason != "owned by postgres"
    ]
    unnamed = [
        kind.name
        for kind in corpus.kinds
        if kind.name != "language" and not any(kind.is_named_in(name) for name in named)
    ]
    assert unnamed == []


def test_each_is_proven_refused_and_restored_equal_by_an_administrator(
    corpus: Corpus, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "SHOWN", 10_000)
    verify_backup(ask_for_verification(backup, by=ASKER, deep=True))
    found = Backup.objects.get(pk=backup.pk)
    assert found.state == BackupState.PROVEN, found.state_note

    copy = f"{corpus.name}_copy"
    request = RestoreRequest(backup=backup.name, as_name=copy)
    with pytest.raises(RefusedError):
        restore(ask_for_restore(request, by=ASKER))

    monkeypatch.setenv("DATABASE_ADMIN_URL", make_conninfo(**database.admin()))
    assert restore(ask_for_restore(request, by=ASKER)).state == RestoreState.BESIDE
    with rolled_back(corpus.name) as live, rolled_back(copy) as restored:
        differences = compare(proof_of(live), proof_of(restored))
    assert [str(each) for each in differences if ".ops_" not in str(each)] == []
