"""What a recovery is told of accounts and customers."""

from __future__ import annotations

import re
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.fields import GenericForeignKey
from django.db import connections

from crm.recovery import ACCOUNT, CUSTOMER, links, mentions
from ops.restores.subjects import Subject
from ops.rls.session import acting_as
from tests.factories import make_business, make_customer


def found(subject: Subject, text: str) -> list[Any]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(subject.find, {"text": text})
        return [key for (key,) in cursor.fetchall()]


def test_an_account_is_found_by_its_owners_address_in_any_case_of_letters_or_by_its_id(
    fresh_database: str,
) -> None:
    owner, other = make_business(email="Ada@Plumbing.example"), make_business()
    assert found(ACCOUNT, " ada@plumbing.EXAMPLE ") == [owner.pk]
    assert found(ACCOUNT, str(other.pk)) == [other.pk]
    for nobody in ("", "ada", "ada@plumbing", "9999999999999999999999", "-1", "1 OR true"):
        assert found(ACCOUNT, nobody) == []


def test_a_customer_is_found_by_id_by_external_id_or_by_a_name_nobody_else_has(
    fresh_database: str,
) -> None:
    with acting_as(make_business()):
        first = make_customer(company_name="Harbour Café")
        second = make_customer(company_name="Twice", external_id=str(first.pk))
    with acting_as(make_business()):
        third = make_customer(company_name="twice", external_id="K-7")
    assert found(CUSTOMER, str(first.pk)) == [first.pk], "an id wins over an external id"
    assert found(CUSTOMER, "K-7") == [third.pk]
    assert found(CUSTOMER, " harbour CAFÉ ") == [first.pk]
    assert found(CUSTOMER, "Twice") == [], "two have that name"
    assert found(CUSTOMER, str(second.pk)) == [second.pk]
    assert found(CUSTOMER, "") == []


def test_every_history_table_is_linked_to_its_table_and_says_who(fresh_database: str) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.columns WHERE column_name = 'pgh_obj_id'"
        )
        histories = {f"public.{table}" for (table,) in cursor.fetchall()}
        for link in [*links(), *mentions()]:
            columns = ", ".join(link.columns), ", ".join(link.to_columns)
            cursor.execute(
                f"SELECT count(*) FROM {link.table} r JOIN {link.to_table} t"
                f" ON (r.{columns[0]}) = (t.{columns[1]})"
            )
    assert {link.table for link in links()} == histories
    assert all(link.is_history and link.columns == ("pgh_obj_id",) for link in links())
    assert all(link.to_table == link.table.removesuffix("_history") for link in links())
    assert {link.table for link in mentions()} == histories
    assert {link.to_table for link in mentions()} == {"public.users"}


def test_no_row_of_ours_refers_to_rows_of_any_kind() -> None:
    generic = [
        f"{model.__module__}.{model.__name__}.{field.name}"
        for model in apps.get_models()
        if re.match(r"(crm|billing)\b", model.__module__)
        for field in model._meta.private_fields
        if isinstance(field, GenericForeignKey)
    ]
    assert generic == [], "crm.recovery.links has to tell these, or a recovery leaves them behind"


def test_what_was_typed_is_never_sql(fresh_database: str) -> None:
    for subject in (ACCOUNT, CUSTOMER):
        assert found(subject, "'; DROP TABLE customers; --") == []
