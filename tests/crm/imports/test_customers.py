"""Customers from CSV: what a row becomes, and who is there already."""

from __future__ import annotations

import pytest

from crm.imports.kinds.customers import FIELDS
from crm.models import Customer
from ops.rls.session import acting_as
from tests.crm.imports.bring import FILES, bring
from tests.factories import make_business, make_customer

pytestmark = pytest.mark.django_db

GUIDE = "First Name,Last Name,Email,Phone,Address,City,State,Zip,Notes\n"


def test_a_file_as_the_guide_has_it_comes_in_whole() -> None:
    owner = make_business()
    summary = bring(owner, "customers", FILES / "guide_customers.csv")
    assert (summary.rows, summary.created, summary.skipped) == (3, {"customers": 3}, 0)
    with acting_as(owner):
        ada = Customer.objects.get(email="ada@example.com")
        assert (ada.first_name, ada.last_name, ada.name) == ("Ada", "Lovelace", "Ada Lovelace")
        assert (ada.phone, ada.phone_e164) == ("(201) 555-0123", "+12015550123")
        assert (ada.address_line1, ada.city) == ("12 High St, Flat 2", "London")
        assert (ada.region, ada.postal_code) == ("", "W1A 1AA")
        assert ada.notes == "Ring twice.\nMind the dog."
        assert ada.status == "active"
        assert ada.account_id == owner.pk


def test_history_names_who_imported_and_how() -> None:
    owner = make_business()
    bring(owner, "customers", GUIDE + "Ada,Lovelace,,,,,,,\n")
    with acting_as(owner):
        (event,) = Customer.objects.get().history.all()  # type: ignore[attr-defined]
        assert (event.pgh_label, event.changed_by_id) == ("insert", owner.pk)
        assert (event.changed_role, event.changed_via) == ("srvc_member", "test")


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("semicolons_cp1252.csv", "semicolon"), ("tabs_utf16.csv", "tab")],
)
def test_files_of_other_encodings_and_separators_say_the_same(name: str, delimiter: str) -> None:
    owner = make_business()
    summary = bring(owner, "customers", FILES / name)
    assert summary.files[0]["delimiter"] == delimiter
    with acting_as(owner):
        assert list(Customer.objects.order_by("id").values_list("last_name", "city")) == [
            ("Müller", "Genève"),
            ("Ångström", "Uppsala"),
        ]


def test_one_column_with_the_whole_name_is_taken_apart() -> None:
    owner = make_business()
    bring(
        owner,
        "customers",
        'Name,Company\nAda Augusta King,\n"Hopper, Grace",\nAcme,Acme\n,Widgets\n',
    )
    with acting_as(owner):
        found = Customer.objects.order_by("id").values_list(
            "first_name", "last_name", "company_name"
        )
        assert list(found) == [
            ("Ada", "Augusta King", ""),
            ("Grace", "Hopper", ""),
            ("", "", "Acme"),
            ("", "", "Widgets"),
        ]


def test_jobbers_flags_and_several_addresses_of_one_field() -> None:
    owner = make_business()
    bring(
        owner,
        "customers",
        "J-ID,First Name,Email (s),Main Phone #,Mobile,Lead,Archived\n"
        'J1,Ada,"a@example.com, b@example.com",,(201) 555-0123,false,false\n'
        "J2,Bob,,,,TRUE,false\nJ3,Cy,,,,false,true\n",
    )
    with acting_as(owner):
        ada, bob, cy = Customer.objects.order_by("id")
        assert (ada.email, ada.notes) == ("a@example.com", "Other e-mail: b@example.com")
        assert ada.phone == "(201) 555-0123"
        assert (ada.status, bob.status, cy.status) == ("active", "lead", "archived")


def test_null_is_empty_and_a_mister_null_is_a_customer() -> None:
    owner = make_business()
    bring(owner, "customers", "First Name,Last Name,City\nJohn,Null,NULL\n")
    with acting_as(owner):
        assert Customer.objects.values_list("last_name", "city").get() == ("Null", "")


