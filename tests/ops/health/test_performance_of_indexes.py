"""References without an index, tables read whole, indexes nobody needs; and the advice works."""

from __future__ import annotations

import pytest

from ops.health.checks.indexes import (
    duplicate_indexes,
    missing_indexes,
    unindexed_references,
    unused_indexes,
)
from ops.models import Severity
from tests.ops.health.conftest import Patient

PARENT = "CREATE TABLE public.parent (a int, b int, PRIMARY KEY (a, b), UNIQUE (a))"


def test_a_reference_without_an_index_is_told_until_there_is_one(patient: Patient) -> None:
    assert patient.found(unindexed_references) == {}
    patient.execute(
        PARENT,
        'CREATE TABLE public."Child" ("order" int CONSTRAINT to_parent REFERENCES parent (a))',
        'CREATE INDEX ON public."Child" ("order") WHERE "order" > 5',
        'CREATE INDEX ON public."Child" USING brin ("order")',
    )
    (found,) = patient.found(unindexed_references).values()
    assert (found.key, found.severity) == ("public.Child.to_parent", Severity.INFO)
    assert found.title == "public.Child has no index on order, by which it refers to another"
    assert found.next_step == 'CREATE INDEX CONCURRENTLY ON public."Child" ("order");'
    (found,) = patient.found(unindexed_references, missing_index_rows=0).values()
    assert found.severity == Severity.WARNING
    patient.execute(found.next_step)
    assert patient.found(unindexed_references) == {}


@pytest.mark.parametrize(
    ("index", "serves"),
    [
        ("(a, b)", True),
        ("(b, a)", True),
        ("(b, a, c)", True),
        ("(a, b) WHERE a IS NOT NULL", True),
        ("(a, c, b)", False),
        ("(a)", False),
        ("(a, b) WHERE c = 1", False),
        ("((a + b))", False),
    ],
)
def test_of_several_columns_any_order_serves_that_begins_with_all(
    patient: Patient, index: str, serves: bool
) -> None:
    patient.execute(
        PARENT,
        "CREATE TABLE public.child (a int, b int, c int,"
        " CONSTRAINT both_ FOREIGN KEY (a, b) REFERENCES parent (a, b))",
        f"CREATE INDEX ON public.child {index}",
    )
    found = patient.found(unindexed_references)
    assert list(found) == ([] if serves else ["public.child.both_"])


def test_a_partitioned_table_is_told_once_with_sql_that_it_takes(patient: Patient) -> None:
    patient.execute(
        PARENT,
        "CREATE TABLE public.child (a int REFERENCES parent (a)) PARTITION BY RANGE (a)",
        "CREATE TABLE public.child_1 PARTITION OF child FOR VALUES FROM (0) TO (9)",
        "CREATE TABLE public.child_2 PARTITION OF child DEFAULT",
    )
    (found,) = patient.found(unindexed_references).values()
    patient.execute(found.next_step)
    assert patient.found(unindexed_references) == {}


def test_a_large_table_that_is_mostly_read_whole_is_told(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE public.big AS SELECT n, n % 7 AS kind FROM generate_series(1, 10000) n",
        "ANALYZE public.big",
    )
    many = (
        "DO $$ BEGIN FOR i IN 1..60 LOOP PERFORM count(*) FROM public.big WHERE n = i;"
        " END LOOP; END $$"
    )
    assert patient.found(missing_indexes) == {}
    patient.execute(many, "SELECT pg_stat_force_next_flush()")
    (found,) = patient.found(missing_indexes).values()
    assert (found.key, found.severity) == ("public.big", Severity.WARNING)
    assert found.title == "public.big is mostly read whole"
    assert "60 scans read 600,000 rows without an index, 0 scans used one." in found.detail
    assert found.next_step == "manage.py inspect public.big"
    # Smaller ones are as quick to read whole.
    assert patient.found(missing_indexes, missing_index_rows=50_000) == {}
    patient.execute(
        "CREATE INDEX ON public.big (n)", "SET enable_seqscan = off; SET enable_bitmapscan = off;"
        + many + ";" + many, "SELECT pg_stat_force_next_flush()",
    )  # fmt: skip
    assert patient.found(missing_indexes) == {}


