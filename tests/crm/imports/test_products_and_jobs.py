"""Products and jobs from CSV."""

# ruff: noqa: E501 - one case of a table is one line

from __future__ import annotations

from decimal import Decimal

import pytest

from crm.models import Job, Product, ServiceSite
from ops.rls.session import acting_as
from tests.crm.imports.bring import bring, problems_of
from tests.factories import make_business, make_customer

pytestmark = pytest.mark.django_db

JOBS = "Job #,Client name,Title,Status,Scheduled start date\n"


def test_products_of_quickbooks_and_northwind() -> None:
    owner = make_business()
    bring(
        owner,
        "products",
        "Product/Service Name,Type,Sales Price / Rate,SKU,Tax rate\n"
        'Hour,Service,"$1,095.00",H-1,8.875%\nFilter,Inventory,9.5,F-1,\n',
    )
    bring(
        owner,
        "products",
        "productID,productName,unitPrice,unitsInStock,discontinued\n1,Chai,18,-3,1\n",
    )
    with acting_as(owner):
        hour, filter_, chai = Product.objects.order_by("id")
        assert (hour.kind, hour.unit_price, hour.tax_rate) == (
            "service",
            Decimal(1095),
            Decimal("8.875"),
        )
        assert (filter_.kind, filter_.sku, filter_.is_active) == ("material", "F-1", True)
        # A negative stock is a fact, and what is in stock is material.
        assert (chai.kind, chai.external_id, chai.is_active) == ("material", "1", False)


def test_products_that_are_there_are_skipped_by_id_number_and_name() -> None:
    owner = make_business()
    with acting_as(owner):
        Product.objects.create(name="Filter", sku="F-1", external_id="1", unit_price=1)
    summary = bring(
        owner,
        "products",
        "id,name,sku,price\n1,Other,,1\n2,Another,F-1,1\n,FILTER,,1\n3,Filter,F-2,1\n",
    )
    assert summary.created == {"products": 1}
    assert summary.duplicates == {"SKU": 1, "external id": 1, "name": 1}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (",1", "line 2: The product has no name."),
        ("Hour,", "line 2: The product has no price."),
        ("Hour,-1", "line 2, column Price: “-1” is below zero."),
        ("Hour,free", "line 2, column Price: “free” is no number."),
        ("=cmd(),1", "line 2, column Name: “=cmd()” begins like a spreadsheet's formula. Put a word in front, or take the sign away."),
    ],
)  # fmt: skip
def test_products_that_can_not_be_are_refused(row: str, problem: str) -> None:
    owner = make_business()
    assert problems_of(
        owner, "products", f"Name,Price\nGood,1\n{row}\n".replace("Good,1\n", "")
    ) == [problem]


@pytest.mark.parametrize(
    ("status", "start", "expected"),
    [
        ("", "", "draft"),
        ("", "2026-03-02 09:00", "scheduled"),
        ("Upcoming", "2026-03-02", "scheduled"),
        ("Requires Invoicing", "2026-03-02", "completed"),
        ("Archived", "2026-03-02", "closed"),
        ("On hold", "", "on_hold"),
        ("Canceled", "", "cancelled"),
        ("In progress", "2026-03-02", "in_progress"),
    ],
)
def test_jobs_of_other_systems_in_any_state(status: str, start: str, expected: str) -> None:
    owner = make_business()
    with acting_as(owner):
        make_customer(first_name="Ada", last_name="King")
    bring(owner, "jobs", f"{JOBS}12,ada KING,Boiler service,{status},{start}\n")
    with acting_as(owner):
        job = Job.objects.get()
        assert (job.status, job.title, job.external_id) == (expected, "Boiler service", "12")
        assert job.number == (None if expected == "draft" else 1)


def test_a_job_without_an_id_is_the_same_by_customer_title_and_start() -> None:
    owner = make_business()
    with acting_as(owner):
        make_customer(email="ada@example.com")
    rows = "email,title,start\nada@example.com,Service,2026-03-02\nADA@example.com,Service,2026-03-09\n"
    assert bring(owner, "jobs", rows).created_rows == 2
    assert bring(owner, "jobs", rows).duplicates == {"customer, title and start": 2}


def test_the_place_of_work_becomes_a_site_once() -> None:
    owner = make_business()
    with acting_as(owner):
        make_customer(external_id="C1", address_line1="1 High St", city="London", postal_code="W1")
    rows = (
        "id,customer id,title,service street,service city,service zip\n"
        "1,C1,At home,1 HIGH ST,london,w1\n2,C1,Away,2 Low St,London,W2\n"
        "3,C1,Away again,2 low st,London,W2\n4,C1,Nowhere,,,\n"
    )
    assert bring(owner, "jobs", rows).created == {"sites": 1, "jobs": 4}
    bring(owner, "jobs", rows.replace("\n1,C1", "\n11,C1").replace("\n2,C1", "\n12,C1"))
    with acting_as(owner):
        site = ServiceSite.objects.get()
        assert site.name == "2 Low St, London"
        assert dict(
            Job.objects.values_list("title", "site__name").filter(external_id__in="1234")
        ) == {
            "At home": None,
            "Away": site.name,
            "Away again": site.name,
            "Nowhere": None,
        }


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("1,Bob,Work,,", "line 2: There is no customer “Bob”. Import the customers first."),
        ("1,Twin,Work,,", "line 2: Several customers are called “Twin”. Name this one by id or e-mail."),
        ("1,,Work,,", "line 2: The row names no customer."),
        (",Ada,,,", "line 2: The job has neither a title nor a number."),
        ("1,Ada,Work,Scheduled,", "line 2: The job is scheduled and has no start."),
        ("1,Ada,Work,Sleeping,", "line 2, column Status: “Sleeping” is unknown; SRVC knows cancelled, closed, completed, draft, in_progress, on_hold, scheduled."),
        ("1,Ada,Work,,13/13/2026", "line 2, column Scheduled start date: “13/13/2026” is no date, read as year-month-day or month/day/year."),
    ],
)  # fmt: skip
def test_jobs_that_can_not_be_are_refused(row: str, problem: str) -> None:
    owner = make_business()
    with acting_as(owner):
        make_customer(company_name="Ada")
        make_customer(company_name="Twin")
        make_customer(company_name="Twin")
    assert problems_of(owner, "jobs", f"{JOBS}{row}\n") == [problem]
    with acting_as(owner):
        assert not Job.objects.exists()


def test_another_accounts_customer_is_no_customer() -> None:
    owner, stranger = make_business(), make_business()
    with acting_as(stranger):
        make_customer(external_id="C1")
    assert problems_of(owner, "jobs", "id,customer id,title\n1,C1,Work\n") == [
        "line 2: There is no customer “C1”. Import the customers first."
    ]
