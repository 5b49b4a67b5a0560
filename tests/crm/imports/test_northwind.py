"""The Northwind data set, whole and to the cent."""

from __future__ import annotations

import csv
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from django.db import connections
from django.db.models import Max, Min, Sum

from crm.models import Customer, Invoice, InvoiceLine, Job, Payment, Product, ServiceSite
from ops.rls.session import acting_as
from tests.crm.imports.northwind import DATA, import_all, needs_northwind
from tests.factories import make_business

pytestmark = [pytest.mark.django_db(databases=["default", "owner"]), needs_northwind]


def _sum_of_lines() -> Decimal:
    """The sum over all lines, from the file itself."""
    with (DATA / "order_details.csv").open(newline="", encoding="utf-8") as file:
        return sum(
            (
                (
                    Decimal(r["unitPrice"]) * int(r["quantity"]) * (1 - Decimal(r["discount"]))
                ).quantize(Decimal("0.01"), ROUND_HALF_UP)
                for r in csv.DictReader(file)
            ),
            Decimal(0),
        )


def _everything() -> dict[str, tuple[Any, ...]]:
    """Count and content of every table that an import writes, its history with it."""
    tables = [
        *(model._meta.db_table for model in (Customer, Product, Job, Invoice, InvoiceLine)),
        *(model._meta.db_table for model in (Payment, ServiceSite)),
        "payment_allocations",
        "document_counters",
    ]
    tables += [f"{table}_history" for table in tables if table != "document_counters"]
    found = {}
    # On the test's own connection: nothing is committed that another could see.
    with connections["default"].cursor() as cursor:
        for table in tables:
            cursor.execute(
                f"SELECT count(*), sum(hashtextextended(r::text, 0)::numeric) FROM {table} r"
            )
            found[table] = cursor.fetchone()
    return found


def test_northwind_comes_in_to_the_cent_and_a_second_time_changes_nothing() -> None:
    owner = make_business()
    customers, products, jobs, invoices = import_all(owner)
    assert customers.created == {"customers": 91}
    assert products.created == {"products": 77}
    assert jobs.created == {"jobs": 830, "sites": 9}
    assert invoices.created == {"invoices": 830, "lines": 2155, "payments": 830}
    assert {name: summary.skipped for name, summary in (("customers", customers),)} == {
        "customers": 0
    }
    expected = _sum_of_lines()
    assert expected == Decimal("1265793.29")
    with acting_as(owner):
        assert InvoiceLine.objects.aggregate(net=Sum("net"))["net"] == expected
        assert Invoice.objects.aggregate(total=Sum("total"))["total"] == expected
        assert Payment.objects.aggregate(amount=Sum("amount"))["amount"] == expected
        assert Invoice.objects.filter(status="issued", balance=0).count() == 830
        for model in (Job, Invoice):
            numbers = model._default_manager.aggregate(low=Min("number"), high=Max("number"))
            assert numbers == {"low": 1, "high": 830}
            assert model._default_manager.values("number").distinct().count() == 830
        before = _everything()
    again = import_all(owner)
    assert [summary.created_rows for summary in again] == [0, 0, 0, 0]
    assert [summary.duplicates for summary in again] == [
        {"external id": count} for count in (91, 77, 830, 830)
    ]
    with acting_as(owner):
        assert _everything() == before


def test_orders_become_jobs_and_invoices_of_their_customer() -> None:
    owner = make_business(time_zone="Europe/Berlin")
    import_all(owner)
    with acting_as(owner):
        job = Job.objects.select_related("customer", "site").get(external_id="10250")
        assert job.title == "Order 10250"
        assert job.customer.external_id == "HANAR"
        assert job.status == "completed"
        # Midnight in Berlin, in August and in July.
        assert job.scheduled_start is not None
        assert job.completed_at is not None
        assert job.scheduled_start.isoformat() == "1996-08-04T22:00:00+00:00"
        assert job.completed_at.isoformat() == "1996-07-11T22:00:00+00:00"
        assert job.site is None
        waiting = Job.objects.get(external_id="11077")
        assert (waiting.status, waiting.completed_at) == ("scheduled", None)
        elsewhere = Job.objects.select_related("site").get(external_id="10254")
        assert elsewhere.site is not None
        assert elsewhere.site.address_line1 == "Hauptstr. 31"
        invoice = Invoice.objects.select_related("job").get(external_id="10250")
        assert invoice.job == job
        assert (str(invoice.issue_date), str(invoice.due_date)) == ("1996-07-08", "1996-08-05")
        # 7.70 x 10; 42.40 x 35 less 15 %; 16.80 x 15 less 15 %.
        assert [line.net for line in invoice.lines.all()] == [
            Decimal("77.00"),
            Decimal("1261.40"),
            Decimal("214.20"),
        ]
        assert invoice.total == Decimal("1552.60")
        assert invoice.payment_state(invoice.issue_date) == "paid"  # type: ignore[arg-type]
        customer = Customer.objects.get(external_id="ALFKI")
        assert (customer.first_name, customer.last_name) == ("Maria", "Anders")
        assert (customer.company_name, customer.region) == ("Alfreds Futterkiste", "")


def test_nobody_else_sees_what_was_imported() -> None:
    owner, stranger = make_business(), make_business()
    import_all(owner)
    with acting_as(stranger):
        counts = [model._default_manager.count() for model in (Customer, Product, Job, Invoice)]
    assert counts == [0, 0, 0, 0]
