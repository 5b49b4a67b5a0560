"""One row of every business table, and the lists of tables that the tests go through."""

import datetime as dt
from decimal import Decimal

from django.apps import apps
from django.db import models

from billing.models import SubscriptionPlan, UserSubscription
from crm.models import Account, ImportRun, Job, Product, ServiceSite, User
from crm.models.base import AccountModel
from crm.services.payments import pay_invoice
from ops.rls.session import acting_as, acting_as_admin
from tests.factories import A_DAY, make_business, make_customer, make_invoice, make_quote

# Tables whose rows belong to an account, by whichever column says so.
ACCOUNT_MODELS: list[type[models.Model]] = [
    model for model in apps.get_models() if issubclass(model, AccountModel)
] + [Account, UserSubscription]
HISTORY_MODELS: list[type[models.Model]] = [
    model for model in apps.get_models() if model._meta.db_table.endswith("_history")
]


def name(model: type[models.Model]) -> str:
    return model._meta.db_table


def make_full_business() -> User:
    """A business with at least one row in every table of ACCOUNT_MODELS; returns its owner."""
    owner = make_business()
    with acting_as(owner):
        customer = make_customer()
        site = ServiceSite.objects.create(customer=customer, name="Workshop")
        Product.objects.create(name="Filter", unit_price=Decimal("9.50"))
        quote = make_quote(customer, "10.00")
        job = Job.objects.create(
            customer=customer,
            site=site,
            quote=quote,
            assigned_to=owner,
            title="Repair",
            status="scheduled",
            scheduled_start=dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC),
        )
        make_invoice(customer, "1.00")
        invoice = make_invoice(customer, "10.00", job=job)
        invoice.status = "issued"
        invoice.save()
        invoice.refresh_from_db()
        pay_invoice(invoice=invoice, received_on=A_DAY, by=owner)
        ImportRun.objects.create(kind="customers", started_by=owner)
    with acting_as_admin():
        UserSubscription.objects.create(
            account_id=owner.pk,
            plan=SubscriptionPlan.objects.earliest("pk"),
            status="active",
            current_period_start=dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
            current_period_end=dt.datetime(2026, 4, 1, tzinfo=dt.UTC),
        )
    return owner
