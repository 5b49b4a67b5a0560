"""The History page tells when, who, through which door, and what changed from what to what."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from crm.models import Customer, Invoice, Job, User
from ops.rls.session import acting_as
from tests.admin.pages import CUSTOMER, address, sign_in
from tests.factories import make_customer, make_invoice


def history(client: Client, row: Any, page: int = 1) -> list[Any]:
    response = client.get(address(type(row), "history", row.pk), {"p": page})
    assert response.status_code == 200
    return list(response.context["entries"])


def test_a_change_through_the_admin_is_told_field_by_field(client: Client, owner: User) -> None:
    with acting_as(owner, via="factory"):
        customer = make_customer(first_name="Ada", last_name="Abbott")
    client.post(
        address(Customer, "change", customer.pk),
        {**CUSTOMER, "first_name": "Eve", "last_name": "Abbott", "status": "lead"},
    )
    newest, oldest = history(client, customer)
    assert (newest.action, newest.who) == ("Changed", str(owner))
    assert newest.via == f"POST /admin/crm/customer/{customer.pk}/change/"
    assert [(c.name, c.old, c.new) for c in newest.changes] == [
        ("Status", "Active", "Lead"),
        ("First name", "Ada", "Eve"),
    ]
    assert (oldest.action, oldest.via) == ("Added", "factory")
    assert ("First name", "", "Ada") in [(c.name, c.old, c.new) for c in oldest.changes]


def test_references_are_told_by_name(client: Client, owner: User) -> None:
    with acting_as(owner):
        one, other = make_customer(company_name="One"), make_customer(company_name="Other")
        job = Job.objects.create(customer=one, title="Dig")
        job.customer = other
        job.save()
    changes = [(c.name, c.old, c.new) for c in history(client, job)[0].changes]
    assert changes == [("Customer", "One", "Other")]


@pytest.mark.django_db(databases=["default", "owner"])
def test_a_change_by_raw_sql_is_told_with_its_role(client: Client, owner: User) -> None:
    with acting_as(owner):
        customer = make_customer(first_name="Ada")
        with connections["default"].cursor() as cursor:
            cursor.execute("UPDATE customers SET notes = 'raw' WHERE id = %s", [customer.pk])
            cursor.execute("SELECT set_config('app.user_id', '', true)")
            cursor.execute("UPDATE customers SET notes = 'rawer' WHERE id = %s", [customer.pk])
    unknown, known, _ = history(client, customer)
    assert unknown.who == "Database (role srvc_member)"
    assert [(c.name, c.old, c.new) for c in unknown.changes] == [("Notes", "raw", "rawer")]
    assert known.who == str(owner)


def test_history_is_paged_and_tells_changes_across_pages(client: Client, owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
        for number in range(30):
            Customer.objects.filter(pk=customer.pk).update(notes=f"note {number}")
    first, second = history(client, customer), history(client, customer, 2)
    assert (len(first), len(second)) == (25, 6)
    last = first[-1].changes[0]
    assert (last.old, last.new) == ("note 4", "note 5")
    with CaptureQueriesContext(connection) as one_row:
        history(client, customer, 2)
    with CaptureQueriesContext(connection) as many_rows:
        history(client, customer)
    assert len(one_row) == len(many_rows)


def test_history_takes_under_ten_queries_of_its_own(client: Client, owner: User) -> None:
    with acting_as(owner):
        invoice = make_invoice(make_customer(), "10")
    with CaptureQueriesContext(connection) as index:
        client.get(address(Invoice, "changelist"))
    with CaptureQueriesContext(connection) as captured:
        history(client, invoice)
    own = [q for q in captured if "_history" in q["sql"] or "customers" in q["sql"]]
    assert len(own) < 5
    assert len(captured) <= len(index) + 5


def test_a_technician_reads_the_history_of_jobs_only(technician: User, owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
        job = Job.objects.create(customer=customer, title="Dig")
    browser = sign_in(technician)
    assert len(history(browser, job)) == 1
    assert browser.get(address(Customer, "history", customer.pk)).status_code == 403
    page = browser.get(address(Customer, "change", customer.pk))
    assert b">History<" not in page.content
    assert address(Customer, "history", customer.pk) not in page.content.decode()
