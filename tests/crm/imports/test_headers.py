"""Columns are known by the names that other systems give them."""

from __future__ import annotations

import pytest

from crm.imports.headers import check_mapping, recognise, simplify
from crm.imports.kinds import customers, invoices, jobs, products
from crm.imports.problems import ImportRefusedError

GUIDE = "First Name,Last Name,Email,Phone,Address,City,State,Zip,Notes"
JOBBER = (
    "J-ID,Display Name,First Name,Last Name,Company Name,Main Phone #,Email (s),"
    "Billing Street 1,Billing Street 2,Billing City,Billing State,Billing Zip Code,"
    "Billing Country,Lead,Archived"
)
QUICKBOOKS = "Name,Company,Email,Phone,Mobile,Street,City,State,ZIP,Country,Opening Balance"
HUBSPOT = (
    "Record ID,First Name,Last Name,Email,Phone Number,Company Name,Job Title,Street Address,"
    "City,State/Region,Postal Code,Country/Region,Lifecycle Stage"
)


def fields_of(header: str, kind: object) -> dict[str, str]:
    columns = recognise(header.split(","), kind.FIELDS, {}, line=1, file="")  # type: ignore[attr-defined]
    return columns.mapping()


@pytest.mark.parametrize("name", ["Zip Code", "zip_code", "zipCode", "ZIP-CODE", "*zip code:"])
def test_case_spaces_and_punctuation_do_not_matter(name: str) -> None:
    assert fields_of(f"Last name,{name}", customers)[name] == "postal_code"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            GUIDE,
            "first_name last_name email phone address_line1 city region postal_code notes",
        ),
        (
            JOBBER,
            (
                "external_id full_name first_name last_name company_name phone email "
                "address_line1 address_line2 city region postal_code country is_lead is_archived"
            ),
        ),
        (
            HUBSPOT,
            (
                "external_id first_name last_name email phone company_name job_title "
                "address_line1 city region postal_code country status"
            ),
        ),
    ],
)
def test_customers_of_other_systems(header: str, expected: str) -> None:
    assert list(fields_of(header, customers).values()) == expected.split()


def test_two_columns_of_one_field_are_tried_in_order() -> None:
    columns = recognise(QUICKBOOKS.split(","), customers.FIELDS, {}, line=1, file="")
    assert columns.places["phone"] == (3, 4)
    assert columns.ignored == ("Opening Balance",)


def test_products_jobs_and_invoices_of_other_systems() -> None:
    assert fields_of("Product/Service Name,SKU,Sales Price / Rate,Type", products) == {
        "Product/Service Name": "name",
        "SKU": "sku",
        "Sales Price / Rate": "unit_price",
        "Type": "kind",
    }
    assert fields_of("Job #,Client name,Title,Scheduled start date,Closed date", jobs) == {
        "Job #": "external_id",
        "Client name": "customer_name",
        "Title": "title",
        "Scheduled start date": "scheduled_start",
        "Closed date": "completed_at",
    }
    quickbooks = "*InvoiceNo,*Customer,*InvoiceDate,*DueDate,Memo,Item(Product/Service)"
    assert list(
        fields_of(f"{quickbooks},ItemQuantity,ItemRate,*ItemAmount", invoices).values()
    ) == [
        "external_id",
        "customer_name",
        "issue_date",
        "due_date",
        "notes",
        "product_name",
        "quantity",
        "unit_price",
        "line_total",
    ]


def test_a_percent_sign_tells_a_percentage_from_a_share() -> None:
    assert fields_of("Discount,Discount %", invoices) == {
        "Discount": "discount",
        "Discount %": "discount_percent",
    }


def test_a_mapping_overrides_and_leaves_out() -> None:
    header = ["Surname", "Nickname", "Email"]
    mapping = check_mapping({"nickname": "First name", "Email": "-"}, customers.FIELDS, [header])
    columns = recognise(header, customers.FIELDS, mapping, line=1, file="")
    assert columns.mapping() == {"Surname": "last_name", "Nickname": "first_name"}
    assert columns.ignored == ("Email",)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"Nick": "first_name"}, "There is no column “Nick” to map. The columns are: Name."),
        ({"Name": "nick"}, "There is no field “nick” to map “Name” to. Fields: address_line1,"),
    ],
)
def test_a_mapping_of_what_is_not_there_is_refused(mapping: dict[str, str], message: str) -> None:
    with pytest.raises(ImportRefusedError) as caught:
        check_mapping(mapping, customers.FIELDS, [["Name"]])
    assert str(caught.value.problems[0]).startswith(message)


def test_a_column_twice_is_refused() -> None:
    with pytest.raises(ImportRefusedError) as caught:
        recognise(["Email", "Name", "E-Mail"], customers.FIELDS, {}, line=1, file="a.csv")
    assert str(caught.value.problems[0]) == (
        "a.csv, line 1: The column “E-Mail” is there twice, as columns 1 and 3. "
        "Rename or remove one."
    )


def test_columns_without_a_name_are_left_out_and_told() -> None:
    columns = recognise(["Name", "", ""], customers.FIELDS, {}, line=1, file="")
    assert columns.ignored == ("column 2 (without a name)", "column 3 (without a name)")


def test_every_field_is_known_by_its_own_name_and_by_names_of_one_field_only() -> None:
    for kind in (customers, products, jobs, invoices):
        for field in kind.FIELDS:
            assert simplify(field.name) == field.known_names[0]
            assert fields_of(field.name, kind) == {field.name: field.name}
