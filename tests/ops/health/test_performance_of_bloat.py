"""Room that holds no rows is estimated without reading a table, and gone when it is given back."""

from __future__ import annotations

from typing import Any

from ops.health.checks.bloat import bloated_indexes, bloated_tables, hot_updates
from ops.models import CheckState, Severity
from tests.ops.health.conftest import Patient
from tests.ops.health.stepping import take

FLUSH = "SELECT pg_stat_force_next_flush()"
SMALL: dict[str, Any] = {"table_bloat_bytes": 1_000_000, "index_bloat_bytes": 200_000}


def test_a_table_and_an_index_full_of_nothing_are_told_until_made_anew(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE public.big (n int PRIMARY KEY, told text, maybe int)"
        " WITH (autovacuum_enabled = off)",
        "INSERT INTO public.big SELECT n, repeat('x', n % 200) || n, nullif(n % 3, 0)"
        " FROM generate_series(1, 30000) n",
        "CREATE INDEX lowered ON public.big (lower(told), maybe)",
        "VACUUM (ANALYZE) public.big",
    )
    # Statistics tell of rows, so they are for those who may read them.
    outcome = patient.run(bloated_tables, **SMALL)
    assert outcome.state == CheckState.BLIND
    take(patient, outcome.reported[0].next_step)
    assert patient.run(bloated_tables, **SMALL).is_complete
    patient.execute("ALTER TABLE public.big OWNER TO srvc_owner")
    # Nothing of what a healthy table and healthy indexes take counts as wasted.
    assert patient.found(bloated_tables, **SMALL, table_bloat_share=0.1) == {}
    assert patient.found(bloated_indexes, **SMALL, index_bloat_share=0.2) == {}
    patient.execute("DELETE FROM public.big WHERE n % 20 > 0", "VACUUM (ANALYZE) public.big")
    (table,) = patient.found(bloated_tables, **SMALL).values()
    assert (table.key, table.severity) == ("public.big", Severity.WARNING)
    assert table.title == "Most of public.big is empty room"
    assert table.detail.startswith("About 4 MB of 4 MB hold no rows.")
    assert table.next_step == "VACUUM (FULL, ANALYZE) public.big;"
    # One that is all but empty is told from a smaller size on.
    assert patient.found(bloated_tables) == {}
    assert set(patient.found(bloated_tables, hollow_table_bytes=1_000_000)) == {"public.big"}
    indexes = patient.found(bloated_indexes, **SMALL)
    assert set(indexes) == {"public.big_pkey", "public.lowered"}
    told = indexes["public.big_pkey"]
    assert told.severity == Severity.WARNING
    assert told.next_step == "REINDEX INDEX CONCURRENTLY public.big_pkey;"
    patient.execute(*(each.next_step for each in indexes.values()))
    patient.execute("VACUUM (ANALYZE) public.big")
    assert patient.found(bloated_indexes, **SMALL) == {}
    patient.execute(table.next_step)
    assert patient.found(bloated_tables, **SMALL) == {}


def test_what_was_never_analyzed_is_not_guessed_at(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE public.big (n int, j json) WITH (autovacuum_enabled = off)",
        "INSERT INTO public.big SELECT n, '{}' FROM generate_series(1, 30000) n",
        "DELETE FROM public.big WHERE n % 20 > 0", "VACUUM public.big",
        "ALTER TABLE public.big OWNER TO srvc_owner",
    )  # fmt: skip
    outcome = patient.run(bloated_tables, table_bloat_bytes=1000)
    assert outcome.state == CheckState.BLIND
    assert "public.big" in outcome.reported[0].detail
    take(patient, outcome.reported[0].next_step)
    assert "public.big" in patient.found(bloated_tables, table_bloat_bytes=1000)


def test_statistics_that_the_login_may_not_read_are_told_as_unseen(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE public.big (n int PRIMARY KEY, told text, hidden text)"
        " WITH (autovacuum_enabled = off)",
        "INSERT INTO public.big SELECT n, repeat('x', 100), '' FROM generate_series(1, 30000) n",
        "CREATE INDEX lowered ON public.big (lower(told), n)",
        "DELETE FROM public.big WHERE n % 20 > 0", "VACUUM (ANALYZE) public.big",
        "GRANT SELECT (told) ON public.big TO srvc_owner",
    )  # fmt: skip
    for check in (bloated_tables, bloated_indexes):
        outcome = patient.run(check, **SMALL)
        assert outcome.state == CheckState.BLIND, check.name
        assert "public.big" in outcome.reported[0].detail
    # The size from which on a hollow table is told is smaller.
    assert patient.run(bloated_tables, hollow_table_bytes=1_000_000).state == CheckState.BLIND
    take(patient, outcome.reported[0].next_step)
    assert "public.big" in patient.found(bloated_tables, **SMALL)
    outcome = patient.run(bloated_indexes, **SMALL)
    assert outcome.state == CheckState.BLIND  # what expressions hold is for the owner
    assert "expressions" in outcome.reported[-1].detail
    patient.execute("ALTER TABLE public.big OWNER TO srvc_owner")
    assert "public.big_pkey" in patient.found(bloated_indexes, **SMALL)


def test_updates_that_find_no_room_are_told_with_how_to_leave_some(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE public.filled (n int PRIMARY KEY, state int, told text)"
        " WITH (autovacuum_enabled = off)",
        "INSERT INTO public.filled SELECT n, 0, repeat('x', 500) FROM generate_series(1, 2000) n",
        "UPDATE public.filled SET state = 1 WHERE n % 2 = 0", FLUSH,
    )  # fmt: skip
    assert patient.found(hot_updates) == {}
    (found,) = patient.found(hot_updates, hot_updates=1000).values()
    assert (found.key, found.severity) == ("public.filled", Severity.INFO)
    assert found.title == "Updates of public.filled seldom spare its indexes"
    assert found.next_step == "ALTER TABLE public.filled SET (fillfactor = 90);"
    patient.execute(found.next_step)
    assert patient.found(hot_updates, hot_updates=1000) == {}
    # Those that are HOT are as they should be.
    assert patient.found(hot_updates, hot_updates=1000, hot_share=0.0) == {}


def test_updates_of_indexed_columns_are_told_where_the_server_tells_them_apart(
    patient: Patient,
) -> None:
    patient.execute(
        "CREATE TABLE public.moved (n int, told text) WITH (fillfactor = 20)",
        "INSERT INTO public.moved SELECT n, repeat('x', 100) FROM generate_series(1, 2000) n",
        "CREATE INDEX ON public.moved (n)", "UPDATE public.moved SET n = n + 1", FLUSH,
    )  # fmt: skip
    found = patient.found(hot_updates, hot_updates=1000)
    version = patient.execute("SELECT current_setting('server_version_num')::int")
    if version[0][0] < 160_000:
        assert found == {}
        return
    assert "changed a column of an index" in found["public.moved"].detail
    assert found["public.moved"].next_step == "manage.py inspect public.moved"