def test_an_index_that_nobody_uses_is_told_when_the_statistics_are_old_enough(
    patient: Patient,
) -> None:
    patient.execute(
        "CREATE TABLE public.big (n int PRIMARY KEY, kind int, boss int REFERENCES big, u int)",
        "INSERT INTO public.big SELECT n, n, NULL, n FROM generate_series(1, 1000) n",
        "CREATE INDEX unused ON public.big (kind)",
        "CREATE INDEX for_reference ON public.big (boss)",
        "CREATE UNIQUE INDEX rule ON public.big (u)",
    )
    assert patient.found(unused_indexes, unused_index_bytes=1) == {}
    now = {"unused_index_bytes": 1, "unused_index_days": 0}
    found = {k: v for k, v in patient.found(unused_indexes, **now).items() if "public.un" in k}
    assert list(found) == ["public.unused"]
    told = found["public.unused"]
    assert told.severity == Severity.INFO
    assert told.next_step == "DROP INDEX CONCURRENTLY public.unused;"
    assert not {"public.for_reference", "public.rule", "public.big_pkey"} & set(
        patient.found(unused_indexes, **now)
    )
    patient.execute(
        "SET enable_seqscan = off; SELECT * FROM public.big WHERE kind = 5",
        "SELECT pg_stat_force_next_flush()",
    )
    assert "public.unused" not in patient.found(unused_indexes, **now)
    assert patient.found(unused_indexes, unused_index_days=0) == {}


DUPLICATES = [
    ("(a)", "(a, b)", "x"),
    ("(a, b)", "(a)", "y"),
    ("(a)", "(a)", "y"),
    ("(a)", "(a DESC)", "y"),
    ("(lower(t))", "(lower(t), a)", "x"),
    ("(a) WHERE b > 1", "(a, b) WHERE b > 1", "x"),
    ("(a)", "(a) INCLUDE (b)", "x"),
    ("USING hash (a)", "USING hash (a)", "y"),
]
DIFFERENT = [
    ("(b)", "(a, b)"),
    ("(a)", "USING hash (a)"),
    ("(a, b)", "(a, b DESC)"),
    ("(a)", "(a NULLS FIRST)"),
    ("(t)", "(t text_pattern_ops)"),
    ('(t COLLATE "C")', '(t COLLATE "POSIX", a)'),
    ("(a) WHERE b > 1", "(a, b) WHERE b > 2"),
    ("(a)", "(a, b) WHERE b > 1"),
    ("(lower(t))", "(upper(t), a)"),
    ("(a) INCLUDE (t)", "(a, b)"),
    ("USING brin (a)", "USING brin (a, b)"),
    ("USING brin (a) WITH (pages_per_range = 1)", "USING brin (a)"),
]
# Rules that another one does not keep: each is a table's constraint or nothing, the index that
# stays, and the index that may look needless. Marked: it is.
RULES = [
    ("UNIQUE (a) DEFERRABLE", "UNIQUE INDEX {} ON {} (a)", False),
    ("UNIQUE (a) DEFERRABLE INITIALLY DEFERRED", "UNIQUE INDEX {} ON {} (a)", False),
    ("PRIMARY KEY (a) DEFERRABLE", "UNIQUE INDEX {} ON {} (a)", False),
    ("UNIQUE (a) DEFERRABLE", "INDEX {} ON {} (a)", True),
    ("UNIQUE (a)", "UNIQUE INDEX {} ON {} (a)", True),
    ("UNIQUE (a)", "UNIQUE INDEX {} ON {} (a DESC)", True),
    ("UNIQUE (a)", "UNIQUE INDEX {} ON {} (a) INCLUDE (b)", False),
    ("UNIQUE (a)", "UNIQUE INDEX {} ON {} (a) NULLS NOT DISTINCT", False),
    ("UNIQUE NULLS NOT DISTINCT (a)", "UNIQUE INDEX {} ON {} (a)", False),
    ("UNIQUE (a)", "UNIQUE INDEX {} ON {} (a) WHERE b > 1", False),
    ("UNIQUE (a, b)", "UNIQUE INDEX {} ON {} (a)", False),
    ("UNIQUE (a, b)", "INDEX {} ON {} (a)", True),
    ("EXCLUDE USING btree (a WITH =)", "UNIQUE INDEX {} ON {} (a)", False),
]


def test_an_index_that_another_one_makes_needless_is_told(patient: Patient) -> None:
    assert patient.found(duplicate_indexes) == {}
    for number, (first, second, _) in enumerate(DUPLICATES):
        patient.execute(
            f"CREATE TABLE public.t{number} (a int, b int, t text)",
            f"CREATE INDEX x{number} ON public.t{number} {first}",
            f"CREATE INDEX y{number} ON public.t{number} {second}",
        )
    ours = [f"public.{gone}{number}" for number, (_, _, gone) in enumerate(DUPLICATES)]
    found = patient.found(duplicate_indexes, duplicate_index_bytes=0)
    assert [key for key in found if key[:8] in {"public.x", "public.y"}] == sorted(ours)
    # Small ones that another one merely begins with cost nothing.
    assert "public.x0" not in patient.found(duplicate_indexes)
    told = found["public.x0"]
    assert told.severity == Severity.WARNING
    assert told.title == "The index public.x0 does nothing that public.y0 does not do"
    assert told.next_step == "DROP INDEX CONCURRENTLY public.x0;"
    patient.execute(*(each.next_step for each in found.values()))
    assert patient.found(duplicate_indexes, duplicate_index_bytes=0) == {}


