"""Whatever differs between two databases is found and named, whichever of them is proven."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest

from ops.backups.comparison import Difference, compare
from ops.backups.fingerprint import Fingerprint
from ops.backups.proof import Proof, SequenceProof, TableProof
from tests.ops.backups import copies

pytestmark = pytest.mark.usefixtures("django_db_setup")

# One change each, and everything it makes different.
CHANGES = {
    "a byte of a row": (
        "UPDATE customer SET name = name || ' ' WHERE serial = 7",
        ["content public.customer"],
    ),
    "null instead of an empty text": (
        ("UPDATE customer SET r = NULL WHERE serial = 1;"
        " UPDATE customer SET r = '' WHERE serial = 3"),
        ["content public.customer"],
    ),
    "the scale of a number": (
        """UPDATE customer SET document = '{"b": 1.1, "a": [null]}' WHERE serial = 1""",
        ["content public.customer"],
    ),
    "a bit of a float": (
        "UPDATE customer SET ratio = 0.3 WHERE serial = 1",
        ["content public.customer"],
    ),
    "a byte deep in a long value": (
        "UPDATE customer SET r = overlay(r PLACING 'Z' FROM 99999 FOR 1) WHERE serial = 2",
        ["content public.customer"],
    ),
    "a row deleted": ("DELETE FROM forgetful WHERE a = 1", ["rows public.forgetful"]),
    "a row twice": (
        "UPDATE forgetful SET a = 1",
        ["content public.forgetful"],
    ),
    "a row moved to the child table": (
        ("WITH gone AS (DELETE FROM ONLY parent RETURNING *)"
        " INSERT INTO child (a, b, late) SELECT a, b, late FROM gone"),
        ["rows public.child", "rows public.parent"],
    ),
    "a table emptied": ("TRUNCATE columnless", ["rows public.columnless"]),
    "a table gone": (
        "DROP TABLE forgetful",
        [
            "missing object column public.forgetful.a",
            "missing object table public.forgetful",
            "missing table public.forgetful",
        ],
    ),
    "a byte of a large object": (
        "SELECT lo_put(424243, 2400000, 'P')",
        ["content pg_catalog.pg_largeobject"],
    ),
    "a large object gone": (
        "SELECT lo_unlink(424244)",
        ["rows pg_catalog.pg_largeobject"],
    ),
    "a sequence's step": (
        "ALTER SEQUENCE untouched INCREMENT 2",
        ["schema sequence public.untouched"],
    ),
    "a column's type": (
        "ALTER TABLE job ALTER account TYPE bigint",
        ["content public.job", "schema column public.job.account"],
    ),
    "a column's name": (
        "ALTER TABLE forgetful RENAME a TO b",
        [
            "extra object column public.forgetful.b",
            "missing object column public.forgetful.a",
        ],
    ),
    "a default": (
        "ALTER TABLE customer ALTER account SET DEFAULT 2",
        ["schema column public.customer.account"],
    ),
    "not null": (
        "ALTER TABLE customer ALTER account DROP NOT NULL",
        ["schema column public.customer.account"],
    ),
    "identity": (
        "ALTER TABLE customer ALTER id SET GENERATED ALWAYS",
        ["schema column public.customer.id"],
    ),
    "a check": (
        "ALTER TABLE customer DROP CONSTRAINT customer_status_check",
        ["missing object constraint customer_status_check on public.customer"],
    ),
    "one value of a check": (
        ("ALTER TABLE customer DROP CONSTRAINT customer_kind_check,"
        " ADD CONSTRAINT customer_kind_check CHECK (kind IN ('a', 'c')) NOT VALID;"
        "UPDATE pg_constraint SET convalidated = true WHERE conname = 'customer_kind_check'"),
        ["schema constraint customer_kind_check on public.customer"],
    ),
    "a check validated": (
        ("UPDATE customer SET grade = 1 WHERE grade < 1;"
        " ALTER TABLE customer VALIDATE CONSTRAINT not_checked_yet"),
        ["schema constraint not_checked_yet on public.customer"],
    ),
    "a foreign key's timing": (
        "ALTER TABLE job ALTER CONSTRAINT same_account NOT DEFERRABLE",
        ["schema constraint same_account on public.job"],
    ),
    "foreign keys switched off": (
        "ALTER TABLE job DISABLE TRIGGER ALL",
        ["extra object disabled system triggers of public.job"],
    ),
    "an index dropped": (
        "DROP INDEX customer_trgm",
        ["missing object index public.customer_trgm"],
    ),
    "an index no longer unique": (
        ("DROP INDEX customer_nulls;"
        " CREATE INDEX customer_nulls ON customer (kind, serial)"),
        ["schema index public.customer_nulls"],
    ),
    "an index's condition": (
        ("DROP INDEX customer_lower; CREATE INDEX customer_lower ON customer"
        " (lower(name), (balance + 1)) INCLUDE (kind) WHERE status IN ('late', 'lost');"
        " ALTER INDEX customer_lower ALTER COLUMN 2 SET STATISTICS 300;"
        " COMMENT ON INDEX customer_lower IS 'for search'"),
        ["schema index public.customer_lower"],
    ),
    "a policy's expression": (
        "ALTER POLICY nobody_deletes ON customer USING (true)",
        ["schema policy nobody_deletes on public.customer"],
    ),
    "a policy's role": (
        f"ALTER POLICY own_rows ON customer TO {copies.READER}",
        ["schema policy own_rows on public.customer"],
    ),
    "row security not forced": (
        "ALTER TABLE customer NO FORCE ROW LEVEL SECURITY",
        ["schema table public.customer"],
    ),
    "a trigger switched on": (
        "ALTER TABLE customer ENABLE TRIGGER sleeps",
        ["schema trigger sleeps on public.customer"],
    ),
    "a partition's trigger switched on": (
        "ALTER TABLE event_2025 ENABLE TRIGGER event_stamps",
        ["schema trigger event_stamps on public.event_2025"],
    ),
    "a partition detached": (
        "ALTER TABLE measured DETACH PARTITION measured_0",
        ["extra object constraint measured_event_id_event_at_fkey on public.measured_0",
         "schema table public.measured_0"],
    ),
    "a rule": ("DROP RULE quiet ON job", ["missing object rule quiet on public.job"]),
    "a view's query": (
        ("CREATE OR REPLACE VIEW one_table AS SELECT c.id, lower(c.name) AS name,"
        " NULL::text COLLATE german AS \"odd \"\"column\"\" \nü\", 'c.name' AS literal"
        " FROM customer c"),
        ["schema view public.one_table"],
    ),
    "a view that asks as its owner": (
        "ALTER VIEW checked SET (security_invoker = false)",
        ["schema view public.checked"],
    ),
    "a materialized view filled": (
        "REFRESH MATERIALIZED VIEW unfilled",
        ["schema materialized view public.unfilled"],
    ),
    "a function's body": (
        ("CREATE OR REPLACE FUNCTION half(amount numeric) RETURNS numeric LANGUAGE sql IMMUTABLE"
        " STRICT PARALLEL SAFE RETURN amount / 3"),
        ["schema function public.half(amount numeric)"],
    ),
    "a function's path": (
        "ALTER FUNCTION stamp() SET search_path = public",
        ["schema function public.stamp()"],
    ),
    "whose rights a function has": (
        "ALTER FUNCTION stamp() SECURITY INVOKER",
        ["schema function public.stamp()"],
    ),
    "an enum's value": (
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
        ["schema type public.mood"],
    ),
    "a domain's check": (
        "ALTER DOMAIN email DROP CONSTRAINT has_at",
        ["schema domain public.email"],
    ),
    "a grant": (
        f"REVOKE INSERT ON customer FROM {copies.READER}",
        ["schema grants on table public.customer"],
    ),
    "a grant's option": (
        f"REVOKE GRANT OPTION FOR SELECT ON customer FROM {copies.WRITER}",
        ["schema grants on table public.customer"],
    ),
    "a column's grant": (
        f"REVOKE UPDATE (balance) ON customer FROM {copies.WRITER}",
        ["schema grants on columns of public.customer"],
    ),
    "a right of everybody": (
        "GRANT EXECUTE ON FUNCTION half(numeric) TO PUBLIC",
        ["missing object grants on function public.half(numeric)"],
    ),
    "an extension's function for everybody": (
        "GRANT EXECUTE ON FUNCTION similarity(text, text) TO PUBLIC",
        ["missing object grants on function public.similarity(pg_catalog.text,pg_catalog.text)"],
    ),
    "everybody may create tables": (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        ["schema grants on schema public"],
    ),
    "what new tables begin with": (
        ("ALTER DEFAULT PRIVILEGES IN SCHEMA public"
        f" GRANT INSERT ON TABLES TO {copies.READER}"),
        ["schema default privileges of postgres in schema public for tables"],
    ),
    "an owner": (
        "ALTER TABLE forgetful OWNER TO srvc_owner",
        ["schema table public.forgetful"],
    ),
    "a table's comment": (
        "COMMENT ON TABLE customer IS 'who owes'",
        ["schema comments on public.customer"],
    ),
    "a column's comment": (
        "COMMENT ON COLUMN customer.name IS NULL",
        ["schema comments on public.customer"],
    ),
    "a policy's comment": (
        "COMMENT ON POLICY own_rows ON customer IS NULL",
        ["missing object comment on policy own_rows on public.customer"],
    ),
    "a storage parameter": (
        "ALTER TABLE customer SET (fillfactor = 90)",
        ["schema table public.customer"],
    ),
    "an event trigger switched off": (
        "ALTER EVENT TRIGGER watch DISABLE",
        ["schema event trigger watch"],
    ),
    "what is published": (
        "ALTER PUBLICATION news SET TABLE replicated",
        ["schema publication news"],
    ),
    "a foreign server's address": (
        "ALTER SERVER far OPTIONS (SET host 'elsewhere')",
        ["schema server far"],
    ),
    "statistics": (
        "ALTER STATISTICS customer_stats SET STATISTICS 60",
        ["schema statistics public.customer_stats"],
    ),
    "a schema more": ("CREATE SCHEMA another", ["extra object schema another"]),
}  # fmt: skip


_COUNTERPARTS = {
    "missing object": "extra object",
    "missing table": "extra table",
    "extra object": "missing object",
    "extra table": "missing table",
}


@functools.cache
def proven() -> Proof:
    with copies.rolled_back(copies.restored()) as connection:
        return copies.proof_of(connection)


def told(differences: list[Difference]) -> list[str]:
    return sorted(f"{each.what} {each.where}" for each in differences)


@pytest.mark.parametrize("name", CHANGES)
def test_a_single_change_is_found_and_named_in_both_directions(name: str) -> None:
    statements, expected = CHANGES[name]
    with copies.rolled_back(copies.restored()) as connection:
        # Triggers and foreign keys would add changes of their own.
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(statements.encode())
        changed = copies.proof_of(connection)

    found = compare(proven(), changed)
    assert told(found) == expected
    back = [replace(each, what=_COUNTERPARTS.get(each.what, each.what)) for each in found]
    assert told(compare(changed, proven())) == told(back)


def test_a_restored_copy_of_one_of_everything_has_no_difference() -> None:
    with copies.rolled_back(copies.everything()) as connection:
        original = copies.proof_of(connection)
    assert compare(original, proven()) == []
    assert original.as_json() == proven().as_json()
    assert len(original.tables) == 13


def test_a_sequence_that_moved_is_found() -> None:
    with copies.rolled_back(copies.restored()) as connection:
        connection.execute("CREATE SEQUENCE moving")
        fresh = copies.proof_of(connection)
        connection.execute("SELECT nextval('moving')")
        used = copies.proof_of(connection)
        connection.execute("SELECT setval('moving', 42)")
        later = copies.proof_of(connection)
    assert told(compare(fresh, used)) == ["sequence public.moving"]
    assert told(compare(used, later)) == ["sequence public.moving"]
    assert told(compare(used, later, sequences_move=True)) == []
    assert told(compare(later, used, sequences_move=True)) == ["sequence public.moving"]


def test_differences_are_told_in_sentences() -> None:
    nothing = Proof([], [], Fingerprint({}))
    something = Proof(
        [TableProof("public", "a.b", 7, "0" * 32), TableProof("public", "job", 2, "1" * 32)],
        [SequenceProof("public", "number", 5, True)],
        Fingerprint({"table public.job": "0" * 16}),
    )
    other = Proof(
        [TableProof("public", "a.b", 8, "0" * 32), TableProof("public", "job", 2, "2" * 32)],
        [SequenceProof("public", "number", 1, False)],
        Fingerprint({"table public.job": "1" * 16}),
    )
    assert [str(each) for each in compare(something, other)] == [
        'public."a.b" has 8 row(s) instead of 7.',
        "public.job has as many rows, but other content.",
        "The sequence public.number stands at 1 (not given out yet) instead of 5.",
        "Defined otherwise: table public.job.",
    ]
    assert [str(each) for each in compare(something, nothing)] == [
        'The table public."a.b" is missing; it had 7 row(s).',
        "The table public.job is missing; it had 2 row(s).",
        "The sequence public.number is missing; it stood at 5.",
        "Missing: table public.job.",
    ]
    assert [str(each) for each in compare(nothing, something)] == [
        'The table public."a.b" was not there; it has 7 row(s).',
        "The table public.job was not there; it has 2 row(s).",
        "The sequence public.number was not there; it stands at 5.",
        "Was not there: table public.job.",
    ]


@pytest.mark.parametrize(
    ("increment", "found", "is_called", "differs"),
    [
        (1, 12, True, False),
        (1, 10, True, False),
        (1, 9, True, True),
        (1, 10, False, True),
        (-5, 5, True, False),
        (-5, 15, True, True),
    ],
)
def test_a_moving_sequence_may_be_ahead_but_not_behind(
    increment: int, found: int, is_called: bool, differs: bool
) -> None:
    def proof(value: int, called: bool) -> Proof:
        return Proof([], [SequenceProof("public", "s", value, called, increment)], Fingerprint({}))

    before, after = proof(10, True), proof(found, is_called)
    assert bool(compare(before, after, sequences_move=True)) == differs
    assert bool(compare(before, after)) == ((found, is_called) != (10, True))
    assert compare(before, after, sequences=False) == []


def test_definitions_can_be_left_out() -> None:
    bare = replace(proven(), fingerprint=Fingerprint({}))
    assert compare(proven(), bare, schema=False) == []