@pytest.mark.parametrize(
    ("existing", "row", "reason"),
    [
        ({"email": "ADA@Example.com"}, "X,Y,ada@example.COM,,,,,,", "e-mail"),
        ({"phone": "+1 201 555 0123"}, "X,Y,,201.555.0123,,,,,", "phone"),
        (
            {"first_name": "Ada", "last_name": "King", "postal_code": "W1A 1AA"},
            "ADA,king,,,,,,w1a 1aa,",
            "name and postal code",
        ),
    ],
)
def test_who_is_there_already_is_skipped(existing: dict[str, str], row: str, reason: str) -> None:
    owner = make_business()
    with acting_as(owner):
        make_customer(**existing)
    summary = bring(owner, "customers", f"{GUIDE}{row}\nNew,One,,,,,,,\n")
    assert (summary.created_rows, summary.duplicates) == (1, {reason: 1})
    assert [str(duplicate) for duplicate in summary.first_duplicates] == [
        f"line 2: same {reason} as a row that was there before"
    ]
    with acting_as(owner):
        assert Customer.objects.count() == 2


def test_repeated_rows_of_a_file_come_in_once_and_name_the_first() -> None:
    owner = make_business()
    summary = bring(owner, "customers", FILES / "repeated_customers.csv")
    assert summary.created_rows == 2
    assert [str(duplicate) for duplicate in summary.first_duplicates] == [
        "line 3: same e-mail as line 2",
        "line 4: same phone as line 2",
        "line 6: same name and postal code as line 5",
    ]


def test_a_name_without_a_postal_code_and_a_short_number_are_nobodys_own() -> None:
    owner = make_business()
    summary = bring(owner, "customers", GUIDE + "Ada,King,,1234,,,,,\nAda,King,,1234,,,,,\n")
    assert summary.created_rows == 2


def test_another_accounts_customers_are_no_duplicates() -> None:
    owner, stranger = make_business(), make_business()
    with acting_as(stranger):
        make_customer(email="ada@example.com", external_id="7")
    summary = bring(owner, "customers", "id,Name,Email\n7,Ada King,ada@example.com\n")
    assert summary.created_rows == 1


def test_a_second_import_changes_nothing_even_when_the_rows_have_changed() -> None:
    owner = make_business()
    bring(owner, "customers", "id,Name,Email\n7,Ada King,ada@example.com\n")
    summary = bring(owner, "customers", "id,Name,Email\n7,Ada Lovelace,lovelace@example.com\n")
    assert (summary.created_rows, summary.duplicates) == (0, {"external id": 1})
    with acting_as(owner):
        assert Customer.objects.get().name == "Ada King"


def test_several_files_come_in_together_or_not_at_all() -> None:
    owner = make_business()
    summary = bring(owner, "customers", "Name\nAda King\n", "Last name;City\nHopper;NYC\n")
    assert summary.created == {"customers": 2}


def test_a_dry_run_tells_the_same_and_keeps_nothing() -> None:
    owner = make_business()
    summary = bring(owner, "customers", FILES / "guide_customers.csv", dry_run=True)
    assert (summary.created, summary.dry_run) == ({"customers": 3}, True)
    with acting_as(owner):
        assert not Customer.objects.exists()
    assert bring(owner, "customers", FILES / "guide_customers.csv").created_rows == 3


def test_a_mapping_from_the_caller_wins() -> None:
    owner = make_business()
    bring(
        owner,
        "customers",
        "Nick,Name\nAl,Smith\n",
        mapping={"Nick": "first_name", "Name": "last_name"},
    )
    with acting_as(owner):
        assert Customer.objects.get().name == "Al Smith"


def test_every_field_of_the_kind_reaches_the_table() -> None:
    owner = make_business()
    names = {field.name for field in FIELDS} - {"full_name", "is_lead", "is_archived"}
    values = {name: f"a {name}"[:20] for name in names} | {
        "email": "a@example.com",
        "phone": "201 555 0123",
        "status": "lead",
    }
    header = ",".join(values)
    bring(owner, "customers", f"{header}\n{','.join(values.values())}\n")
    with acting_as(owner):
        assert Customer.objects.values(*values).get() == values
