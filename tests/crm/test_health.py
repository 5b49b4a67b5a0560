"""The businesses' invariants: each is seen when it alone is broken, and good data breaks none.

The rows are broken by the superuser with triggers and foreign keys off, as after a restore of a
database that somebody had changed by hand.
"""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from typing import Any

import psycopg

from billing.services.subscriptions import subscribe
from crm.models import InvoiceLine, Product, QuoteLine, ServiceSite
from crm.services.conversion import job_from_quote
from crm.services.documents import decide_quote, issue_invoice, recalculate, send_quote
from crm.services.payments import allocate_payment, record_payment
from crm.services.work import schedule_job
from ops.invariants import check_invariants, invariants
from ops.rls.session import acting_as, acting_as_admin
from tests.factories import (
    A_DAY,
    account_of,
    make_business,
    make_customer,
    make_invoice,
    make_quote,
)
from tests.harness import database

# Broken so; seen by these invariants; told so (of the first one).
BREAKS: dict[str, tuple[tuple[str, ...], set[str], str]] = {
    "a line's net": (
        ("UPDATE invoice_lines SET net = net + 1, quantity = quantity + 1 WHERE id = {line}",),
        {"invoice_lines", "invoice_sums", "invoice_taxes", "invoice_lines_history"},
        "line {line} of invoices {invoice}: 101.00 instead of 200.00",
    ),
    "a line less": (
        ("DELETE FROM invoice_lines WHERE id = {line}",),
        {"invoice_sums", "invoice_taxes"},
        "invoices {invoice}: 111.00 instead of 11.00",
    ),
    "no line at all": (
        ("DELETE FROM quote_lines",),
        {"quote_sums"},
        "quotes {quote}: 60.00 instead of any line",
    ),
    "a tax": (
        (
            ("UPDATE invoices SET tax_total = tax_total + 0.03, total = total + 0.03"
            " WHERE id = {invoice}"),
        ),
        {"invoice_taxes", "invoices_history"},
        "invoices {invoice}: tax of 19.11 instead of 19.08",
    ),
    "a quote's tax": (
        ("UPDATE quotes SET tax_total = 9.99, total = subtotal + 9.99",),
        {"quote_taxes", "quotes_history"},
        "quotes {quote}: tax of 9.99 instead of 12.00",
    ),
    "a quote's line": (
        ("UPDATE quote_lines SET net = 59, unit_price = 58", ("UPDATE quotes SET subtotal = 59, "
         "tax_total = 11.80, total = 70.80")),
        {"quote_lines", "quotes_history", "quote_lines_history"},
        "line {quote_line} of quotes {quote}: 59.00 instead of 58.00",
    ),
    "a total": (
        ("ALTER TABLE invoices DROP CONSTRAINT invoice_total",
         "UPDATE invoices SET total = total + 5 WHERE id = {invoice}"),
        {"invoice_totals", "invoices_history"},
        "invoice {invoice}: 111.00 - 11.00 + 19.08 is not 124.08",
    ),
    "a quote's total": (
        ("ALTER TABLE quotes DROP CONSTRAINT quote_total", "UPDATE quotes SET total = 1"),
        {"quote_totals", "quotes_history"},
        "quote {quote}: 60.00 - 0.00 + 12.00 is not 1.00",
    ),
    "a number left out": (
        ("UPDATE invoices SET number = 3 WHERE id = {invoice}",
         "UPDATE document_counters SET last_number = 3 WHERE series = 'invoice'"),
        {"invoice_numbers_gapless", "invoices_history"},
        "account {account}: 2 invoices have numbers up to 3",
    ),
    "an invoice without a number": (
        ("ALTER TABLE invoices DROP CONSTRAINT invoice_number_when_issued",
         "UPDATE invoices SET number = NULL WHERE id = {other}"),
        {"invoice_issued", "invoices_history"},
        "issued invoice {other}: number none, date 2026-03-02, due 2026-04-01",
    ),
    "a draft with a number": (
        ("UPDATE invoices SET number = 3 WHERE status = 'draft'",
         "UPDATE document_counters SET last_number = 3 WHERE series = 'invoice'"),
        {"invoice_issued", "invoices_history"},
        "draft invoice {draft}: number 3, date none, due none",
    ),
    "a quote without a date": (
        ("ALTER TABLE quotes DROP CONSTRAINT quote_number_when_sent",
         "UPDATE quotes SET issue_date = NULL"),
        {"quote_sent", "quotes_history"},
        "converted quote {quote}: number 1, date none",
    ),
    "an invoice's number twice": (
        ("ALTER TABLE invoices DROP CONSTRAINT invoice_number",
         "UPDATE invoices SET number = 1 WHERE number = 2"),
        {"invoice_numbers", "invoices_history"},
        "number 1 of account {account} is taken 2 times",
    ),
    "a quote's number twice": (
        ("ALTER TABLE quotes DROP CONSTRAINT quote_number",
         ("INSERT INTO quotes (user_id, number, customer_id, title, currency, status) "
         "SELECT user_id, number, customer_id, title, currency, 'draft' FROM quotes")),
        {"quote_numbers", "quote_sent"},
        "number 1 of account {account} is taken 2 times",
    ),
    "a job's number twice": (
        ("ALTER TABLE jobs DROP CONSTRAINT job_number",
         ("INSERT INTO jobs (user_id, number, customer_id, title) "
         "SELECT user_id, number, customer_id, 'again' FROM jobs")),
        {"job_numbers"},
        "number 1 of account {account} is taken 2 times",
    ),
    "the invoices' counter behind": (
        ("UPDATE document_counters SET last_number = 1 WHERE series = 'invoice'",),
        {"invoice_counters"},
        "account {account}: the counter is at 1, the highest number is 2",
    ),
    "no counter of quotes": (
        ("DELETE FROM document_counters WHERE series = 'quote'",),
        {"quote_counters"},
        "account {account}: the counter is at 0, the highest number is 1",
    ),
    "the jobs' counter behind": (
        ("UPDATE document_counters SET last_number = 0 WHERE series = 'job'",),
        {"job_counters"},
        "account {account}: the counter is at 0, the highest number is 1",
    ),
    "a payment's allocated total": (
        ("UPDATE payments SET allocated_total = 60",),
        {"payment_allocations", "payments_history"},
        "payment {payment}: 60.00 recorded, 50.00 allocated, of 80.00",
    ),
    "an invoice's allocated total": (
        ("UPDATE invoices SET allocated_total = 49 WHERE id = {invoice}",),
        {"invoice_allocations", "invoices_history"},
        "invoice {invoice}: 49.00 recorded, 50.00 allocated, of 119.08",
    ),
    "more allocated than paid": (
        ("ALTER TABLE payments DROP CONSTRAINT payment_allocated",
         "UPDATE payments SET amount = 49"),
        {"payment_allocations", "payments_history"},
        "payment {payment}: 50.00 recorded, 50.00 allocated, of 49.00",
    ),
    "another customer's invoice": (
        ("UPDATE payments SET customer_id = (SELECT max(id) FROM customers)",),
        {"allocation_customers", "payments_history"},
        ("allocation {allocation}: payment {payment} is customer {stranger}'s, "
         "invoice {invoice} is customer {customer}'s"),
    ),
    "another currency": (
        ("UPDATE payments SET currency = 'EUR'",),
        {"currencies", "payments_history"},
        "payment {payment} is in EUR, account {account} in USD",
    ),
    "an owner elsewhere": (
        ("UPDATE users SET account_id = NULL WHERE id = {account}",),
        {"account_owners"},
        "account {account}: its owner belongs to none",
    ),
    "a site of nobody": (
        ("UPDATE service_sites SET customer_id = 99", "DELETE FROM service_sites_history"),
        {"service_sites_references"},
        "service_sites {site}: customer_id 99",
    ),
    "a job at another account": (
        ("UPDATE jobs SET assigned_to_id = {elsewhere}", "DELETE FROM jobs_history"),
        {"jobs_references"},
        "jobs {job}: assigned_to_id {elsewhere}",
    ),
    "quotes of nobody": (
        ("UPDATE quotes SET customer_id = 99", "DELETE FROM quotes_history"),
        {"quotes_references"},
        "quotes {quote}: customer_id 99",
    ),
    "lines of no product": (
        ("UPDATE quote_lines SET product_id = 99", "DELETE FROM quote_lines_history"),
        {"quote_lines_references"},
        "quote_lines {quote_line}: product_id 99",
    ),
    "invoices of no job": (
        ("UPDATE invoices SET job_id = 99 WHERE id = {other}", "DELETE FROM invoices_history"),
        {"invoices_references"},
        "invoices {other}: job_id 99",
    ),
    "invoice lines of no product": (
        ("UPDATE invoice_lines SET product_id = 99 WHERE id = {line}",
         "DELETE FROM invoice_lines_history"),
        {"invoice_lines_references"},
        "invoice_lines {line}: product_id 99",
    ),
    "payments of nobody": (
        ("ALTER TABLE payments DROP CONSTRAINT payment_amount",
         "UPDATE payments SET reverses_id = 99", "DELETE FROM payments_history"),
        {"payments_references"},
        "payments {payment}: reverses_id 99",
    ),
    "an allocation of no payment": (
        (("INSERT INTO payment_allocations (user_id, payment_id, invoice_id, amount)"
         " VALUES ({account}, 99, {other}, 1)"),
         "UPDATE invoices SET allocated_total = 1 WHERE id = {other}",
         "DELETE FROM invoices_history"),
        {"payment_allocations_references"},
        "payment_allocations {next_allocation}: payment_id 99",
    ),
}  # fmt: skip
# One statement each: the row is no longer what its history tells, and nothing else is wrong.
UNTOLD = {
    "products": "UPDATE products SET name = name || '!'",
    "customers": "UPDATE customers SET notes = 'changed' WHERE id = {customer}",
    "service_sites": "UPDATE service_sites SET name = 'changed'",
    "accounts": "UPDATE accounts SET payment_days = 7 WHERE user_id = {account}",
    "jobs": "UPDATE jobs SET title = 'changed'",
    "quotes": "UPDATE quotes SET title = 'changed'",
    "quote_lines": "UPDATE quote_lines SET description = 'changed'",
    "invoices": "UPDATE invoices SET title = 'changed' WHERE id = {invoice}",
    "invoice_lines": "UPDATE invoice_lines SET description = 'changed' WHERE id = {line}",
    "payments": "UPDATE payments SET notes = 'changed'",
    "payment_allocations": "UPDATE payment_allocations_history SET pgh_label = 'delete'",
    "user_subscriptions": "UPDATE user_subscriptions SET cancel_at_period_end = true",
}
SUBSCRIPTIONS: dict[str, tuple[tuple[str, ...], set[str], str]] = {
    "two at once": (
        ("ALTER TABLE user_subscriptions DROP CONSTRAINT user_subscriptions_user_id_key",
         ("INSERT INTO user_subscriptions (user_id, plan_id, current_period_start,"
         " current_period_end, trial_end) SELECT user_id, plan_id, current_period_start,"
         " current_period_end, trial_end FROM user_subscriptions")),
        {"one_subscription"},
        "account {account} has 2",
    ),
    "an end before the start": (
        ("ALTER TABLE user_subscriptions DROP CONSTRAINT subscription_period",
         "UPDATE user_subscriptions SET current_period_end = '2026-03-01 23:59:59Z'",
         "DELETE FROM user_subscriptions_history"),
        {"subscription_periods"},
        ("subscription {subscription} of account {account}: trialing, from "
        "2026-03-02 00:00:00+00 to 2026-03-01 23:59:59+00"),
    ),
    "no plan": (
        ("DELETE FROM subscription_plans",),
        {"subscription_plans"},
        "subscription {subscription}: account {account}, plan {plan}",
    ),
}  # fmt: skip
EVERY_BREAK = {
    **BREAKS,
    **SUBSCRIPTIONS,
    **{f"{table} untold": ((sql,), {f"{table}_history"}, "") for table, sql in UNTOLD.items()},
}


