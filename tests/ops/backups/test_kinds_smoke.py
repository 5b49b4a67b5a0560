"""Health checks and recovery meet every kind of object, and neither falls over one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from ops.health.context import Context
from ops.health.running import run_checks
from ops.health.selection import all_checks
from ops.models import CheckState, RecoveryState
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.restores.errors import RefusedError
from ops.restores.partial.recover import ask_for_recovery, recover
from ops.restores.requests import RecoverRequest
from ops.runs import OWNER
from tests.ops.backups.conftest import ASKER
from tests.ops.backups.kinds.loading import Corpus, loaded

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def corpus(
    django_test_environment: None, django_db_blocker: Any, worker_id: str
) -> Iterator[Corpus]:
    """Every kind that the owner's login can make."""
    with django_db_blocker.unblock(), loaded(f"{worker_id}_smoke", refused=False) as found:
        yield found


def test_no_check_fails(corpus: Corpus) -> None:
    context = Context(Endpoint.of(OWNER), timezone.now())
    try:
        outcomes = list(run_checks(all_checks(), context, {}, Counter()))
    finally:
        context.close()
    assert [each.check.name for each in outcomes if each.state == CheckState.FAILED] == []


def test_the_rows_of_every_table_with_a_key_are_compared(corpus: Corpus) -> None:
    corpus.backups.take()
    with corpus.backups.connect() as connection:
        titles = [title for (title,) in connection.execute(_WITH_A_KEY).fetchall()]
    assert len(titles) > 10

    found = recover(ask_for_recovery(RecoverRequest(tables=tuple(titles), dry_run=True), by=ASKER))

    assert found.state == RecoveryState.PREVIEWED


def test_a_table_without_a_key_is_refused(corpus: Corpus) -> None:
    request = RecoverRequest(tables=("k_table_plain.t",), dry_run=True)
    corpus.backups.take()

    with pytest.raises(RefusedError, match="no primary key"):
        recover(ask_for_recovery(request, by=ASKER))


_WITH_A_KEY = b"""
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indimmediate
    WHERE n.nspname LIKE 'k\\_%' AND c.relkind IN ('r', 'p') AND NOT i.indisexclusion
      AND NOT c.relispartition  -- its rows are recovered through the whole table
      AND i.indnatts = i.indnkeyatts  -- one with further columns is refused
    ORDER BY 1
"""
