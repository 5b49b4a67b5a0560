"""Lists cost as many queries for fifty rows as for one, and count no further than useful."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, connections, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from crm.admin import changelist
from crm.admin.changelist import BoundedPaginator, EstimatingPaginator
from crm.models import (
    Customer,
    DocumentCounter,
    Invoice,
    Job,
    Payment,
    Product,
    Quote,
    ServiceSite,
    User,
)
from crm.services.accounts import add_staff
from crm.services.documents import issue_invoice, send_quote
from ops.rls.session import acting_as, acting_as_admin
from tests.admin.pages import address, sign_in
from tests.factories import A_DAY, account_of, make_customer, make_invoice, make_quote

MODELS = [Customer, ServiceSite, Product, Job, Quote, Invoice, Payment, User]


def _fill(owner: User, number: int) -> None:
    account = account_of(owner)
    with acting_as(owner):
        customer = make_customer(
            last_name="", company_name=f"Harbour no{number}x", email=f"h{number}@a.example"
        )
        site = ServiceSite.objects.create(customer=customer, name=f"Pier {number}")
        Product.objects.create(name=f"Filter {number}", unit_price=Decimal("9.90"))
        send_quote(quote=make_quote(customer, "10", title="Pump"), by=owner)
        issue_invoice(invoice=make_invoice(customer, "10", title="Pump"), by=owner)
        Payment.objects.create(customer=customer, amount=5, currency="USD", received_on=A_DAY)
    with acting_as_admin():
        person = add_staff(
            account=account,
            email=f"t{number}@{account.pk}.example",
            group="Technician",
            password=None,
            by=None,
        )
    with acting_as(owner):
        Job.objects.create(
            customer=customer,
            site=site,
            assigned_to=person,
            title="Pump",
            status="scheduled",
            scheduled_start=timezone.now(),
        )


def _queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        response = client.get(url)
    assert response.status_code == 200
    return len(captured)


def test_every_list_takes_as_many_queries_for_fifty_rows_as_for_one(
    client: Client, owner: User, platform: Client, stranger: User
) -> None:
    _fill(owner, 0)
    urls = [address(model, "changelist") for model in MODELS]
    browsers = [client, platform]
    platform.get("/admin/")
    before = {url: [_queries(browser, url) for browser in browsers] for url in urls}
    for number in range(1, 50):
        _fill(owner if number % 2 else stranger, number)
    after = {url: [_queries(browser, url) for browser in browsers] for url in urls}
    assert after == before
    assert max(count for counts in after.values() for count in counts) <= 22


def test_a_member_finds_rows_by_number_title_and_customer(client: Client, owner: User) -> None:
    for number in range(2):
        _fill(owner, number)

    def found(model: type[models.Model], query: str) -> int:
        page = client.get(address(model, "changelist"), {"q": query})
        return int(page.context["cl"].result_count)

    assert found(Customer, "harbour NO1x") == 1
    assert found(Customer, "HARBOUR") == 2
    assert found(Customer, "h0@a.example") == 1
    assert found(Job, "j-00002") == 1
    assert found(Job, "pump no0x") == 1
    assert found(Quote, "Q-00001") == 1
    assert found(Quote, "pump") == 2
    assert found(Invoice, "inv 2") == 1
    assert found(Invoice, "harbour nothing") == 0
    assert found(Payment, "harbour") == 2
    assert found(ServiceSite, "pier 1") == 1
    assert found(Product, "filter 0") == 1


def test_a_platform_administrator_finds_rows_of_every_account_and_sees_whose_they_are(
    platform: Client, owner: User, stranger: User
) -> None:
    _fill(owner, 1)
    _fill(stranger, 2)
    page = platform.get(address(Job, "changelist"), {"q": "harbour"})
    assert page.context["cl"].result_count == 2
    assert "Bright Plumbing" in page.content.decode()
    assert platform.get(address(Job, "changelist"), {"q": "1"}).context["cl"].result_count == 2
    counters = platform.get(address(DocumentCounter, "changelist"))
    assert counters.context["cl"].result_count == 6


def test_a_count_stops_where_nobody_pages_further(
    client: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelist, "COUNT_LIMIT", 3)
    with acting_as(owner):
        for _ in range(3):
            make_customer()
        exact = BoundedPaginator(Customer.objects.order_by("id"), 2)
        assert (exact.count, exact.num_pages, str(exact.count)) == (3, 2, "3")
        make_customer()
        bounded = BoundedPaginator(Customer.objects.order_by("id"), 2)
        assert (int(bounded.count), bounded.num_pages, str(bounded.count)) == (3, 2, "3+")
    page = client.get(address(Customer, "changelist")).content.decode()
    assert "3+" in page


@pytest.mark.django_db(databases=["default", "owner"])
def test_only_an_unfiltered_list_over_all_accounts_shows_the_estimate(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelist, "COUNT_LIMIT", 3)
    with acting_as(owner):
        for _ in range(4):
            make_customer()
    monkeypatch.setattr(
        EstimatingPaginator, "_estimate", staticmethod(lambda rows: 0 if rows.query.where else 1234)
    )
    with acting_as_admin():
        whole = EstimatingPaginator(Customer.objects.order_by("id"), 2)
        part = EstimatingPaginator(Customer.objects.filter(status="active").order_by("id"), 2)
        assert str(whole.count) == "about 1,234"
        assert str(part.count) == "3+"


def test_the_estimate_is_read_from_the_catalogue(platform: Client) -> None:
    with acting_as_admin():
        assert EstimatingPaginator._estimate(Customer.objects.all()) <= 0
        assert EstimatingPaginator._estimate(Customer.objects.filter(pk=1)) == 0
    assert connections["default"].in_atomic_block


def test_dates_are_stepped_through_without_reading_the_rows(client: Client, owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
        for day in (dt.date(2024, 2, 29), dt.date(2026, 3, 2)):
            issue_invoice(invoice=make_invoice(customer, "1", issue_date=day), by=owner)
    url = address(Invoice, "changelist")

    def steps(query: str = "") -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            cl: Any = client.get(url + query).context["cl"]
        assert not any("DISTINCT" in query["sql"] for query in captured)
        return [step.title for step in cl.date_steps]

    assert steps() == ["2026", "2025", "2024"]
    assert steps("?issue_date__year=2024")[:3] == ["All dates", "2024", "Jan"]
    days = steps("?issue_date__year=2024&issue_date__month=2")
    assert days[:3] == ["All dates", "2024", "February"]
    assert days[-1] == "29"
    day = client.get(url + "?issue_date__year=2024&issue_date__month=2&issue_date__day=29")
    assert day.context["cl"].result_count == 1


@pytest.mark.parametrize(
    "query",
    [
        "?issue_date__year=x",
        "?issue_date__month=13",
        "?issue_date_from=2026-02-30",
        "?customer__id__exact=abc",
        "?payment=nonsense",
        "?p=0",
        "?o=99",
        "?q=%00",
    ],
)
def test_a_nonsense_address_is_no_error_page(client: Client, query: str) -> None:
    assert client.get(address(Invoice, "changelist") + query).status_code in (200, 302)


def test_filters_by_day_take_both_ends_in_the_accounts_time_zone(
    client: Client, owner: User
) -> None:
    with acting_as(owner):
        customer = make_customer()
        # 23:30 in New York on 2 March, which is 3 March in UTC.
        Job.objects.create(
            customer=customer,
            title="Late call",
            status="scheduled",
            scheduled_start=dt.datetime(2026, 3, 3, 4, 30, tzinfo=dt.UTC),
        )
    url = address(Job, "changelist")
    day = {"scheduled_start_from": "2026-03-02", "scheduled_start_to": "2026-03-02"}
    assert client.get(url, day).context["cl"].result_count == 1
    assert client.get(url, {"scheduled_start_from": "2026-03-03"}).context["cl"].result_count == 0


def test_a_technicians_list_of_jobs_has_no_way_to_prices(technician: User, owner: User) -> None:
    _fill(owner, 1)
    browser = sign_in(technician)
    assert browser.get(address(Job, "changelist")).status_code == 200
    for model in (Quote, Invoice, Payment, Product):
        assert browser.get(address(model, "changelist")).status_code == 403
