"""On every business table and every history table: own rows, nobody else's, by raw SQL too."""

import json
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, models, transaction

from billing.models import SubscriptionPlan, UserSubscription
from ops.rls.session import acting_as, acting_as_admin
from tests.factories import make_business
from tests.ops.rls.rows import ACCOUNT_MODELS, HISTORY_MODELS, make_full_business, name

pytestmark = pytest.mark.django_db


def run(statement: str, *values: Any) -> Any:
    """The first column of the first row, or the number of rows changed."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()[0] if cursor.description else cursor.rowcount


def refusal(statement: str, *values: Any) -> type[Exception] | None:
    """Which of psycopg's errors refuses a statement; None when it is carried out."""
    try:
        with transaction.atomic():
            run(statement, *values)
    except DatabaseError as error:
        return type(error.__cause__) if error.__cause__ else None
    return None


@pytest.mark.parametrize("model", [*ACCOUNT_MODELS, *HISTORY_MODELS], ids=name)
def test_without_a_context_the_table_is_out_of_reach(model: type[models.Model]) -> None:
    table = name(model)
    assert refusal(f'SELECT 1 FROM "{table}"') is psycopg.errors.InsufficientPrivilege
    assert refusal(f'DELETE FROM "{table}"') is psycopg.errors.InsufficientPrivilege


def test_on_every_table_a_member_sees_changes_and_deletes_own_rows_only() -> None:
    ann, bob = make_full_business(), make_full_business()
    for model in ACCOUNT_MODELS:
        table = name(model)
        with acting_as_admin():
            theirs = run(f'SELECT count(*) FROM "{table}" WHERE user_id = %s', bob.pk)
            assert theirs > 0, f"{table} has no row to try this on"
        with acting_as(ann):
            assert run(f'SELECT count(*) FROM "{table}" WHERE user_id = %s', ann.pk) > 0, table
            assert run(f'SELECT count(*) FROM "{table}" WHERE user_id <> %s', ann.pk) == 0, table
            if model is not UserSubscription:  # which members may only read
                for change in (
                    f'UPDATE "{table}" SET updated_at = now() WHERE user_id = %s',
                    f'DELETE FROM "{table}" WHERE user_id = %s',
                ):
                    assert run(change, bob.pk) == 0, change
        with acting_as_admin():
            assert run(f'SELECT count(*) FROM "{table}" WHERE user_id = %s', bob.pk) == theirs


# Triggers come before policies: what they would refuse must not be what refuses here.
_INNOCENT = {
    "quotes": {"status": "draft", "number": None},
    "invoices": {"status": "draft", "number": None, "allocated_total": 0},
    "payments": {"allocated_total": 0},
}


def test_on_every_table_a_forged_account_is_refused_by_insert_and_by_update() -> None:
    ann, bob = make_full_business(), make_full_business()
    for model in ACCOUNT_MODELS:
        table = name(model)
        columns = [
            f'"{field.column}"'
            for field in model._meta.concrete_fields
            if not field.generated and field.column not in ("id", "user_id")
        ]
        with acting_as(ann):
            row = run(f'SELECT row_to_json(t)::text FROM "{table}" t LIMIT 1')
            forged = json.dumps(json.loads(row) | _INNOCENT.get(table, {}) | {"user_id": bob.pk})
            listed = ", ".join(["user_id", *columns])
            assert (
                refusal(
                    f'INSERT INTO "{table}" ({listed})'
                    f' SELECT {listed} FROM json_populate_record(NULL::"{table}", %s)',
                    forged,
                )
                is psycopg.errors.InsufficientPrivilege
            ), f"insert into {table}"
            # Frozen documents refuse by their own rule, before the policy has a say.
            assert refusal(f'UPDATE "{table}" SET user_id = %s', bob.pk) in (
                psycopg.errors.InsufficientPrivilege,
                psycopg.errors.CheckViolation,
            ), f"update of {table}"


def test_on_every_history_table_a_member_reads_own_changes_and_alters_none() -> None:
    ann, bob = make_full_business(), make_full_business()
    tried = 0
    for model in HISTORY_MODELS:
        table = name(model)
        with acting_as_admin():
            if run(f'SELECT count(*) FROM "{table}" WHERE user_id = %s', bob.pk) == 0:
                continue
        tried += 1
        for actor in (acting_as(ann), acting_as_admin()):
            with actor:
                for statement in (f'UPDATE "{table}" SET pgh_label = %s', f'DELETE FROM "{table}"'):
                    values = ["x"] if "%s" in statement else []
                    assert refusal(statement, *values) is psycopg.errors.InsufficientPrivilege
        with acting_as(ann):
            assert run(f'SELECT count(*) FROM "{table}" WHERE user_id = %s', ann.pk) > 0
            assert run(f'SELECT count(*) FROM "{table}" WHERE user_id <> %s', ann.pk) == 0
    assert tried >= 11


def test_a_member_without_an_account_sees_nothing() -> None:
    owner = make_full_business()
    stray = type(owner)(pk=10**9, email="stray@business.example")
    with acting_as(stray):
        for model in ACCOUNT_MODELS:
            assert run(f'SELECT count(*) FROM "{name(model)}"') == 0


def test_an_administrator_sees_every_account() -> None:
    ann, bob = make_full_business(), make_full_business()
    with acting_as_admin():
        for model in ACCOUNT_MODELS:
            seen = run(
                f'SELECT count(DISTINCT user_id) FROM "{name(model)}" WHERE user_id = ANY(%s)',
                [ann.pk, bob.pk],
            )
            assert seen == 2, name(model)


def test_a_visitor_sees_active_plans_and_no_business_row() -> None:
    make_full_business()
    with acting_as_admin():
        hidden = SubscriptionPlan.objects.latest("pk")
        hidden.is_active = False
        hidden.save()
        active = SubscriptionPlan.objects.filter(is_active=True).count()
    with acting_as(None):
        assert SubscriptionPlan.objects.count() == active
        assert not SubscriptionPlan.objects.filter(pk=hidden.pk).exists()
        for model in [*ACCOUNT_MODELS, *HISTORY_MODELS]:
            assert refusal(f'SELECT 1 FROM "{name(model)}"') is (
                psycopg.errors.InsufficientPrivilege
            ), name(model)


def test_a_member_sees_colleagues_and_not_the_staff_of_others() -> None:
    ann, bob = make_business(), make_business()
    with acting_as(ann):
        assert set(type(ann).objects.values_list("pk", flat=True)) == {ann.pk}
        assert run("UPDATE users SET first_name = 'x' WHERE id = %s", bob.pk) == 0
        assert run("DELETE FROM users WHERE id = %s", bob.pk) == 0
