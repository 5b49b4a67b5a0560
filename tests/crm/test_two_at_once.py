"""Two people change one thing at the same moment: the second goes by what the first has left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db import connection

from crm.models import Customer, Payment
from crm.services.customers import archive_customer
from crm.services.documents import issue_invoice
from crm.services.payments import pay_invoice
from ops.rls.session import acting_as
from tests.crm.imports.bring import bring
from tests.factories import A_DAY, make_business, make_customer, make_invoice
from tests.harness import database
from tests.harness.waiting import wait_until


class Second(threading.Thread):
    """Does something in a session of its own, and keeps what came of it."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act = act
        self.outcome: Any = None

    def run(self) -> None:
        try:
            self.outcome = self._act()
        except Exception as error:  # noqa: BLE001 (the test's to judge)
            self.outcome = error
        finally:
            connection.close()


def waiting_behind(name: str, act: Callable[[], object]) -> Second:
    """Start the second one, and return when it waits for a lock of the first one (or is over)."""
    second = Second(act)
    second.start()
    waits = "SELECT FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"

    def waits_or_is_over() -> bool:
        with database.connect() as watching:
            return not second.is_alive() or watching.execute(waits, [name]).fetchone() is not None

    wait_until(waits_or_is_over)
    return second


def test_a_payment_of_what_is_left_waits_for_another_and_pays_the_rest(fresh_database: str) -> None:
    owner = make_business()
    with acting_as(owner):
        invoice = make_invoice(make_customer(), "100")
        issue_invoice(invoice=invoice, by=owner)

    def pay(amount: Decimal | None = None) -> Payment:
        with acting_as(owner):
            return pay_invoice(invoice=invoice, received_on=A_DAY, by=owner, amount=amount)

    with acting_as(owner):
        pay_invoice(invoice=invoice, received_on=A_DAY, by=owner, amount=Decimal(40))
        second = waiting_behind(fresh_database, pay)
    second.join()
    assert isinstance(second.outcome, Payment), second.outcome
    with acting_as(owner):
        invoice.refresh_from_db()
        assert sorted(Payment.objects.values_list("amount", flat=True)) == [40, 60]
        assert invoice.allocated_total == 100


def test_who_archives_a_customer_sees_what_another_has_just_changed(fresh_database: str) -> None:
    owner = make_business()
    with acting_as(owner):
        customer = make_customer(last_name="Before")

    def archive() -> Customer:
        with acting_as(owner):
            return archive_customer(customer=customer, by=owner)

    with acting_as(owner):
        Customer.objects.filter(pk=customer.pk).update(last_name="After")
        second = waiting_behind(fresh_database, archive)
    second.join()
    assert (second.outcome.status, second.outcome.last_name) == ("archived", "After")


def test_the_second_of_two_imports_knows_what_the_first_has_brought(fresh_database: str) -> None:
    owner = make_business()
    file = "First name,Last name,Email\nAda,North,ada@north.example\n"
    with acting_as(owner):
        first = bring(owner, "customers", file)
        second = waiting_behind(fresh_database, lambda: bring(owner, "customers", file))
    second.join()
    assert (first.created_rows, first.skipped) == (1, 0)
    assert (second.outcome.created_rows, second.outcome.skipped) == (0, 1)
