"""Invoices from CSV: two files or a flat one, added up, issued, paid."""

# ruff: noqa: E501 - one case of a table is one line

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from crm.models import Invoice, Payment, Product, User
from crm.services.totals import LineAmounts, compute_totals
from ops.rls.session import acting_as
from tests.crm.imports.bring import FILES, bring, problems_of
from tests.factories import account_of, make_business, make_customer

pytestmark = pytest.mark.django_db

FLAT = "Invoice #,Customer id,Date,Description,Quantity,Price\n"


def business_with_customer(**options: Any) -> User:
    owner = make_business(**options)
    with acting_as(owner):
        make_customer(external_id="C1", company_name="Acme", email="acme@example.com")
    return owner


def test_a_flat_file_as_quickbooks_has_it() -> None:
    owner = business_with_customer()
    summary = bring(owner, "invoices", FILES / "quickbooks_invoices.csv")
    assert summary.created == {"invoices": 2, "lines": 3, "payments": 0}
    assert summary.rows == 2
    with acting_as(owner):
        first, second = Invoice.objects.order_by("number")
        assert (first.external_id, first.number, first.status) == ("1001", 1, "issued")
        assert (first.issue_date, first.due_date) == (dt.date(2026, 1, 15), dt.date(2026, 2, 14))
        assert [line.description for line in first.lines.all()] == ["Spring service", "Filter"]
        assert (first.subtotal, first.tax_total) == (Decimal("139.98"), Decimal("10.00"))
        assert (first.total, first.balance) == (Decimal("149.98"), Decimal("149.98"))
        assert (second.external_id, second.total) == ("1002", Decimal("85.50"))


@pytest.mark.parametrize(
    ("columns", "values", "status", "paid", "received"),
    [
        ("Status", "Paid", "issued", "20.00", None),
        ("Status", "Sent", "issued", "0.00", None),
        ("Status", "Draft", "draft", "0.00", None),
        ("Status", "Voided", "void", "0.00", None),
        ("Status", "Bad debt", "written_off", "0.00", None),
        ("Paid", "yes", "issued", "20.00", None),
        ("Paid", "no", "issued", "0.00", None),
        ("Paid date", "2026-01-20", "issued", "20.00", dt.date(2026, 1, 20)),
        ("Amount paid", "5", "issued", "5.00", None),
        ("Paid,Paid date", "no,", "issued", "0.00", None),
    ],
)
def test_what_is_paid_follows_from_the_files_columns(
    columns: str, values: str, status: str, paid: str, received: dt.date | None
) -> None:
    owner = business_with_customer()
    header = FLAT.strip() + f",{columns}\n"
    bring(owner, "invoices", f"{header}7,C1,2026-01-15,Work,2,10,{values}\n")
    with acting_as(owner):
        invoice = Invoice.objects.get()
        assert (invoice.status, invoice.allocated_total) == (status, Decimal(paid))
        payment = Payment.objects.first()
        assert (payment is not None) == (Decimal(paid) > 0)
        if payment and received:
            assert payment.received_on == received


@pytest.mark.parametrize(("paid", "balance"), [(True, "0.00"), (False, "20.00")])
def test_the_caller_may_say_what_is_paid(paid: bool, balance: str) -> None:
    owner = business_with_customer()
    bring(owner, "invoices", FLAT + "7,C1,2026-01-15,Work,2,10\n", paid=paid)
    with acting_as(owner):
        assert Invoice.objects.get().balance == Decimal(balance)


def test_lines_of_an_invoice_need_not_stand_together() -> None:
    owner = business_with_customer()
    bring(
        owner,
        "invoices",
        FLAT + "7,C1,2026-01-15,A,1,1\n8,C1,2026-01-15,B,1,2\n7,,,C,1,4\n",
    )
    with acting_as(owner):
        assert [
            (invoice.external_id, [line.description for line in invoice.lines.all()], invoice.total)
            for invoice in Invoice.objects.order_by("number")
        ] == [("7", ["A", "C"], Decimal(5)), ("8", ["B"], Decimal(2))]


def test_products_are_found_by_id_number_or_name_and_text_stays_text() -> None:
    owner = business_with_customer()
    with acting_as(owner):
        filter_ = Product.objects.create(name="Filter", sku="F-1", external_id="11", unit_price=3)
    bring(
        owner,
        "invoices",
        "Invoice,Customer id,Date,Product ID,SKU,Item,Price\n"
        "7,C1,2026-01-15,11,,,1\n7,C1,,,F-1,,1\n7,C1,,,,FILTER,1\n7,C1,,,,Advice,1\n",
    )
    with acting_as(owner):
        lines = [(line.product, line.description) for line in Invoice.objects.get().lines.all()]
    assert lines == [
        (filter_, "Filter"),
        (filter_, "Filter"),
        (filter_, "FILTER"),
        (None, "Advice"),
    ]


def test_shares_and_percentages_of_discount() -> None:
    owner = business_with_customer()
    bring(owner, "invoices", "Invoice,Customer,Date,Price,Discount\n7,Acme,2026-01-15,10,0.15\n")
    bring(owner, "invoices", "Invoice,Customer,Date,Price,Discount %\n8,Acme,2026-01-15,10,15\n")
    with acting_as(owner):
        assert [i.total for i in Invoice.objects.all()] == [Decimal("8.50"), Decimal("8.50")]