def test_each_invariant_is_seen_when_it_is_broken_and_only_then(fresh_database: str) -> None:
    ids = a_business()
    with database.connect(fresh_database) as connection:
        connection.execute("SET timezone = 'UTC'")
        assert contradicted(connection) == {}
        for what, (statements, seen, told) in EVERY_BREAK.items():
            with connection.transaction(force_rollback=True):
                connection.execute("SET LOCAL session_replication_role = replica")
                for statement in statements:
                    connection.execute(statement.format(**ids).encode())
                connection.execute("SET LOCAL session_replication_role = origin")
                found = contradicted(connection)
            examples = [example for each in found.values() for example in each]
            assert set(found) == seen, what
            assert told.format(**ids) in [*examples, ""], what
    proven = set().union(*(seen for _, seen, _ in EVERY_BREAK.values()))
    assert proven == {each.name for each in invariants()}, "an invariant that nobody has broken"


def test_taxes_are_added_up_as_the_application_does(fresh_database: str) -> None:
    """Random documents: prices with and without tax, several rates, discounts, yen."""
    chance = random.Random(4)
    with database.connect(fresh_database) as connection:
        for currency in ("USD", "JPY"):
            owner = make_business(currency=currency)
            with acting_as(owner):
                customer = make_customer()
                for _ in range(40):
                    invoice = make_invoice(
                        customer,
                        prices_include_tax=chance.random() < 0.5,
                    )
                    InvoiceLine.objects.bulk_create(
                        InvoiceLine(
                            account_id=owner.pk, invoice=invoice, description="Work", position=i,
                            quantity=Decimal(chance.randint(1, 9000)) / 1000,
                            unit_price=Decimal(chance.randint(100_000, 999_999)) / 10_000,
                            discount_percent=Decimal(chance.choice([0, 0, 5, 33])),
                            tax_rate=Decimal(chance.choice(["0", "7", "19", "8.875"])),
                        )
                        for i in range(chance.randint(1, 5))
                    )  # fmt: skip
                    invoice.discount_total = Decimal(chance.choice([0, 0, 1, 3, 7]))
                    recalculate(document=invoice)
                    issue_invoice(invoice=invoice, by=owner)
        assert contradicted(connection) == {}


