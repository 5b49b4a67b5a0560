"""Gapless numbers per account and series."""

import datetime as dt
import random
import threading

import pytest
from django.db import connection, transaction

from crm.errors import CrmError
from crm.models import DocumentCounter, Invoice, Job
from crm.services.documents import issue_invoice
from ops.rls.session import acting_as
from tests.factories import make_business, make_customer, make_invoice

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


@pytest.mark.django_db
def test_a_draft_has_no_number_and_an_issued_invoice_the_next() -> None:
    owner = make_business()
    with acting_as(owner):
        customer = make_customer()
        first, second = (make_invoice(customer, "10") for _ in range(2))
        assert first.number is None
        assert issue_invoice(invoice=second, by=owner).number == 1
        assert issue_invoice(invoice=first, by=owner).number == 2


@pytest.mark.django_db
def test_each_account_and_each_series_counts_for_itself() -> None:
    for owner in (make_business(), make_business()):
        with acting_as(owner):
            customer = make_customer()
            assert issue_invoice(invoice=make_invoice(customer, "1"), by=owner).number == 1
            job = Job.objects.create(
                customer=customer, title="Fix", status="scheduled", scheduled_start=NOON
            )
            job.refresh_from_db()
            assert job.number == 1


@pytest.mark.django_db
def test_an_invoice_that_may_not_be_issued_takes_no_number() -> None:
    owner = make_business()
    with acting_as(owner):
        customer = make_customer()
        with pytest.raises(CrmError, match="An invoice without lines can't be issued"):
            issue_invoice(invoice=make_invoice(customer), by=owner)
        assert issue_invoice(invoice=make_invoice(customer, "5"), by=owner).number == 1


def test_eight_writers_and_rollbacks_leave_no_gap(fresh_database: str) -> None:
    owner = make_business()
    with acting_as(owner):
        customer = make_customer()
    failures: list[BaseException] = []

    def issue(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(12):
                try:
                    with acting_as(owner):
                        issue_invoice(invoice=make_invoice(customer, "10"), by=owner)
                        if chance.random() < 0.3:
                            raise InterruptedError
                except InterruptedError:
                    pass
        except BaseException as error:  # noqa: BLE001 a thread's failure must reach the test
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=issue, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with acting_as(owner):
        numbers = sorted(Invoice.objects.values_list("number", flat=True))
        assert 0 < len(numbers) < 96  # some were rolled back
        assert numbers == list(range(1, len(numbers) + 1))
        counter = DocumentCounter.objects.get(series="invoice")
        assert counter.last_number == len(numbers)


@pytest.mark.django_db
def test_raw_sql_is_numbered_as_well() -> None:
    owner = make_business()
    with acting_as(owner):
        invoice = make_invoice(make_customer(), "10")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE invoices SET status = 'issued' WHERE id = %s", [invoice.pk])
        invoice.refresh_from_db()
        assert invoice.label == "INV-00001"
