"""Tables that moved on since the backup, refer to each other in circles, or exchanged values."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from ops.models import Recovery
from ops.progress import Progress
from ops.restores.errors import ConflictError, RefusedError
from ops.restores.partial.drift import Renames, dropped_by, renames_since
from ops.rls.router import as_owner_by_default
from tests.harness import database
from tests.ops.restores.between import Between, cloned

BEFORE = """
    CREATE TABLE crews (id int PRIMARY KEY, name text NOT NULL UNIQUE, chief int NOT NULL);
    CREATE TABLE hands (id int PRIMARY KEY, name text, wage text, shoe int, crew int NOT NULL
        REFERENCES crews, boss int REFERENCES hands, email text,
        upper_name text GENERATED ALWAYS AS (upper(name)) STORED);
    ALTER TABLE crews ADD FOREIGN KEY (chief) REFERENCES hands DEFERRABLE INITIALLY DEFERRED;
    CREATE UNIQUE INDEX hands_email ON hands (lower(email)) WHERE email <> '';
    ALTER TABLE crews OWNER TO srvc_owner; ALTER TABLE hands OWNER TO srvc_owner;
    INSERT INTO crews VALUES (1, 'Roof', 10), (2, 'Pipes', 20);
    INSERT INTO hands (id, name, wage, shoe, crew, boss, email) VALUES
        (10, 'Ada', '12', 40, 1, NULL, 'ada@x'), (11, 'Bo', '13', 41, 1, 10, ''),
        (20, 'Cy', '14', 42, 2, NULL, 'cy@x');
"""
ALL = "SELECT * FROM hands ORDER BY id"


@pytest.fixture
def between(fresh_database: str) -> Iterator[Between]:
    """Crews and hands, which refer to each other in circles, and their past."""
    with database.connect(fresh_database) as connection:
        connection.execute(BEFORE.encode())
    with cloned(fresh_database) as found, as_owner_by_default():
        yield found


def _by_superuser(between: Between, statement: str) -> None:
    between.execute(statement, ignoring=False)


def test_rows_in_a_circle_of_keys_come_back_together(between: Between) -> None:
    before = between.rows(ALL)
    _by_superuser(between, "TRUNCATE crews, hands")
    recovery = between.recover(tables=("crews",), where="name = 'Roof'")
    assert {t["table"]: t["planned"]["inserted"] for t in recovery.plan["tables"]} == {
        "public.crews": 1,
        "public.hands": 2,
    }
    between.recover(tables=("hands",))
    assert between.rows(ALL) == before
    assert between.rows("SELECT count(*) FROM crews") == [(2,)]


def test_values_that_rows_exchanged_are_exchanged_back(between: Between) -> None:
    _by_superuser(between, "ALTER TABLE crews DROP CONSTRAINT crews_name_key")
    _by_superuser(between, "UPDATE crews SET name = CASE id WHEN 1 THEN 'Pipes' ELSE 'Roof' END")
    _by_superuser(between, "ALTER TABLE crews ADD UNIQUE (name)")
    between.recover(tables=("crews",), mode="changed", related=False)
    assert between.rows("SELECT * FROM crews ORDER BY 1") == [(1, "Roof", 10), (2, "Pipes", 20)]


def test_columns_of_today_and_of_then_are_told_and_values_converted(between: Between) -> None:
    _by_superuser(
        between,
        "ALTER TABLE hands ADD grade text NOT NULL DEFAULT 'new', DROP shoe,"
        " ALTER wage TYPE numeric USING wage::numeric",
    )
    _by_superuser(between, "DELETE FROM hands WHERE id = 11; UPDATE hands SET grade = 'old'")
    _by_superuser(between, "UPDATE hands SET name = 'Eve' WHERE id = 10")
    recovery = between.recover(tables=("hands",), mode="all")
    assert between.rows("SELECT id, name, wage::text, grade FROM hands ORDER BY id") == [
        (10, "Ada", "12", "old"),
        (11, "Bo", "13", "new"),
        (20, "Cy", "14", "old"),
    ]
    kept = "rows that are set back keep what they have"
    assert recovery.plan["notes"] == [
        "public.hands.wage was text and is numeric now; its values are converted.",
        f"public.hands got grade since: rows that come back have the default there, {kept}.",
        "public.hands has no shoe any more: left out.",
    ]


def test_values_that_fit_no_type_of_today_are_refused(between: Between) -> None:
    _by_superuser(between, "ALTER TABLE hands ALTER wage TYPE date USING '2026-01-01'")
    with pytest.raises(RefusedError, match=r"Rows of public.hands don't fit its columns of today"):
        between.recover(tables=("hands",), mode="all")
    assert between.rows("SELECT DISTINCT wage::text FROM hands") == [("2026-01-01",)]


def test_a_value_taken_by_an_index_on_an_expression_and_a_rule_of_today_are_conflicts(
    between: Between,
) -> None:
    _by_superuser(between, "UPDATE crews SET chief = 20; DELETE FROM hands WHERE crew = 1")
    _by_superuser(between, "INSERT INTO hands (id, name, crew, email) VALUES (12, 'X', 1, 'ADA@x')")
    _by_superuser(between, "ALTER TABLE hands ADD CONSTRAINT modern CHECK (name <> 'Bo')")
    with pytest.raises(ConflictError) as refused:
        between.recover(tables=("hands",))
    assert str(refused.value).startswith(
        "public.hands 10 can't come back: lower(email) (ada@x) is taken by public.hands 12 of "
        "today (hands_email). public.hands 11 does not fit today's rules: modern."
    )


def test_a_dropped_table_comes_back_with_all_that_hung_on_it(between: Between) -> None:
    before = between.rows(ALL)
    _by_superuser(between, "DROP TABLE hands CASCADE")
    between.recover(tables=("hands",))
    assert between.rows(ALL) == before
    assert between.rows(
        "SELECT conname FROM pg_constraint WHERE confrelid = 'hands'::regclass ORDER BY 1"
    ) == [("crews_chief_fkey",), ("hands_boss_fkey",)]


# Of this database alone, and not those that a VACUUM takes.
LOCKED = """
    SELECT mode FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.relation = 'crews'::regclass
      AND l.mode <> 'ShareUpdateExclusiveLock'