def contradicted(connection: psycopg.Connection[Any]) -> dict[str, tuple[str, ...]]:
    """The invariants that do not hold, with examples; all of them are asked."""
    outcomes = list(check_invariants(connection))
    assert [outcome for outcome in outcomes if outcome.skipped] == []
    return {each.invariant.name: each.examples for each in outcomes if not each.holds}


def a_business() -> dict[str, int]:
    """One of everything, and the ids by which it is broken."""
    elsewhere, owner = make_business(), make_business()
    account = account_of(owner)
    with acting_as(owner, via="test"):
        product = Product.objects.create(name="Hour", unit_price=Decimal(60), tax_rate=Decimal(20))
        customer, stranger = make_customer(), make_customer()
        site = ServiceSite.objects.create(customer=customer, name="Cellar")
        quote = make_quote(customer, issue_date=A_DAY)
        quote_line = QuoteLine(quote=quote, product=product)
        quote_line.copy_product()
        quote_line.save()
        send_quote(quote=quote, by=owner)
        decide_quote(quote=quote, accepted=True, by=owner)
        job = job_from_quote(quote=quote, by=owner)
        schedule_job(job=job, start=dt.datetime(2026, 3, 3, 9, tzinfo=dt.UTC), by=owner)
        # Discounted, at two rates: 100.00 at 20 %, 11.00 at 9.0909 %.
        invoice = make_invoice(customer, "100", "11", issue_date=A_DAY)
        first, second = invoice.lines.order_by("position")
        InvoiceLine.objects.filter(pk=first.pk).update(tax_rate=Decimal(20))
        InvoiceLine.objects.filter(pk=second.pk).update(tax_rate=Decimal("10.7143"))
        invoice.discount_total = Decimal(11)
        recalculate(document=invoice)
        invoice = issue_invoice(invoice=invoice, by=owner)
        other = issue_invoice(invoice=make_invoice(customer, "5", issue_date=A_DAY), by=owner)
        draft = make_invoice(customer, "7")
        payment = record_payment(customer=customer, amount=Decimal(80), received_on=A_DAY, by=owner)
        allocation = allocate_payment(
            payment=payment, invoice=invoice, amount=Decimal(50), by=owner
        )
    with acting_as_admin(via="test"):
        subscription = subscribe(
            account=account, plan="starter", by=None, now=dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
        )
    return {
        "elsewhere": elsewhere.pk, "account": account.pk, "customer": customer.pk,
        "stranger": stranger.pk, "site": site.pk, "quote": quote.pk, "quote_line": quote_line.pk,
        "job": job.pk, "invoice": invoice.pk, "line": first.pk, "other": other.pk,
        "draft": draft.pk, "payment": payment.pk, "allocation": allocation.pk,
        "next_allocation": allocation.pk + 1, "subscription": subscription.pk,
        "plan": subscription.plan_id,
    }  # fmt: skip
