"""Writes on customers beyond plain editing."""

from __future__ import annotations

from django.db import transaction

from crm.models import Customer, CustomerStatus, User
from crm.services.refusals import told_by_the_database


@told_by_the_database
@transaction.atomic
def archive_customer(*, customer: Customer, by: User | None) -> Customer:
    """Take a customer out of the daily lists; everything about them stays."""
    return _move(customer, CustomerStatus.ARCHIVED)


@told_by_the_database
@transaction.atomic
def restore_customer(*, customer: Customer, by: User | None) -> Customer:
    """Bring an archived customer, or a lead, among the active ones."""
    return _move(customer, CustomerStatus.ACTIVE)


def _move(customer: Customer, status: CustomerStatus) -> Customer:
    customer = Customer.objects.select_for_update().get(pk=customer.pk)
    customer.status = status
    customer.save(update_fields=["status"])
    return customer
