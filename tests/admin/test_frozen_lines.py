"""Lines of an issued document are read, not filled in."""

from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders

from crm.admin.cells import number
from crm.admin.documents import LineInline
from crm.models import Invoice, InvoiceLine, User
from crm.services.documents import issue_invoice
from ops.rls.session import acting_as
from tests.admin.pages import address, sign_in
from tests.factories import make_customer


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        ("5.000", {}, "5"),
        ("2.500", {}, "2.5"),
        ("1249.0000", {"decimals": 2}, "1,249.00"),
        ("0.0125", {"decimals": 2}, "0.0125"),
        ("8.6000", {"unit": " %", "before": "VAT "}, "VAT 8.6 %"),
        ("100", {}, "100"),
    ],
)
def test_a_number_has_the_decimals_it_needs(
    value: str, options: dict[str, object], text: str
) -> None:
    assert f">{text}<" in number(Decimal(value), **options)  # type: ignore[arg-type]


def test_the_page_of_an_issued_invoice_shows_plain_numbers(owner: User) -> None:
    with acting_as(owner):
        invoice = Invoice.objects.create(customer=make_customer())
        InvoiceLine.objects.create(
            invoice=invoice,
            description="Pipe",
            quantity=Decimal("2.5"),
            unit_price=Decimal("6.85"),
            tax_rate=Decimal("8.6"),
            tax_name="Sales tax",
        )
        issue_invoice(invoice=invoice, by=owner)
    page = sign_in(owner).get(address(Invoice, "change", invoice.pk)).content.decode()
    for shown in (">2.5<", ">6.85<", ">Sales tax 8.6 %<", ">$17.13<"):
        assert shown in page
    assert "6.8500" not in page


@pytest.mark.parametrize("field", sorted({*LineInline.fields, *LineInline.fields_when_frozen}))
def test_on_a_phone_every_cell_of_a_line_says_what_it_is(field: str) -> None:
    found = finders.find("srvc/admin.css")
    assert isinstance(found, str)
    assert f".tabular td.field-{field}::before" in Path(found).read_text()
