"""The first page: today's work, what is owed, what came in; each sees what is theirs."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from crm.models import Job, User
from crm.services.documents import issue_invoice, send_quote
from crm.services.payments import pay_invoice
from ops.rls.session import acting_as
from srvc.dashboard import last_twelve_months
from tests.admin.pages import sign_in
from tests.factories import make_customer, make_invoice, make_quote


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    cache.clear()


def cards(client: Client) -> dict[str, list[str]]:
    context = client.get("/admin/").context
    return {card["title"]: card["values"] for card in context["cards"]}


def test_figures_follow_the_work(client: Client, owner: User) -> None:
    assert cards(client) == {
        "Open quotes": ["None"],
        "Unpaid": ["None"],
        "Overdue": ["None"],
        "Late jobs": ["0"],
        "Jobs to be invoiced": ["0"],
    }
    today = timezone.localdate()
    with acting_as(owner):
        customer = make_customer()
        send_quote(quote=make_quote(customer, "100"), by=owner)
        make_quote(customer, "0.50")
        old = today - dt.timedelta(days=60)
        late = make_invoice(customer, "70", issue_date=old, due_date=old)
        late = issue_invoice(invoice=late, by=owner)
        issue_invoice(invoice=make_invoice(customer, "30"), by=owner)
        hour_ago = timezone.now() - dt.timedelta(hours=1)
        Job.objects.create(
            customer=customer, title="Late", status="scheduled", scheduled_start=hour_ago
        )
        Job.objects.create(
            customer=customer, title="Done", status="completed", completed_at=hour_ago
        )
    assert cards(client) == {
        "Open quotes": ["$100.50"],
        "Unpaid": ["$100.00"],
        "Overdue": ["$70.00"],
        "Late jobs": ["1"],
        "Jobs to be invoiced": ["1"],
    }
    with acting_as(owner):
        pay_invoice(invoice=late, received_on=today, by=owner)
    assert cards(client)["Overdue"] == ["None"]
    assert cards(client)["Unpaid"] == ["$30.00"]


def test_another_business_sees_none_of_it(stranger: User, owner: User) -> None:
    with acting_as(owner):
        issue_invoice(invoice=make_invoice(make_customer(), "30"), by=owner)
    page = sign_in(stranger).get("/admin/")
    assert page.context["charts"] == []
    assert all(card["values"] in (["None"], ["0"]) for card in page.context["cards"])


def test_revenue_is_drawn_by_month_with_a_table_beside_it(client: Client, owner: User) -> None:
    today = timezone.localdate()
    with acting_as(owner):
        customer = make_customer()
        issue_invoice(invoice=make_invoice(customer, "30"), by=owner)
        long_ago = today - dt.timedelta(days=800)
        issue_invoice(invoice=make_invoice(customer, "99", issue_date=long_ago), by=owner)
        make_invoice(customer, "500")
    page = client.get("/admin/")
    (chart,) = page.context["charts"]
    data = json.loads(chart["data"])
    assert data["datasets"][0]["data"] == ["0"] * 11 + ["30.00"]
    assert chart["rows"][-1][1] == "$30.00"
    assert "$30.00 in twelve months" in page.content.decode()


def test_today_is_the_accounts_own_day(client: Client, owner: User) -> None:
    midnight = timezone.make_aware(
        dt.datetime.combine(timezone.localdate(timezone=_zone("America/New_York")), dt.time.min),
        _zone("America/New_York"),
    )
    with acting_as(owner):
        customer = make_customer()
        for title, start in (
            ("Yesterday", midnight - dt.timedelta(minutes=1)),
            ("First", midnight),
            ("Tomorrow", midnight + dt.timedelta(days=1, hours=1)),
        ):
            Job.objects.create(
                customer=customer, title=title, status="scheduled", scheduled_start=start
            )
    assert [job["title"] for job in client.get("/admin/").context["today"]] == ["First"]


def _zone(name: str) -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def test_a_technician_sees_their_own_jobs_and_no_money(technician: User, owner: User) -> None:
    now = timezone.now()
    with acting_as(owner):
        customer = make_customer()
        for title, person in (("Mine", technician), ("Not mine", owner)):
            Job.objects.create(
                customer=customer,
                title=title,
                assigned_to=person,
                status="scheduled",
                scheduled_start=now,
            )
        issue_invoice(invoice=make_invoice(customer, "30"), by=owner)
    page = sign_in(technician).get("/admin/")
    assert [card["title"] for card in page.context["cards"]] == ["Late jobs", "My open jobs"]
    assert [job["title"] for job in page.context["today"]] == ["Mine"]
    assert page.context["charts"] == []
    assert "$30" not in page.content.decode()


def test_the_platforms_totals_never_add_up_two_currencies(
    platform: Client, owner: User, stranger: User
) -> None:
    for person, price in ((owner, "30"), (stranger, "40")):
        with acting_as(person):
            issue_invoice(invoice=make_invoice(make_customer(), price), by=person)
    assert cards(platform)["Unpaid"] == ["€40.00", "$30.00"]
    charts = platform.get("/admin/").context["charts"]
    assert [chart["title"] for chart in charts] == [
        "Revenue by month, EUR",
        "Revenue by month, USD",
    ]


def test_the_last_twelve_months_cross_the_year() -> None:
    months = last_twelve_months(dt.date(2026, 2, 28))
    assert (months[0], months[-1], len(months)) == (dt.date(2025, 3, 1), dt.date(2026, 2, 1), 12)


@pytest.mark.parametrize(
    ("who", "shown", "hidden"),
    [
        ("owner", ["Customers", "Jobs", "Invoices", "Staff", "Settings"], ["Businesses", "Groups"]),
        ("technician", ["Customers", "Sites", "Jobs"], ["Quotes", "Invoices", "Products", "Staff"]),
    ],
)
def test_the_sidebar_follows_the_group(
    request: pytest.FixtureRequest, who: str, shown: list[str], hidden: list[str]
) -> None:
    context = sign_in(request.getfixturevalue(who)).get("/admin/").context
    titles = [
        item["title"]
        for group in context["sidebar_navigation"]
        for item in group["items"]
        if item["has_permission"]
    ]
    assert set(shown) <= set(titles)
    assert not set(hidden) & set(titles)
