"""`seed --scale demo`: businesses to look around in."""

import datetime as dt
import io
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings

from crm.models import (
    Account,
    Customer,
    Invoice,
    Job,
    Payment,
    Quote,
    QuoteStatus,
    ServiceSite,
    User,
)
from crm.seeding.demo.businesses import BUSINESSES
from ops.invariants import check_invariants
from ops.rls.session import acting_as, acting_as_admin
from tests.crm.seeding.invariants import broken_invariants, count
from tests.harness import database

TODAY = dt.date(2026, 3, 2)


def seed(**options: object) -> str:
    out = io.StringIO()
    call_command("seed", scale="demo", stdout=out, **options)
    return out.getvalue()


@override_settings(DEMO_PASSWORD="lantern river stone")
def test_it_tells_three_businesses_with_everything_in_every_state_and_only_once(
    fresh_database: str,
) -> None:
    told = seed(today=TODAY)
    assert "Loaded Cascade Plumbing, Brightside Cleaning, Greenline Landscaping." in told
    assert "lantern" not in told
    assert broken_invariants() == {}
    for email in (
        "owner@demo.example", "office@demo.example", "technician@demo.example",
        "admin@demo.example", "owner@second.example", "owner@third.example",
    ):  # fmt: skip
        assert User.objects.get(email=email).check_password("lantern river stone"), email
    assert User.objects.get(email="admin@demo.example").is_platform_administrator

    with acting_as_admin():
        owners = list(User.objects.filter(owned_account__isnull=False))
        assert Account.objects.count() == len(owners) == 3
    for owner in owners:
        with acting_as(owner):
            _assert_alive(owner)
    with database.connect(fresh_database) as connection:
        assert [each for each in check_invariants(connection) if not each.holds] == []

    rows = {table: count(table) for table in ("customers", "invoices", "customers_history")}
    assert seed(once=True) == ""
    with pytest.raises(CommandError, match=r"loaded already\. Nothing was changed"):
        seed()
    assert {table: count(table) for table in rows} == rows


def _assert_alive(owner: User) -> None:
    assert owner.account is not None
    states = {invoice.payment_state(TODAY) for invoice in Invoice.objects.all()}
    assert states == {"draft", "unpaid", "partial", "paid", "overdue", "void", "written_off"}
    assert set(Quote.objects.values_list("status", flat=True)) == set(QuoteStatus.values)
    assert Quote.objects.expired(TODAY).exists()
    assert set(Job.objects.values_list("status", flat=True)) == {
        "draft", "scheduled", "in_progress", "on_hold", "completed", "closed", "cancelled",
    }  # fmt: skip
    start = dt.datetime.combine(TODAY, dt.time(), ZoneInfo(owner.account.time_zone))
    assert Job.objects.scheduled_between(start, start + dt.timedelta(days=1)).count() == 5
    assert Job.objects.to_be_invoiced().exists()
    assert set(Customer.objects.values_list("status", flat=True)) == {"lead", "active", "archived"}
    assert ServiceSite.objects.exists()
    assert Payment.objects.unallocated().exists()
    assert Payment.objects.filter(amount__lt=0).exists()
    months = set(Invoice.objects.counted().dates("issue_date", "month"))
    assert len(months) >= 12
    # Who wrote it is on record.
    event = Customer.objects.earliest("id").history.get(pgh_label="insert")
    assert event.changed_via == "seed --scale demo"
    assert event.changed_by_id == owner.pk


def test_the_same_seed_and_day_give_the_same_rows(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.seeding.demo.BUSINESSES", BUSINESSES[:1])
    seen = []
    for number in (7, 7, 8):
        told = seed(seed=number, today=TODAY)
        password = told.split("shown this once: ")[1].split()[0]
        assert User.objects.get(email="owner@demo.example").check_password(password)
        seen.append(_content())
        _forget_everything()
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


def _content() -> list[tuple[object, ...]]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT c.first_name, c.last_name, c.email, c.phone_e164, i.number, i.total, "
            "i.status, i.issue_date, i.allocated_total FROM invoices i "
            "JOIN customers c ON c.id = i.customer_id ORDER BY i.id"
        )
        rows: list[tuple[object, ...]] = cursor.fetchall()
        return rows


def _forget_everything() -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute("TRUNCATE users, accounts, customers CASCADE")


@pytest.mark.parametrize("scale", ["demo", "small"])
@override_settings(PRODUCTION_LIKE=True, ENVIRONMENT="staging")
def test_made_up_rows_stay_out_of_other_environments(scale: str) -> None:
    with pytest.raises(CommandError, match=r"This is the environment staging.*Nothing was loaded"):
        call_command("seed", scale=scale)


def test_stopped_half_way_it_leaves_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(cast: object) -> None:
        raise KeyboardInterrupt

    # A whole year is told by then.
    monkeypatch.setattr("crm.seeding.demo.story.tell_jobs", interrupted)
    with pytest.raises(CommandError, match=r"Stopped\. Nothing of the scale demo") as caught:
        seed(today=TODAY)
    assert caught.value.returncode == 130
    assert [count(table) for table in ("users", "customers", "invoices")] == [0, 0, 0]
