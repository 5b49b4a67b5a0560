"""`manage.py inspect`: every table, and one table whole."""

from __future__ import annotations

import io
from typing import Any

from django.utils import timezone
from rich.console import Console

from ops.health.inspection.looking import looking
from ops.health.inspection.table import table
from ops.health.inspection.tables import tables
from ops.management.reporting import show
from tests.harness import database
from tests.ops.health.commanding import Manage
from tests.ops.health.conftest import Patient

SHOP = (
    """CREATE SCHEMA "Shop" AUTHORIZATION srvc_owner""",
    """CREATE TABLE "Shop".goods (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        "Name" varchar(40) NOT NULL DEFAULT 'it''s new',
        parent bigint REFERENCES "Shop".goods (id),
        price numeric(10, 2) CHECK (price >= 0),
        gross numeric GENERATED ALWAYS AS (price * 1.19) STORED)""",
    """COMMENT ON TABLE "Shop".goods IS 'What is sold'""",
    """COMMENT ON COLUMN "Shop".goods.price IS 'Net'""",
    """CREATE INDEX goods_name ON "Shop".goods (lower("Name")) WHERE price > 0""",
    """ALTER TABLE "Shop".goods ENABLE ROW LEVEL SECURITY""",
    """CREATE POLICY cheap ON "Shop".goods FOR SELECT TO srvc_member USING (price < 10)""",
    """GRANT SELECT, UPDATE (price) ON "Shop".goods TO srvc_member""",
    """CREATE FUNCTION "Shop".stay() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN RETURN NEW; END'""",
    """CREATE TRIGGER stays BEFORE UPDATE ON "Shop".goods
        FOR EACH ROW EXECUTE FUNCTION "Shop".stay()""",
    """INSERT INTO "Shop".goods ("Name", price) SELECT 'x', n FROM generate_series(1, 500) n""",
    """ANALYZE "Shop".goods""",
    """CREATE TABLE "Shop"."Goods" (id int)""",
    """CREATE TABLE "Shop".jobs (id int)""",
    """CREATE VIEW "Shop".dear AS SELECT * FROM "Shop".goods WHERE price > 100""",
)


def rows_of(told: Any, report: str) -> list[dict[str, Any]]:
    (found,) = [each for each in told if each["report"] == report]
    rows: list[dict[str, Any]] = found["rows"]
    return rows


def test_a_table_is_shown_whole(patient: Patient, manage: Manage) -> None:
    patient.execute(*SHOP)
    ended = manage("inspect", '"Shop".goods', "--json")
    assert ended.status == 0
    told = ended.json
    facts = {row["fact"]: row["value"] for row in rows_of(told, "table")}
    assert told[0]["title"] == '"Shop".goods'
    assert facts["comment"] == "What is sold"
    assert facts["rows"].startswith("500 as the planner estimates")
    assert facts["row security"] == "on, not forced"
    assert [tuple(row.values()) for row in rows_of(told, "columns")] == [
        ("id", "bigint", True, "identity", None),
        ("Name", "character varying(40)", True, "'it''s new'::character varying", None),
        ("parent", "bigint", False, None, None),
        ("price", "numeric(10,2)", False, None, "Net"),
        ("gross", "numeric", False, "generated: (price * 1.19)", None),
    ]
    indexes = rows_of(told, "indexes")
    assert [(row["index"], row["kind"], row["scans"]) for row in indexes] == [
        ("goods_pkey", "primary key", 0), ("goods_name", "", 0),
    ]  # fmt: skip
    assert indexes[1]["definition"].startswith('btree (lower(("Name")::text)) WHERE')
    assert indexes[0]["bytes"] == 32_768
    constraints = {row["constraint"]: row["definition"] for row in rows_of(told, "constraints")}
    assert constraints["goods_price_check"] == "CHECK (price >= 0::numeric)"
    assert [(row["policy"], row["command"], row["roles"], row["using"])
            for row in rows_of(told, "policies")] == [
        ("cheap", "SELECT", "srvc_member", "(price < (10)::numeric)"),
    ]  # fmt: skip
    assert [row["trigger"] for row in rows_of(told, "triggers")] == ["stays"]
    grants = {row["role"]: row["may"] for row in rows_of(told, "grants")}
    assert grants["srvc_member"] == "SELECT, UPDATE (price)"
    assert [(row["direction"], row["table"]) for row in rows_of(told, "references")] == [
        ("to", '"Shop".goods'),
    ]  # fmt: skip
    # References are shown from both ends.
    told = manage("inspect", "customers", "--json").json
    ends = {(row["direction"], row["table"]) for row in rows_of(told, "references")}
    assert ("to", "public.accounts") in ends
    assert ("from", "public.jobs") in ends
    ended = manage("inspect", '"Shop".dear')
    assert "definition  SELECT " in ended.out
    assert "Columns" in ended.out


def test_names_are_found_as_people_type_them(patient: Patient, manage: Manage) -> None:
    patient.execute(*SHOP)
    for typed, title in [
        ("jobs", "public.jobs"),
        ("JOBS", "public.jobs"),
        ("public.jobs", "public.jobs"),
        ('"Shop".jobs', '"Shop".jobs'),
        ("shop.jobs", '"Shop".jobs'),
        ('"Shop"."Goods"', '"Shop"."Goods"'),
        ("goods", '"Shop".goods'),
        ("dear", '"Shop".dear'),
    ]:
        ended = manage("inspect", typed, "--json")
        assert (ended.status, ended.json[0]["title"]) == (0, title), typed
    for typed, said in [
        ("costumers", "There is no table costumers. Near it: public.customers"),
        ("shop.good", 'There is no table good in the schema shop. Near it: "Shop".'),
        ("xyzzy", "There is no table xyzzy. `manage.py inspect` lists all of them."),
        ('"jobs', "is no table's name. Nothing was shown."),
        ("a.b.c", "is no table's name. Nothing was shown."),
        ("", "is no table's name. Nothing was shown."),
        ("jobs; DROP TABLE jobs", "There is no table jobs; DROP TABLE jobs."),
    ]:
        ended = manage("inspect", typed)
        assert (ended.status, said in ended.err) == (1, True), ended
    assert manage("inspect", "jobs", "customers").status == 2
    assert manage("inspect", "jobs", "--report", "locks").status == 2


def test_every_table_is_listed(patient: Patient, manage: Manage) -> None:
    patient.execute(*SHOP)
    told = manage("inspect", "--json").json
    by_name = {row["table"]: row for row in told["rows"]}
    assert by_name["Shop.goods"]["rows"] == 500
    assert by_name["Shop.goods"]["row_security"] == "on"
    assert by_name["Shop.goods"]["policies"] == 1
    assert by_name["public.jobs"]["row_security"] == "forced"
    assert by_name["Shop.jobs"]["row_security"] == "off"
    sizes = [row["bytes"] for row in told["rows"]]
    assert sizes == sorted(sizes, reverse=True)
    assert "Shop.goods" in manage("inspect").out


def test_a_narrow_terminal_loses_no_number(patient: Patient) -> None:
    out = io.StringIO()
    with looking() as context:
        found = [tables(context), *table(context, "invoices")]
        show(Console(file=out, width=80, highlight=False), found, timezone.now())
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in out.getvalue()


def test_a_table_that_somebody_locks_keeps_nobody_waiting(patient: Patient, manage: Manage) -> None:
    with database.connect(patient.name) as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        whole, one = manage("inspect"), manage("inspect", "jobs")
        holder.rollback()
    assert whole.status == 0
    assert one.status == 1
    assert "Another session holds a lock that even reading has to wait for." in one.err
    assert "manage.py inspect --report locks" in one.err
