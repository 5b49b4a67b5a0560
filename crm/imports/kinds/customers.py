"""Customers: their columns in other systems, and how a row becomes one."""

from __future__ import annotations

from typing import Any

from crm.imports import fields as f
from crm.imports.duplicates import DuplicateRule
from crm.imports.fields import Context, Field
from crm.imports.staging import Sheet, StagingTable
from crm.imports.values import ValueRefusedError
from crm.models import Customer
from crm.services.contact import normalize_phone

_STATUS = {
    **dict.fromkeys(("lead", "prospect", "new", "subscriber", "opportunity"), "lead"),
    **dict.fromkeys(("marketing qualified lead", "sales qualified lead"), "lead"),
    **dict.fromkeys(("active", "customer", "client", "current", "evangelist"), "active"),
    **dict.fromkeys(("archived", "inactive", "former", "lost"), "archived"),
}


def _line(column: str) -> f.Parser:
    return f.line(Customer, column)


FIELDS = (
    Field(
        "external_id",
        "External id",
        "customerid clientid contactid recordid jid customernumber clientnumber accountnumber id",
        _line("external_id"),
    ),
    Field("first_name", "First name", "givenname forename first", _line("first_name")),
    Field("last_name", "Last name", "familyname surname last", _line("last_name")),
    Field(
        "company_name",
        "Company name",
        "company companyorganization businessname organization organisation associatedcompany",
        _line("company_name"),
    ),
    Field(
        "full_name",
        "Full name",
        "contactname primarycontact contact displayname customername clientname customerfullname "
        "customer client name",
        f.short(200),
    ),
    Field("job_title", "Job title", "contacttitle position", _line("job_title")),
    Field(
        "email",
        "E-mail",
        "emailaddress mainemail primaryemail emails contactemail customeremail mail",
        f.email,
        empty=("", ""),
    ),
    Field(
        "phone",
        "Phone",
        "phonenumber mainphone mainphonenumber primaryphone telephone tel mobile mobilephone "
        "mobilephonenumber cell cellphone homephone workphone businessphone phone1",
        f.phone,
    ),
    Field(
        "address_line1",
        "Address",
        "address address1 street street1 streetaddress billingstreet billingstreet1 "
        "billingaddress billingaddress1 billingaddressline1 mailingaddress",
        _line("address_line1"),
    ),
    Field(
        "address_line2",
        "Address, second line",
        "address2 street2 streetaddress2 billingstreet2 billingaddress2 billingaddressline2 "
        "apartment suite unit",
        _line("address_line2"),
    ),
    Field("city", "City", "town billingcity billingaddresscity", _line("city")),
    Field(
        "region",
        "State or region",
        "state stateregion province stateprovince county billingstate billingprovince "
        "billingaddressstate",
        _line("region"),
    ),
    Field(
        "postal_code",
        "ZIP or postal code",
        "zip zipcode postcode postalcode billingzip billingzipcode billingpostalcode "
        "billingaddresspostalcode zippostalcode",
        _line("postal_code"),
    ),
    Field(
        "country",
        "Country",
        "countryregion billingcountry billingaddresscountry",
        _line("country"),
    ),
    Field("notes", "Notes", "note comments comment description", f.notes),
    Field("status", "Status", "lifecyclestage customerstatus", f.choice(_STATUS), empty="active"),
    Field("is_lead", "Is a lead", "lead", f.yes_or_no, empty=False),
    Field("is_archived", "Is archived", "archived", f.yes_or_no, empty=False),
)
REQUIRED = ((("first_name", "last_name", "company_name", "full_name"), "the customer's name"),)
_COPIED = (
    "status",
    "first_name",
    "last_name",
    "company_name",
    "job_title",
    "email",
    "phone",
    "phone_e164",
    "address_line1",
    "address_line2",
    "city",
    "region",
    "postal_code",
    "country",
    "notes",
    "external_id",
)
TABLE = StagingTable(
    "import_customers",
    (*((column, "text") for column in _COPIED), ("name", "text")),
)
RULES = (
    DuplicateRule("external id", ("r.external_id",), ("e.external_id",)),
    DuplicateRule("e-mail", ("lower(r.email)",), ("lower(e.email)",)),
    # Fewer digits than that are an extension, not a number of somebody's own.
    DuplicateRule("phone", ("r.phone_e164",), ("e.phone_e164",), when="length(r.phone_e164) > 5"),
    DuplicateRule(
        "name and postal code",
        ("lower(r.name)", "lower(r.postal_code)"),
        ("lower(e.name)", "lower(e.postal_code)"),
    ),
)


def to_row(row: dict[str, Any], context: Context) -> tuple[Any, ...]:
    """A row for the staging table. Raises ValueRefusedError for a customer without a name."""
    _split_name(row)
    company, first, last = row["company_name"], row["first_name"], row["last_name"]
    if not (company or first or last):
        raise ValueRefusedError("The customer has neither a first name nor a last or company name.")
    row["email"], others = row["email"]
    if others:
        row["notes"] = "\n".join(filter(None, [row["notes"], f"Other e-mail: {others}"]))
    if row["is_archived"]:
        row["status"] = "archived"
    elif row["is_lead"]:
        row["status"] = "lead"
    phone = row["phone"]
    row["phone_e164"] = normalize_phone(phone, context.phone_region) if phone else ""
    name = company or f"{first} {last}".strip()
    copied = (row[column] for column in _COPIED)
    return (*copied, name)


def _split_name(row: dict[str, Any]) -> None:
    """First and last name from a column that has both, where the file has no better ones."""
    full = row["full_name"]
    if not full or row["first_name"] or row["last_name"] or full == row["company_name"]:
        return
    if full.count(",") == 1:
        last, _, first = full.partition(",")
    else:
        first, _, last = full.partition(" ")
    row["first_name"] = _fitting(first, "first_name")
    row["last_name"] = _fitting(last, "last_name")


def _fitting(name: str, column: str) -> str:
    name = name.strip()
    limit = f.limit(Customer, column)
    if len(name) > limit:
        raise ValueRefusedError(f"The name has {len(name)} characters; {limit} fit.")
    return name


def write(sheet: Sheet) -> None:
    """Insert the customers that are new."""
    columns = ", ".join(_COPIED)
    sheet.created["customers"] = sheet.in_chunks(
        TABLE,
        f"INSERT INTO customers (user_id, {columns}) SELECT %(account)s, {columns} "
        "FROM import_customers r WHERE {chunk} ORDER BY n",
    )
