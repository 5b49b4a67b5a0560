"""`manage.py explain`: plans as a member sees them, and what is remarkable about them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from ops.rls.session import acting_as
from tests.factories import account_of, make_business, make_customer
from tests.harness import database
from tests.ops.health.commanding import Ended, Manage
from tests.ops.health.conftest import Patient

WIDE = (
    "CREATE TABLE readings (id int PRIMARY KEY, kind int, note text)",
    "INSERT INTO readings SELECT n, n % 1000, repeat('x', 50) FROM generate_series(1, 30000) n",
    "ANALYZE readings",
    "GRANT SELECT ON readings TO srvc_owner",
)


def remarks(ended: Ended) -> dict[str, list[str]]:
    assert ended.status == 0, ended
    return {each["step"]: each["remarks"] for each in ended.json["steps"]}


def test_a_member_gets_the_plan_of_their_rows(patient: Patient, manage: Manage) -> None:
    one, other = make_business(), make_business()
    for owner in (one, other, other):
        with acting_as(owner):
            make_customer(account=account_of(owner))
    sql = "SELECT * FROM customers"
    ended = manage("explain", sql, "--as", one.email.upper(), "--analyze", "--json")
    assert ended.status == 0, ended
    told = ended.json
    assert (told["role"], told["executed"]) == ("srvc_member", True)
    assert told["steps"][0]["rows"] == 1
    # Every row that is read stands under the account's condition.
    assert any("user_id = " in condition for condition in told["steps"][0]["conditions"])
    # The owner's login sees all, without a condition.
    told = manage("explain", sql, "--analyze", "--json").json
    assert (told["role"], told["member"], told["steps"][0]["rows"]) == ("srvc_owner", None, 3)
    assert (
        manage("explain", sql, "--as", other.email, "--analyze", "--json").json["steps"][0]["rows"]
        == 2
    )
    ended = manage("explain", sql, "--as", one.email)
    assert ended.out.startswith(f"Plan for {one.email}, as srvc_member\n")
    assert "Nothing was executed; --analyze does" in ended.out


def test_what_is_slow_about_a_plan_is_marked(patient: Patient, manage: Manage) -> None:
    patient.execute(*WIDE)
    sql = "SELECT * FROM readings WHERE note || kind = 'y' OR id = 3 ORDER BY note"
    told = remarks(manage("explain", sql, "--json"))
    (scan,) = [marks for step, marks in told.items() if step == "Seq Scan on readings"]
    assert scan == ["most expensive: 99% of the cost", "reads all of about 30,000 rows"]
    told = remarks(manage("explain", sql, "--analyze", "--json"))
    scan = told["Seq Scan on readings"]
    assert scan[0].startswith("most expensive: ")
    assert "reads all of about 30,000 rows, 29,999 of them for nothing" in scan
    # A guess that is far off: two columns that say the same.
    sql = "SELECT * FROM readings WHERE kind = 7 AND kind % 1000 = 7 AND kind + 0 = 7"
    patient.execute("INSERT INTO readings SELECT n, 7, '' FROM generate_series(30001, 33000) n")
    told = remarks(manage("explain", sql, "--analyze", "--json"))
    assert any("times more rows than planned (3,030 instead of " in mark
               for marks in told.values() for mark in marks)  # fmt: skip


def test_an_index_that_would_help_is_named_and_does(patient: Patient, manage: Manage) -> None:
    patient.execute(*WIDE)
    sql = "SELECT * FROM readings WHERE kind = 7"
    (suggested,) = manage("explain", sql, "--json").json["suggestions"]
    assert suggested["create"] == "CREATE INDEX CONCURRENTLY ON public.readings (kind);"
    assert suggested["tried"] is False
    assert "was not tried" in suggested["reason"]
    assert "  → CREATE INDEX CONCURRENTLY ON public.readings (kind);" in manage("explain", sql).out
    available = "SELECT FROM pg_available_extensions WHERE name = 'hypopg'"
    if patient.execute(f"SELECT EXISTS ({available})") == [(True,)]:
        # Where it can be tried, it is: the planner is made to believe in it.
        patient.execute("CREATE EXTENSION hypopg")
        (tried,) = manage("explain", sql, "--json").json["suggestions"]
        assert tried["tried"] is True
        assert tried["cost_after"] < tried["cost_before"] / 2
    patient.execute(suggested["create"])
    told = manage("explain", sql, "--json").json
    assert told["suggestions"] == []
    assert told["steps"][0]["cost"] < suggested["cost_before"]


def test_work_that_spills_to_disk_is_marked(patient: Patient, manage: Manage) -> None:
    patient.execute(*WIDE, "ALTER ROLE srvc_owner IN DATABASE "
                    f"\"{patient.name}\" SET work_mem = '64kB'")  # fmt: skip
    told = remarks(manage("explain", "SELECT * FROM readings ORDER BY note, kind", "--analyze",
                          "--json"))  # fmt: skip
    assert any(mark.startswith("sorts on disk: ") for marks in told.values() for mark in marks)


def test_placeholders_are_planned_for_any_value(patient: Patient, manage: Manage) -> None:
    patient.execute(*WIDE)
    ended = manage("explain", "SELECT * FROM readings WHERE id = $1", "--json")
    with database.connect() as connection:
        knows = connection.info.server_version >= 160_000
    if knows:
        assert ended.status == 0, ended
        assert ended.json["generic"] is True
        assert ended.json["steps"][0]["conditions"] == ["Index Cond: (readings.id = $1)"]
    else:
        assert ended.status == 1
        assert "which PostgreSQL plans without values from version 16 on" in ended.err
    ended = manage("explain", "SELECT * FROM readings WHERE id = $1", "--analyze")
    assert ended.status == 1
    assert "It has placeholders ($1), and nothing to put there." in ended.err


def test_a_statement_comes_from_a_file_or_standard_input(
    patient: Patient, manage: Manage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "slow.sql"
    file.write_text("-- why?\nSELECT 1 + 1;\n")
    steps: Any = [{"step": "Result", "depth": 0}]
    told = manage("explain", "--file", str(file), "--json").json
    assert [{name: each[name] for name in ("step", "depth")} for each in told["steps"]] == steps
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 'a%s', '%'"))
    assert manage("explain", "-", "--json").json["sql"] == "SELECT 'a%s', '%'"
