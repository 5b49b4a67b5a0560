"""Rows that were deleted or changed come back, with all that belongs to them, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from crm.models import Invoice, Payment
from ops.models import Recovery, RecoveryState, Run, RunStatus
from ops.restores.errors import ConflictError, RefusedError
from ops.restores.partial.recover import ask_for_undo_recovery, undo_recovery
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as
from tests.harness import database
from tests.ops.backups.conftest import ASKER
from tests.ops.restores.between import Between, Business, cloned, make_books


@pytest.fixture
def books(fresh_database: str) -> Iterator[tuple[Between, Business, Business]]:
    """Two businesses with a paid invoice each, and the past in which nothing had happened yet."""
    first, second = make_books("First"), make_books("Second")
    with cloned(fresh_database) as between, as_owner_by_default():
        yield between, first, second


type Books = tuple[Between, Business, Business]

DELETE_THE_INVOICE = """
    DELETE FROM payment_allocations WHERE invoice_id = {0};
    DELETE FROM payments WHERE id NOT IN (SELECT payment_id FROM payment_allocations);
    DELETE FROM invoice_lines WHERE invoice_id = {0};
    DELETE FROM invoices WHERE id = {0};
"""
HISTORIES = {
    "invoices_history",
    "invoice_lines_history",
    "payments_history",
    "payment_allocations_history",
}


def _planned(recovery: Recovery) -> dict[str, dict[str, int]]:
    """Return what was planned of each table, without what was not."""
    return {
        each["table"].removeprefix("public."): {
            act: count for act, count in each["planned"].items() if count
        }
        for each in recovery.plan["tables"]
        if any(each["planned"].values())
    }


def _changed(between: Between, before: Mapping[tuple[str, str], object]) -> set[str]:
    """Return the tables that hold other rows than before."""
    after = between.proof()
    return {name for (schema, name), held in after.items() if before[schema, name] != held}


def test_a_deleted_invoice_comes_back_issued_with_its_lines_payment_and_history(
    books: Books,
) -> None:
    between, first, second = books
    before = between.proof()
    between.execute(DELETE_THE_INVOICE.format(first.invoice.pk))

    recovery = between.recover(tables=("invoices",), where=f"id = {first.invoice.pk}")

    assert recovery.state == RecoveryState.APPLIED
    assert _planned(recovery) == {
        "invoices": {"inserted": 1},
        "invoice_lines": {"inserted": 2},
        "payment_allocations": {"inserted": 1},
        "payments": {"inserted": 1},
    }
    assert _changed(between, before) == HISTORIES
    assert between.rows(
        "SELECT pgh_label, changed_via FROM invoices_history ORDER BY pgh_id DESC LIMIT 1"
    ) == [("insert", f"recover run {recovery.run_id}")]
    assert between.sequences_behind() == []
    for owner, seen in ((first.owner, 1), (second.owner, 0)):
        with acting_as(owner, using="default"):
            assert Invoice.objects.using("default").filter(pk=first.invoice.pk).count() == seen
            paid = Payment.objects.using("default").filter(customer_id=first.customer.pk)
            assert paid.count() == seen

    undo = ask_for_undo_recovery(recovery, by=ASKER)
    assert undo_recovery(undo).state == RecoveryState.UNDONE
    assert between.rows(f"SELECT count(*) FROM invoices WHERE id = {first.invoice.pk}") == [(0,)]
    assert Recovery.objects.get(run=undo).state == RecoveryState.APPLIED
    with pytest.raises(RefusedError, match="is undone, so there is nothing to take back"):
        ask_for_undo_recovery(Recovery.objects.get(pk=recovery.pk), by=ASKER)


def test_changed_rows_are_set_back_and_a_preview_shows_both_values(books: Books) -> None:
    between, _, _ = books
    before = between.proof()
    between.execute("UPDATE customers SET city = 'Nowhere', notes = 'oops'")

    preview = between.recover(tables=("customers",), mode="changed", dry_run=True)

    assert preview.state == RecoveryState.PREVIEWED
    table = next(t for t in preview.plan["tables"] if t["table"] == "public.customers")
    assert (table["missing"], table["changed"], table["extra"]) == (0, 2, 0)
    assert table["samples"][0]["columns"]["city"] == ["Nowhere", ""]
    assert between.rows("SELECT DISTINCT city FROM customers") == [("Nowhere",)]

    only = between.recover(tables=("customers",), columns=("city",), related=False)
    assert _planned(only) == {"customers": {"updated": 2}}
    assert between.rows("SELECT DISTINCT city, notes FROM customers") == [("", "oops")]

    between.recover(tables=("customers",), mode="changed", related=False)
    assert _changed(between, before) == {"customers_history"}
    history = between.rows(
        "SELECT count(*) FROM customers_history WHERE changed_via LIKE 'recover run %'"
    )
    assert history == [(4,)]


def test_what_others_changed_since_is_not_undone_unless_left_as_it_is(books: Books) -> None:
    between, first, _ = books
    between.execute("UPDATE customers SET city = 'Nowhere'")
    recovery = between.recover(tables=("customers",), mode="changed", related=False)
    between.execute(f"UPDATE customers SET city = 'Here' WHERE id = {first.customer.pk}")

    undo = ask_for_undo_recovery(recovery, by=ASKER)
    with pytest.raises(ConflictError, match=f"public.customers {first.customer.pk}"):
        undo_recovery(undo)
    assert Run.objects.get(pk=undo.pk).status == RunStatus.FAILED
    assert sorted(between.rows("SELECT city FROM customers")) == [("",), ("Here",)]

    undo_recovery(ask_for_undo_recovery(recovery, by=ASKER, despite_changes=True))
    assert sorted(between.rows("SELECT city FROM customers")) == [("Here",), ("Nowhere",)]


def test_an_undo_goes_back_to_what_was_not_true_before_and_tells_so(books: Books) -> None:
    between, first, _ = books
    between.execute(f"DELETE FROM payment_allocations WHERE invoice_id = {first.invoice.pk}")
    recovery = between.recover(tables=("payment_allocations",))

    undo = ask_for_undo_recovery(recovery, by=ASKER)
    assert undo_recovery(undo).state == RecoveryState.UNDONE
    note = Recovery.objects.get(run=undo).note
    assert "As before the recovery, it is not true now: What is recorded as allocated" in note
    allocated = f"SELECT count(*) FROM payment_allocations WHERE invoice_id = {first.invoice.pk}"
    assert between.rows(allocated) == [(0,)]


def test_exactly_as_it_was_takes_out_what_was_not_there_and_leaves_no_history(
    books: Books,
) -> None:
    between, first, _ = books
    before = between.proof()
    # The line of today has the position that the deleted one had.
    between.execute(
        f"DELETE FROM invoice_lines WHERE invoice_id = {first.invoice.pk} AND position = 0;"
        "INSERT INTO invoice_lines (user_id, invoice_id, position, description, quantity,"
        " unit_price, discount_percent, tax_rate, net) SELECT user_id, invoice_id, 0, 'Other', 1,"
        f" 1, 0, 0, 1 FROM invoice_lines WHERE invoice_id = {first.invoice.pk} LIMIT 1"
    )
    recovery = between.recover(tables=("invoice_lines",), exact=True)
    assert _planned(recovery)["invoice_lines"] == {"inserted": 1, "deleted": 1}
    assert _changed(between, before) == set()


def test_a_number_that_was_taken_is_a_conflict_and_nothing_is_changed(books: Books) -> None:
    between, first, _ = books
    pk, number = first.invoice.pk, first.invoice.number
    between.execute(DELETE_THE_INVOICE.format(pk))
    between.execute(
        "INSERT INTO invoices (user_id, customer_id, number, status, currency, issue_date,"
        f" due_date, issued_at, status_reason) VALUES ({first.owner.pk}, {first.customer.pk},"
        f" {number}, 'void', 'EUR', '2026-03-02', '2026-03-30', now(), 'Wrong')"
    )
    before = between.proof()
    with pytest.raises(ConflictError) as refused:
        between.recover(tables=("invoices",), where=f"id = {pk}")
    assert f"public.invoices {pk} can't come back: " in str(refused.value)
    assert "is taken by public.invoices" in str(refused.value)
    assert _changed(between, before) == set()
    recovery = Recovery.objects.newest_first()[0]
    assert recovery.state == RecoveryState.FAILED
    assert len(recovery.plan["conflicts"]) == 1


NO_CONDITIONS = {
    "id = 1; DROP TABLE customers": "it has more than one statement",
    "true) OR (true": "its parentheses don't match",
    "true) UNION SELECT id FROM users --": "it has a comment",
    "pg_read_file('/etc/passwd') IS NOT NULL": "permission denied for function pg_read_file",
    "id IN (SELECT id FROM users)": "permission denied for table users",
    "no_such_column = 1": 'column "no_such_column" does not exist',
}


def test_what_is_no_condition_is_refused(books: Books) -> None:
    between, _, _ = books
    for condition, reason in NO_CONDITIONS.items():
        with pytest.raises(RefusedError) as refused:
            between.recover(tables=("customers",), where=condition)
        assert reason in str(refused.value)
    assert between.rows("SELECT count(*) FROM customers") == [(2,)]


def test_a_customer_of_another_account_is_refused(books: Books) -> None:
    between, first, second = books
    with pytest.raises(RefusedError, match=f"{first.customer.pk} belongs to another account"):
        between.recover(
            subject="customer", keys=(str(first.customer.pk),), account=second.owner.email
        )


@pytest.mark.parametrize(("step", "last", "following"), [(1, 5, 6), (-1, -5, -6)])
def test_a_sequence_goes_on_past_the_rows_that_came_back(
    step: int, last: int, following: int, fresh_database: str
) -> None:
    with database.connect(fresh_database) as connection:
        connection.execute("SET ROLE srvc_owner")
        connection.execute(f"CREATE SEQUENCE steps INCREMENT {step}")
        connection.execute(
            "CREATE TABLE stepping (id bigint PRIMARY KEY DEFAULT nextval('steps'), x int)"
        )
        connection.execute("ALTER SEQUENCE steps OWNED BY stepping.id")
        connection.execute("INSERT INTO stepping (x) SELECT generate_series(1, 5)")
    with cloned(fresh_database) as between, as_owner_by_default():
        between.execute("DELETE FROM stepping; ALTER SEQUENCE steps RESTART", ignoring=False)
        between.execute("INSERT INTO stepping (id, x) VALUES (nextval('steps'), 1)", ignoring=False)
        recovery = between.recover(tables=("stepping",))
        assert recovery.state == RecoveryState.APPLIED
        ids = between.rows(f"SELECT id FROM stepping ORDER BY id * {step}")
        assert [each for (each,) in ids] == list(range(step, last + step, step))
        assert between.rows("SELECT nextval('steps')") == [(following,)]