"""


def test_a_dropped_table_is_shown_before_it_is_made_anew(between: Between) -> None:
    before = between.rows(ALL)
    _by_superuser(between, "DROP TABLE hands CASCADE")
    answers = [False, True]
    shown = []

    def confirm(recovery: Recovery, progress: Progress) -> bool:
        (table,) = (each for each in recovery.plan["tables"] if each["missing"])
        shown.append((table["table"], table["missing"]))
        # Nothing is there yet, and nothing is locked.
        assert between.rows("SELECT to_regclass('hands')::text") == [(None,)]
        assert between.rows(LOCKED) == []
        return answers.pop(0)

    declined = between.recover(confirm, tables=("hands",))
    assert (declined.state, between.rows("SELECT to_regclass('hands')")) == ("previewed", [(None,)])
    assert between.recover(confirm, tables=("hands",)).state == "applied"
    assert between.rows(ALL) == before
    assert [name for name, _ in shown] == ["public.hands", "public.hands"]


def test_a_table_that_is_nowhere_names_the_nearest(between: Between) -> None:
    with pytest.raises(RefusedError, match=r"There is no table hand, .* Did you mean public.hands"):
        between.recover(tables=("hand",))


def test_what_migrations_renamed_and_dropped_since_is_known(
    fresh_database: str, settings: Settings
) -> None:
    settings.MIGRATION_MODULES = {"billing": "tests.ops.restores.migrations"}
    with database.connect(fresh_database) as connection:
        applied = [
            name
            for (name,) in connection.execute(
                "SELECT app || '.' || name FROM django_migrations"
            ).fetchall()
        ]
        connection.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES"
            " ('billing', '0002_moved', now())"
        )
    with as_owner_by_default():
        assert renames_since(applied) == Renames(
            tables={"public.billing_offer": "public.billing_tariff"},
            columns={("public.billing_offer", "price"): "cost"},
        )
        assert dropped_by(applied) == {"public.billing_coupon": "billing.0002_moved"}
        assert renames_since([*applied, "billing.0002_moved"]) == Renames()
