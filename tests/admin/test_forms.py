"""What the forms take, copy and refuse."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from crm.models import (
    Customer,
    Invoice,
    Job,
    Payment,
    PaymentAllocation,
    Product,
    Quote,
    ServiceSite,
    User,
)
from crm.services.documents import issue_invoice, send_quote
from ops.rls.session import acting_as, acting_as_admin
from tests.admin.pages import CUSTOMER, QUOTE, address, errors_of, lines
from tests.factories import make_customer, make_invoice, make_quote

LINE = {"quantity": "1", "discount_percent": "0"}


def test_a_line_takes_what_is_left_empty_from_its_product(client: Client, owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
        product = Product.objects.create(
            name="Filter",
            unit="piece",
            unit_price=Decimal("10.10"),
            tax_name="VAT",
            tax_rate=Decimal(19),
        )
    response = client.post(
        address(Quote, "add"),
        {
            **QUOTE,
            "customer": customer.pk,
            **lines(
                {**LINE, "product": product.pk, "quantity": "3"},
                {**LINE, "description": "By hand", "unit_price": "1.005", "tax_rate": "0"},
            ),
        },
    )
    assert response.status_code == 302
    with acting_as(owner):
        quote = Quote.objects.get()
        first, second = quote.lines.all()
        assert (first.description, first.unit, first.unit_price) == (
            "Filter",
            "piece",
            Decimal("10.10"),
        )
        assert (first.tax_name, first.tax_rate, first.net) == ("VAT", 19, Decimal("30.30"))
        assert (second.net, second.position) == (Decimal("1.01"), 2)
        assert (quote.subtotal, quote.tax_total, quote.total) == (
            Decimal("31.31"),
            Decimal("5.76"),
            Decimal("37.07"),
        )
        assert quote.account_id == first.account_id == owner.pk


def test_a_discount_is_taken_from_the_lines_and_not_from_more(client: Client, owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
    line = {**LINE, "description": "Work", "unit_price": "100"}
    data = {"title": "", "customer": customer.pk, **lines(line)}
    client.post(address(Invoice, "add"), {**data, "discount_total": "20"})
    with acting_as(owner):
        invoice = Invoice.objects.get()
        assert (invoice.discount_total, invoice.total) == (20, 80)
    errors = errors_of(client.post(address(Invoice, "add"), {**data, "discount_total": "200"}))
    assert errors["__all__"][0].startswith("The discount of $200.00 is larger than the lines.")
    with acting_as(owner):
        assert Invoice.objects.count() == 1


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({**LINE, "tax_rate": "0"}, None),
        ({**LINE, "unit_price": "1"}, "description"),
        ({**LINE, "description": "x"}, "unit_price"),
        (
            {"quantity": "0", "discount_percent": "0", "description": "x", "unit_price": "1"},
            "quantity",
        ),
        ({**LINE, "description": "x", "unit_price": "-1"}, "unit_price"),
        (
            {"quantity": "1", "discount_percent": "101", "description": "x", "unit_price": "1"},
            "discount_percent",
        ),
    ],
)
def test_a_line_that_makes_no_sense_is_told_at_its_field(
    client: Client, owner: User, line: dict[str, Any], field: str | None
) -> None:
    with acting_as(owner):
        customer = make_customer()
    response = client.post(address(Quote, "add"), {**QUOTE, "customer": customer.pk, **lines(line)})
    if field is None:
        # An untouched line is no line.
        assert response.status_code == 302
        return
    errors = response.context["inline_admin_formsets"][0].formset.errors
    assert list(errors[0]) == [field]
    assert "onstraint" not in str(errors[0])


def test_a_second_row_with_the_same_external_id_is_a_form_error(
    client: Client, owner: User, stranger: User
) -> None:
    with acting_as(owner):
        make_customer(external_id="A-1")
    with acting_as(stranger):
        make_customer(external_id="B-1")
    data = {**CUSTOMER, "first_name": "Eve"}
    errors = errors_of(client.post(address(Customer, "add"), {**data, "external_id": "A-1"}))
    assert errors["__all__"] == ["Another row of this account has this external id."]
    # The other account's id is free here, and nobody learns that it exists.
    response = client.post(address(Customer, "add"), {**data, "external_id": "B-1"})
    assert response.status_code == 302


def test_a_customer_without_any_name_is_told_so(client: Client) -> None:
    errors = errors_of(client.post(address(Customer, "add"), CUSTOMER))
    assert errors["__all__"] == ["Give a first name, a last name or a company name."]


def test_a_refusal_of_the_database_keeps_what_was_typed(client: Client, owner: User) -> None:
    with acting_as(owner):
        invoice = issue_invoice(invoice=make_invoice(make_customer(), "10"), by=owner)
    response = client.post(
        address(Payment, "add"),
        {
            "customer": invoice.customer_id,
            "amount": "50",
            "method": "cash",
            "received_on": "2026-03-02",
            "reference": "typed with care",
            **lines({"invoice": invoice.pk, "amount": "20"}, prefix="allocations"),
        },
    )
    assert errors_of(response)["__all__"] == ["More is allocated to the invoice than it asks for."]
    assert b"typed with care" in response.content
    with acting_as(owner):
        assert not Payment.objects.exists()
        assert not PaymentAllocation.objects.exists()


def test_a_payment_pays_the_invoices_it_names(client: Client, owner: User) -> None:
    with acting_as(owner):
        invoice = issue_invoice(invoice=make_invoice(make_customer(), "10"), by=owner)
    data = {
        "customer": invoice.customer_id,
        "amount": "50",
        "method": "cash",
        "received_on": "2026-03-02",
    }
    line = {"invoice": invoice.pk, "amount": "10"}
    assert (
        client.post(
            address(Payment, "add"), {**data, **lines(line, prefix="allocations")}
        ).status_code
        == 302
    )
    with acting_as(owner):
        invoice.refresh_from_db()
        payment = Payment.objects.get()
        assert (invoice.balance, payment.unallocated, payment.currency) == (0, 40, "USD")
    errors = errors_of(
        client.post(
            address(Payment, "add"), {**data, "amount": "-5", **lines(prefix="allocations")}
        )
    )
    assert errors["amount"] == ["A payment is more than zero; take one back by reversing it."]


def test_sent_quotes_and_issued_invoices_are_shown_and_not_edited(
    client: Client, owner: User
) -> None:
    with acting_as(owner):
        customer = make_customer()
        quote = send_quote(quote=make_quote(customer, "10", title="Sent"), by=owner)
        invoice = issue_invoice(invoice=make_invoice(customer, "10", title="Sent"), by=owner)
    for row in (quote, invoice):
        url = address(type(row), "change", row.pk)
        page = client.get(url)
        assert page.status_code == 200
        assert not page.context["has_change_permission"]
        assert b'name="_save"' not in page.content
        changed = {**QUOTE, "title": "Other", "customer": customer.pk, **lines()}
        assert client.post(url, changed).status_code == 403
        assert client.post(address(type(row), "delete", row.pk), {"post": "yes"}).status_code == 403
        with acting_as(owner):
            row.refresh_from_db()
            assert row.title == "Sent"


def test_a_site_of_another_customer_is_told_at_the_field(client: Client, owner: User) -> None:
    with acting_as(owner):
        one, other = make_customer(), make_customer()
        site = ServiceSite.objects.create(customer=other, name="Elsewhere")
    data = {"title": "Dig", "priority": "normal", "customer": one.pk, "site": site.pk}
    errors = errors_of(client.post(address(Job, "add"), data))
    assert errors == {"site": ["This belongs to another customer."]}


def test_a_job_with_a_time_is_scheduled_and_numbered(client: Client, owner: User) -> None:
    with acting_as(owner):
        customer = make_customer()
    response = client.post(
        address(Job, "add"),
        {
            "title": "Dig",
            "priority": "normal",
            "customer": customer.pk,
            "scheduled_start_0": "2026-03-02",
            "scheduled_start_1": "09:30",
        },
        follow=True,
    )
    assert b"J-00001 Dig" in response.content
    with acting_as(owner):
        job = Job.objects.get()
        assert (job.status, job.number) == ("scheduled", 1)
        # Half past nine where the business is.
        assert job.scheduled_start is not None
        assert job.scheduled_start.isoformat() == "2026-03-02T14:30:00+00:00"


def test_a_customer_with_documents_is_not_deleted(client: Client, owner: User) -> None:
    with acting_as(owner):
        invoice = make_invoice(make_customer(), "10")
    page = client.post(
        address(Customer, "delete", invoice.customer_id), {"post": "yes"}, follow=True
    )
    assert page.status_code == 200
    with acting_as(owner):
        assert Customer.objects.filter(pk=invoice.customer_id).exists()


def test_a_platform_administrator_names_the_account_of_a_new_customer(
    platform: Client, owner: User, client: Client
) -> None:
    data = {**CUSTOMER, "first_name": "Ada"}
    assert b'name="account"' not in client.get(address(Customer, "add")).content
    assert errors_of(platform.post(address(Customer, "add"), data)) == {
        "account": ["This field is required."]
    }
    response = platform.post(address(Customer, "add"), {**data, "account": owner.pk})
    assert response.status_code == 302
    with acting_as(owner):
        customer = Customer.objects.get()
    response = platform.post(
        address(Job, "add"), {"title": "Dig", "priority": "low", "customer": customer.pk}
    )
    assert response.status_code == 302
    with acting_as(owner):
        assert Job.objects.get().account_id == owner.pk


def test_a_platform_administrator_does_not_mix_accounts(
    platform: Client, owner: User, stranger: User
) -> None:
    with acting_as(owner):
        customer = make_customer()
    with acting_as(stranger):
        product = Product.objects.create(name="Theirs", unit_price=1)
    response = platform.post(
        address(Quote, "add"),
        {**QUOTE, "customer": customer.pk, **lines({**LINE, "product": product.pk})},
    )
    errors = response.context["inline_admin_formsets"][0].formset.errors
    assert errors == [{"product": ["This belongs to another account."]}]
    with acting_as_admin():
        assert not Quote.objects.exists()