@pytest.mark.parametrize("including", [True, False])
@pytest.mark.parametrize("currency", ["EUR", "JPY"])
def test_totals_are_what_the_one_function_says(including: bool, currency: str) -> None:
    chance = random.Random(7)
    owner = business_with_customer(currency=currency)
    with acting_as(owner):
        account = account_of(owner)
        account.prices_include_tax = including
        account.save()
    unit = Decimal(1) if currency == "JPY" else Decimal("0.01")
    rows, expected = [], {}
    for number in range(60):
        lines = [
            LineAmounts(
                Decimal(chance.randint(1, 9999)).scaleb(-chance.choice([0, 1, 3])),
                Decimal(chance.randint(0, 999_999)).scaleb(-chance.choice([1, 2, 4])),
                Decimal(chance.choice(["0", "5", "12.5", "33.3333", "100"])),
                Decimal(chance.choice(["0", "7", "19", "8.875"])),
            )
            for _ in range(chance.randint(1, 5))
        ]
        rows += [
            f"{number},C1,2026-01-15,{x.quantity},{x.unit_price},{x.discount_percent},{x.tax_rate}"
            for x in lines
        ]
        expected[str(number)] = compute_totals(lines, minor_unit=unit, prices_include_tax=including)
    header = "Invoice,Customer id,Date,Quantity,Price,Discount %,Tax rate\n"
    bring(owner, "invoices", header + "\n".join(rows) + "\n")
    with acting_as(owner):
        for invoice in Invoice.objects.prefetch_related("lines"):
            totals = expected[invoice.external_id]
            assert tuple(line.net for line in invoice.lines.all()) == totals.nets
            assert (invoice.subtotal, invoice.tax_total, invoice.total) == (
                totals.subtotal,
                totals.tax_total,
                totals.total,
            )


def test_numbers_follow_those_that_were_there_and_drafts_have_none() -> None:
    owner = business_with_customer()
    header = FLAT.strip() + ",Status\n"
    bring(owner, "invoices", header + "a,C1,2026-01-15,Work,1,1,Sent\n")
    bring(
        owner,
        "invoices",
        header + "b,C1,2026-01-15,Work,1,1,Draft\nc,C1,2026-01-15,Work,1,1,Sent\n",
    )
    with acting_as(owner):
        found = dict(Invoice.objects.values_list("external_id", "number"))
        assert found == {"a": 1, "b": None, "c": 2}


def test_a_payment_without_a_date_is_not_in_the_future() -> None:
    owner = business_with_customer()
    today = timezone.now().date()
    bring(owner, "invoices", FLAT + f"7,C1,{today},Work,1,1\n", paid=True)
    with acting_as(owner):
        assert Payment.objects.get().received_on == today


HEADERS = "id,customer id,date\n7,C1,2026-01-15\n"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ([FLAT + "7,C2,2026-01-15,Work,1,1\n"], "line 2: There is no customer “C2”. Import the customers first."),
        ([FLAT + "7,,2026-01-15,Work,1,1\n"], "line 2: The row names no customer."),
        ([FLAT + ",C1,2026-01-15,Work,1,1\n"], "line 2: The row has no invoice number."),
        ([FLAT + "7,C1,,Work,1,1\n"], "line 2: The invoice “7” has no date."),
        ([FLAT + "7,C1,2026-02-30,Work,1,1\n"], "line 2, column Date: “2026-02-30” is no date, read as year-month-day or month/day/year."),
        ([FLAT + "7,C1,2026-01-15,Work,1,-1\n"], "line 2, column Price: “-1” is below zero."),
        ([FLAT + "7,C1,2026-01-15,Work,0,1\n"], "line 2: The quantity is zero."),
        ([FLAT + "7,C1,2026-01-15,,,\n"], "line 2: The invoice “7” has no lines."),
        ([FLAT + "7,C1,2026-01-15,Work,2,\n"], "line 2: The line has no price."),
        ([FLAT + "7,C1,2026-01-15,A,1,1\n7,C1,2026-01-16,B,1,1\n"], "line 3: The row has another date than the first row of invoice “7”."),
        (["Invoice,Customer id,Date,Price,Discount\n7,C1,2026-01-15,1,15\n"], "line 2, column Discount: “15” is no share from 0 to 1. If it is a percentage, call the column “Discount %”."),
        (["Invoice,Customer id,Date,Quantity,Price,Amount\n7,C1,2026-01-15,2,5,11\n"], "line 2: The amount 11 is not quantity x price = 10.00."),
        (["Invoice,Customer id,Date,Due,Price\n7,C1,2026-01-15,2026-01-14,1\n"], "line 2: The invoice is due before its date."),
        (["Invoice,Customer id,Date,Product ID,Price\n7,C1,2026-01-15,99,1\n"], "line 2: There is no product “99”. Import the products first."),
        (["Invoice,Customer id,Date,Price,Currency\n7,C1,2026-01-15,1,EUR\n"], "line 2: The invoice is in EUR, the account in USD."),
        (["Invoice,Customer id,Date,Price,Amount paid\n7,C1,2026-01-15,1,2\n"], "line 2: Paid is 2, more than the invoice's total of 1.00."),
        ([HEADERS], "There are invoices and no lines. Give the file of their lines as well."),
        (["id,price\n7,1\n"], "There are lines and no invoices. Give the file of the invoices as well."),
        ([HEADERS, "id,price\n7,1\n8,1\n"], "file2.csv, line 3: There is no invoice “8” for this line."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_line(files: list[str], problem: str) -> None:
    owner = business_with_customer()
    assert problems_of(owner, "invoices", *files) == [problem]
    with acting_as(owner):
        assert not Invoice.objects.exists()
