"""Every change is recorded: who, when, what, through whichever door."""

from typing import Any

import pytest
from django.db import connection, connections

from crm.models import Customer
from ops.rls.session import acting_as, acting_as_admin
from tests.factories import make_business, make_customer, make_invoice


@pytest.mark.django_db
def test_an_insert_an_update_and_a_delete_are_recorded_with_who_and_how() -> None:
    owner = make_business()
    with acting_as(owner, via="POST /admin/"):
        customer = make_customer(first_name="Ada")
        pk = customer.pk
        customer.first_name = "Grace"
        customer.save()
        customer.delete()
        events = list(
            Customer.history.rel.related_model.objects.filter(pgh_obj_id=pk).order_by("pgh_id")
        )
    assert [(event.pgh_label, event.first_name) for event in events] == [
        ("insert", "Ada"),
        ("update", "Grace"),
        ("delete", "Grace"),
    ]
    assert {(event.changed_by_id, event.changed_via) for event in events} == {
        (owner.pk, "POST /admin/")
    }
    assert {event.changed_role for event in events} == {"srvc_member"}


def test_raw_sql_outside_of_any_context_is_recorded_with_its_login(fresh_database: str) -> None:
    owner = make_business()
    with acting_as(owner):
        customer = make_customer()
    with connections["owner"].cursor() as cursor:
        cursor.execute("UPDATE customers SET notes = 'by hand'")
    with acting_as_admin():
        event = customer.history.order_by("-pgh_id").first()
    assert (event.notes, event.changed_by_id, event.changed_role) == (
        "by hand",
        None,
        "srvc_owner",
    )


@pytest.mark.django_db
def test_saving_without_a_change_is_no_history() -> None:
    with acting_as(make_business()):
        customer = make_customer()
        customer.save()
        assert customer.history.count() == 1


@pytest.mark.django_db
def test_a_statement_of_many_rows_records_each_row() -> None:
    with acting_as(make_business()):
        customers = [make_customer() for _ in range(3)]
        Customer.objects.update(notes="all at once")
        for customer in customers:
            assert customer.history.count() == 2


@pytest.mark.django_db
def test_members_read_their_history_and_change_none() -> None:
    owner, stranger = make_business(), make_business()
    with acting_as(owner):
        make_invoice(make_customer(), "10")
    tables = ("customers_history", "invoices_history", "invoice_lines_history", "accounts_history")
    with acting_as(stranger):
        assert [_count(table) for table in tables] == [0, 0, 0, 1]
    with acting_as(owner):
        assert all(_count(table) for table in tables)


def _count(table: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]
