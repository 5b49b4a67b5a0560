"""Rules and history hold against SQL written to get around them."""

from __future__ import annotations

from typing import Any

import pgtrigger
import pytest
from django.db import IntegrityError, connection, connections, transaction

from crm.models import Customer, Invoice, InvoiceLine, User
from crm.services.documents import issue_invoice
from ops.rls.audit import audit_tables
from ops.rls.session import acting_as
from ops.rls.triggers import guard_triggers, unguarded_functions
from tests.factories import make_business, make_customer, make_invoice

ALL = "{" + ",".join(trigger.get_pgid(model) for model, trigger in pgtrigger.registered()) + "}"


@pytest.fixture
def owner(db: None) -> User:
    return make_business()


def run(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)


def refused(statement: str, message: str) -> None:
    with pytest.raises(IntegrityError, match=message), transaction.atomic():
        run(statement)


def test_a_member_switches_no_trigger_off(owner: User) -> None:
    with acting_as(owner):
        issue_invoice(invoice=make_invoice(make_customer(), "10"), by=owner)
        run("SELECT set_config('pgtrigger.ignore', %s, true)", ALL)
        refused("UPDATE invoices SET title = 'other'", "The invoice is issued")
        refused("DELETE FROM invoice_lines", "The invoice is issued")
        customer = make_customer()
        assert customer.history.count() == 1


def test_a_temporary_table_hides_no_document_from_its_lines(owner: User) -> None:
    with acting_as(owner):
        invoice = issue_invoice(invoice=make_invoice(make_customer(), "10"), by=owner)
        run("CREATE TEMP TABLE invoices ON COMMIT DROP AS SELECT * FROM invoices")
        run("UPDATE pg_temp.invoices SET status = 'draft'")
        refused("UPDATE invoice_lines SET unit_price = 1", "The invoice is issued")
        run("DROP TABLE pg_temp.invoices")
        assert InvoiceLine.objects.get(invoice=invoice).unit_price == 10


def test_a_temporary_table_swallows_no_history(owner: User) -> None:
    with acting_as(owner):
        run("CREATE TEMP TABLE customers_history ON COMMIT DROP AS TABLE customers_history")
        customer = make_customer()
        Customer.objects.update(notes="unseen?")
        run("DROP TABLE pg_temp.customers_history")
        assert customer.history.count() == 2


@pytest.mark.parametrize(
    ("table", "values"),
    [("invoices", "allocated_total = 10"), ("payments", "allocated_total = amount")],
)
def test_what_is_paid_is_not_feigned_from_within_another_trigger(
    owner: User, table: str, values: str
) -> None:
    with acting_as(owner):
        customer = make_customer()
        issue_invoice(invoice=make_invoice(customer, "10"), by=owner)
        run(
            "INSERT INTO payments (user_id, customer_id, amount, currency, received_on) "
            "VALUES (%s, %s, 10, 'USD', '2026-03-02')",
            owner.pk,
            customer.pk,
        )
        run("CREATE TEMP TABLE lever (x int) ON COMMIT DROP")
        run(
            f"CREATE FUNCTION pg_temp.pull() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN UPDATE {table} SET {values}; RETURN NEW; END $$"
        )
        run(
            "CREATE TRIGGER lever AFTER INSERT ON lever FOR EACH ROW "
            "EXECUTE FUNCTION pg_temp.pull()"
        )
        refused("INSERT INTO lever VALUES (1)", "follows from payment allocations")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            """
            INSERT INTO invoices (user_id, customer_id, currency, status, total, subtotal)
            SELECT user_id, id, 'USD', 'issued', 5, 5 FROM customers
            """,
            "A new invoice is a draft first",
        ),
        (
            """
            INSERT INTO quotes (user_id, customer_id, currency, status)
            SELECT user_id, id, 'USD', 'accepted' FROM customers
            """,
            "A new quote is a draft first",
        ),
        (
            """
            INSERT INTO payments
                (user_id, customer_id, amount, currency, received_on, allocated_total)
            SELECT user_id, id, 5, 'USD', '2026-03-02', 5 FROM customers
            """,
            "What a payment pays follows from payment allocations",
        ),
    ],
)
def test_nothing_begins_its_life_beyond_the_rules(
    owner: User, statement: str, message: str
) -> None:
    with acting_as(owner):
        make_customer()
        refused(statement, message)


def test_the_owner_may_load_rows_that_are_complete(fresh_database: str) -> None:
    user = make_business()
    with acting_as(user):
        issue_invoice(invoice=make_invoice(make_customer(), "10"), by=user)
    with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", [ALL])
        cursor.execute("UPDATE invoices SET title = 'loaded'")
    with acting_as(user):
        assert Invoice.objects.get().title == "loaded"


def test_a_trigger_installed_anew_is_found_and_guarded_again(fresh_database: str) -> None:
    assert unguarded_functions("owner") == []
    model, trigger = pgtrigger.registered("crm.Invoice:b_frozen")[0]
    trigger.install(model, database="owner")
    found = unguarded_functions("owner")
    # The trigger's own function, and the one that asks whether it is switched off.
    assert len(found) == 2
    assert {finding.id for finding in audit_tables()} == {"ops.E107"}
    guard_triggers("owner")
    assert unguarded_functions("owner") == []
    assert audit_tables() == []
