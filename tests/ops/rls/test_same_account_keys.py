"""Foreign keys bypass row security; the composite keys don't."""

import psycopg
import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction

from ops.rls.policies import SameAccountKey
from ops.rls.session import acting_as, acting_as_admin
from tests.ops.rls.rows import make_full_business

KEYS = [
    (model, constraint)
    for model in apps.get_models()
    for constraint in model._meta.constraints
    if isinstance(constraint, SameAccountKey)
]


def test_every_reference_between_tables_of_accounts_has_such_a_key() -> None:
    covered = {(model, key.field) for model, key in KEYS}
    for model in {model for model, _ in KEYS}:
        for field in model._meta.get_fields():
            if getattr(field, "many_to_one", False) and field.concrete and field.name != "account":
                target = {each.name for each in field.related_model._meta.get_fields()}
                if "account" in target and not field.db_constraint:
                    assert (model, field.name) in covered, f"{model.__name__}.{field.name}"


@pytest.mark.django_db
def test_each_refuses_a_row_of_another_account_by_raw_sql() -> None:
    ann, bob = make_full_business(), make_full_business()
    tried = 0
    for model, key in KEYS:
        field = model._meta.get_field(key.field)
        table, target = model._meta.db_table, field.related_model._meta.db_table
        account = field.related_model._meta.get_field("account").column
        with connection.cursor() as cursor:
            with acting_as_admin():
                cursor.execute(f'SELECT min(id) FROM "{target}" WHERE {account} = %s', [bob.pk])
                (strangers,) = cursor.fetchone()
            assert strangers is not None, f"{target} has no row to point at"
            with acting_as(ann):
                cursor.execute(f'SELECT min(id) FROM "{table}"')
                (own,) = cursor.fetchone()
                with pytest.raises(IntegrityError) as refused, transaction.atomic():
                    cursor.execute(
                        f'UPDATE "{table}" SET "{field.column}" = %s WHERE id = %s',
                        [strangers, own],
                    )
        cause = refused.value.__cause__
        if isinstance(cause, psycopg.errors.ForeignKeyViolation):
            assert cause.diag.constraint_name == key.name
            tried += 1
        else:  # an issued document's own rule came first
            assert isinstance(cause, psycopg.errors.CheckViolation), key.name
    assert tried >= 10
