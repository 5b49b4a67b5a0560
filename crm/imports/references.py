"""Rows that speak of other rows: whose job it is, which product a line sells, and numbers."""

from __future__ import annotations

from typing import Any

from crm.imports import fields as f
from crm.imports.fields import Field
from crm.imports.staging import Sheet, StagingTable
from crm.models import Customer

CUSTOMER_FIELDS = (
    Field(
        "customer_id",
        "Customer's external id",
        "clientid contactid customernumber clientnumber",
        f.line(Customer, "external_id"),
    ),
    Field(
        "customer_email",
        "Customer's e-mail",
        "clientemail contactemail email billingemail",
        f.email,
        empty=("", ""),
    ),
    Field(
        "customer_name",
        "Customer's name",
        "customer client clientname company companyname customerfullname contact contactname",
        f.short(200),
    ),
)
CUSTOMER_WANTED = tuple(field.name for field in CUSTOMER_FIELDS)
CUSTOMER_COLUMNS = (
    ("customer_ref", "text"),
    ("customer_email", "text"),
    ("customer_name", "text"),
)
CUSTOMER_RESOLVED = (("customer_id", "bigint"), ("candidates", "int"))


def customer_values(row: dict[str, Any]) -> tuple[str, str, str]:
    """A row's three ways to name its customer."""
    return row["customer_id"], row["customer_email"][0], row["customer_name"]


def resolve_customers(sheet: Sheet, table: StagingTable) -> None:
    """Find each row's customer by external id, then e-mail, then name; put down what is missing."""
    sheet.execute(
        f"UPDATE {table.name} r SET customer_id = e.id, candidates = 1 FROM customers e "
        "WHERE e.user_id = %(account)s AND r.customer_ref <> '' AND e.external_id = r.customer_ref"
    )
    # An id that is not there is not made up for by a name: it would be another's job.
    for key, column in (
        ("lower(r.customer_email)", "lower(e.email)"),
        ("lower(r.customer_name)", "lower(e.name)"),
    ):
        sheet.execute(
            f"UPDATE {table.name} r SET customer_id = found.id, candidates = found.count FROM ("
            f"SELECT {column} AS key, min(e.id) AS id, count(*) AS count FROM customers e "
            f"WHERE e.user_id = %(account)s AND {column} <> '' GROUP BY 1) found "
            f"WHERE r.customer_id IS NULL AND r.customer_ref = '' AND found.key = {key}"
        )
    named = "coalesce(nullif(r.customer_ref, ''), nullif(r.customer_email, ''), r.customer_name)"
    sheet.check(
        table,
        f"r.customer_id IS NULL AND {named} <> ''",
        lambda name: f"There is no customer “{name}”. Import the customers first.",
        named,
    )
    sheet.check(
        table, f"r.customer_id IS NULL AND {named} = ''", lambda _: "The row names no customer."
    )
    sheet.check(
        table,
        "r.candidates > 1",
        lambda name: f"Several customers are called “{name}”. Name this one by id or e-mail.",
        named,
    )


def take_numbers(sheet: Sheet, series: str, table: StagingTable, where: str) -> None:
    """Number rows in the order of the file, from the account's counter, without a gap.

    One statement for all: the triggers' one step per row would walk an ever longer chain of
    versions of the counter's row.
    """
    ((count,),) = sheet.fetch(f"SELECT count(*) FROM {table.name} r WHERE {where}")
    if not count:
        return
    ((last,),) = sheet.fetch(
        "INSERT INTO document_counters (user_id, series, last_number) "
        "VALUES (%(account)s, %(series)s, %(count)s) ON CONFLICT (user_id, series) "
        "DO UPDATE SET last_number = document_counters.last_number + %(count)s "
        "RETURNING last_number",
        series=series,
        count=count,
    )
    sheet.execute(
        f"UPDATE {table.name} r SET number = numbered.number FROM (SELECT n, "
        f"%(before)s + row_number() OVER (ORDER BY n) AS number FROM {table.name} r "
        f"WHERE {where}) numbered WHERE r.n = numbered.n",
        before=last - count,
    )