def test_indexes_that_differ_in_what_they_are_good_for_are_not(patient: Patient) -> None:
    for number, (first, second) in enumerate(DIFFERENT):
        patient.execute(
            f"CREATE TABLE public.t{number} (a int, b int, t text)",
            f"CREATE INDEX x{number} ON public.t{number} {first}",
            f"CREATE INDEX y{number} ON public.t{number} {second}",
        )
    found = patient.found(duplicate_indexes, duplicate_index_bytes=0)
    assert [key for key in found if key[:8] in {"public.x", "public.y"}] == []


def test_a_rule_is_no_duplicate_of_an_index_that_only_finds(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE public.t (a int CONSTRAINT rule UNIQUE, b int)",
        "CREATE INDEX longer ON public.t (a, b)",
        "CREATE UNIQUE INDEX same ON public.t (a)",
        "CREATE INDEX finds ON public.t (a)",
    )
    found = patient.found(duplicate_indexes)  # of any size: they are the same
    ours = {
        key for key in found if key in {f"public.{n}" for n in ("rule", "longer", "same", "finds")}
    }
    assert ours == {"public.same", "public.finds"}


def test_of_two_rules_only_one_that_keeps_nothing_of_its_own_is_needless(patient: Patient) -> None:
    before = set(patient.found(duplicate_indexes, duplicate_index_bytes=0))
    for number, (constraint, index, _) in enumerate(RULES):
        patient.execute(
            f"CREATE TABLE public.t{number} (a int, b int, CONSTRAINT rule{number} {constraint})",
            "CREATE " + index.format(f"other{number}", f"public.t{number}"),
        )
    found = set(patient.found(duplicate_indexes, duplicate_index_bytes=0)) - before
    told = [(*rule[:2], f"public.other{number}" in found) for number, rule in enumerate(RULES)]
    assert told == RULES
    assert len(found) == sum(needless for *_, needless in RULES)


def test_the_index_that_a_foreign_key_goes_by_is_not_told_to_be_dropped(
    patient: Patient,
) -> None:
    patient.execute(
        "CREATE TABLE public.t (a int NOT NULL CONSTRAINT later UNIQUE DEFERRABLE, b int)",
        "CREATE UNIQUE INDEX now ON public.t (a)",
        "CREATE UNIQUE INDEX again ON public.t (a)",
        "CREATE TABLE public.child (a int REFERENCES public.t (a))",
        "CREATE INDEX ON public.child (a)",
    )
    found = patient.found(duplicate_indexes)
    # One of the two that are alike; the foreign key says which.
    assert list(found) == ["public.again"]
    patient.execute(found["public.again"].next_step)
    assert patient.found(duplicate_indexes) == {}


def test_an_index_that_is_asked_for_by_its_name_is_not_needless(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE public.t (a int NOT NULL UNIQUE, b int)",
        "CREATE UNIQUE INDEX identity ON public.t (a)",
        "ALTER TABLE public.t REPLICA IDENTITY USING INDEX identity",
        "CREATE INDEX ordered ON public.t (b)",
        "CREATE INDEX same ON public.t (b)",
        "ALTER TABLE public.t CLUSTER ON same",
    )
    found = patient.found(duplicate_indexes)
    assert list(found) == ["public.ordered"]
    unused = patient.found(unused_indexes, unused_index_bytes=1, unused_index_days=0)
    assert "public.same" not in unused


def test_of_a_partitioned_table_the_whole_index_is_told_and_its_parts_are_not(
    patient: Patient,
) -> None:
    before = set(patient.found(duplicate_indexes, duplicate_index_bytes=0))
    patient.execute(
        "CREATE TABLE public.p (a int, b int) PARTITION BY RANGE (a)",
        "CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES FROM (0) TO (9)",
        "CREATE INDEX whole ON public.p (a)",
        "CREATE INDEX again ON public.p (a)",
        "CREATE INDEX alone ON public.p1 (a)",
        "CREATE INDEX lonely ON ONLY public.p (b)",  # invalid until a part is attached
        "CREATE INDEX of_part ON public.p1 (b)",
    )
    found = patient.found(duplicate_indexes, duplicate_index_bytes=0)
    assert sorted(set(found) - before) == ["public.again", "public.alone"]
    patient.execute(found["public.again"].next_step, found["public.alone"].next_step)
    assert set(patient.found(duplicate_indexes, duplicate_index_bytes=0)) == before
