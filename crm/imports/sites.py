"""Service sites of imported jobs: where work is done, if not at the customer's address."""

from __future__ import annotations

from typing import Any

from crm.imports import fields as f
from crm.imports.fields import Field
from crm.imports.staging import Sheet, StagingTable
from crm.models import ServiceSite


def _line(column: str) -> f.Parser:
    return f.line(ServiceSite, column)


SITE_FIELDS = (
    Field("site_name", "Site's name", "shipname propertyname locationname", _line("name")),
    Field(
        "site_address_line1",
        "Site's address",
        "siteaddress shipaddress servicestreet servicestreet1 serviceaddress serviceaddressline1 "
        "propertyaddress jobaddress address street address1 street1",
        _line("address_line1"),
    ),
    Field(
        "site_address_line2",
        "Site's address, second line",
        "servicestreet2 serviceaddressline2 address2 street2",
        _line("address_line2"),
    ),
    Field("site_city", "Site's city", "shipcity servicecity propertycity city", _line("city")),
    Field(
        "site_region",
        "Site's state or region",
        "shipregion servicestate serviceprovince propertystate state region province stateregion",
        _line("region"),
    ),
    Field(
        "site_postal_code",
        "Site's postal code",
        "shippostalcode servicezip servicezipcode servicepostalcode propertyzip zip zipcode "
        "postalcode postcode",
        _line("postal_code"),
    ),
    Field("site_country", "Site's country", "shipcountry servicecountry country", _line("country")),
)
SITE_COLUMNS = tuple((field.name, "text") for field in SITE_FIELDS)
SITE_RESOLVED = (("site_id", "bigint"),)

_PARTS = ("address_line1", "city", "postal_code")


def site_values(row: dict[str, Any]) -> tuple[str, ...]:
    """A row's site, in the order of SITE_COLUMNS."""
    return tuple(row[field.name] for field in SITE_FIELDS)


def _same(left: str, right: str) -> str:
    return " AND ".join(
        f"lower({left.format(part)}) = lower({right.format(part)})" for part in _PARTS
    )


def write_sites(sheet: Sheet, table: StagingTable) -> int:
    """Insert the sites that are new and let each row know its own; how many were new.

    A site is an address with a street that is neither its customer's own nor a site of theirs.
    """
    elsewhere = (
        "r.skip IS NULL AND r.site_address_line1 <> '' AND NOT EXISTS (SELECT FROM customers c "
        "WHERE c.user_id = %(account)s AND c.id = r.customer_id AND "
        f"{_same('c.{}', 'r.site_{}')})"
    )
    known = (
        "s.user_id = %(account)s AND s.customer_id = r.customer_id AND "
        f"{_same('s.{}', 'r.site_{}')}"
    )
    created = sheet.execute(
        "INSERT INTO service_sites (user_id, customer_id, name, address_line1, address_line2, "
        "city, region, postal_code, country) "
        "SELECT DISTINCT ON (customer_id, lower(site_address_line1), lower(site_city), "
        "lower(site_postal_code)) %(account)s, r.customer_id, left(CASE WHEN r.site_name <> '' "
        "AND lower(r.site_name) <> (SELECT lower(c.name) FROM customers c "
        "WHERE c.user_id = %(account)s AND c.id = r.customer_id) THEN r.site_name "
        "ELSE concat_ws(', ', r.site_address_line1, nullif(r.site_city, '')) END, 120), "
        "site_address_line1, site_address_line2, site_city, site_region, site_postal_code, "
        f"site_country FROM {table.name} r WHERE {elsewhere} "
        f"AND NOT EXISTS (SELECT FROM service_sites s WHERE {known}) "
        "ORDER BY customer_id, lower(site_address_line1), lower(site_city), "
        "lower(site_postal_code), n"
    )
    sheet.execute(
        f"UPDATE {table.name} r SET site_id = s.id FROM service_sites s "
        f"WHERE r.skip IS NULL AND r.site_address_line1 <> '' AND {known}"
    )
    return created
