"""What the database's own catalogue says: comments, indexes, grants, forced policies."""

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, connections

from ops.rls.audit import audit_tables
from ops.rls.session import acting_as
from tests.factories import make_business, make_customer
from tests.ops.rls.rows import ACCOUNT_MODELS, HISTORY_MODELS, name

BUSINESS_TABLES = sorted(
    {name(model) for model in ACCOUNT_MODELS} | {"subscription_plans", "user_subscriptions"}
)


def rows(statement: str, *values: object) -> list[tuple[object, ...]]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


@pytest.mark.django_db(databases=["owner"])
def test_every_business_table_and_column_has_a_comment() -> None:
    without = rows(
        "SELECT c.relname || '.' || coalesce(a.attname, '*') FROM pg_class c"
        " LEFT JOIN LATERAL (SELECT NULL AS attname, 0 AS attnum UNION ALL"
        "   SELECT attname, attnum FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0"
        "   AND NOT attisdropped AND attname <> 'id') a ON true"
        " WHERE c.relname = ANY(%s) AND c.relkind = 'r'"
        " AND col_description(c.oid, a.attnum) IS NULL AND a.attnum > 0"
        " OR c.relname = ANY(%s) AND c.relkind = 'r' AND a.attnum = 0"
        " AND obj_description(c.oid) IS NULL",
        BUSINESS_TABLES,
        BUSINESS_TABLES,
    )
    assert without == []


@pytest.mark.django_db(databases=["owner"])
def test_every_foreign_key_of_an_account_is_indexed_account_first() -> None:
    unindexed = rows(
        """
        SELECT conrelid::regclass::text, conname FROM pg_constraint k
        WHERE contype = 'f' AND conrelid::regclass::text = ANY(%s)
          AND NOT EXISTS (
            SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indpred IS NULL
              AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey
              AND (i.indkey[0] = (SELECT attnum FROM pg_attribute WHERE attrelid = k.conrelid
                                  AND attname = 'user_id') OR cardinality(k.conkey) = 1))
        """,
        [table for table in BUSINESS_TABLES if table != "subscription_plans"],
    )
    exceptions = {
        # Few and never deleted: who uploaded a file, which of three plans.
        ("imports", "started_by_id"),
        ("user_subscriptions", "plan_id"),
    }
    assert [
        key for key in unindexed if not any(column in str(key[1]) for _, column in exceptions)
    ] == []


@pytest.mark.django_db(databases=["default", "owner"])
def test_every_business_and_history_table_is_under_forced_policies() -> None:
    tables = [name(model) for model in [*ACCOUNT_MODELS, *HISTORY_MODELS]]
    assert (
        rows(
            "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND relkind = 'r'"
            " AND NOT (relrowsecurity AND relforcerowsecurity)",
            tables,
        )
        == []
    )
    # One policy per role: two for one command would be OR-ed, and the index lost.
    assert (
        rows(
            "SELECT tablename, roles::text FROM pg_policies WHERE schemaname = 'public'"
            " GROUP BY 1, 2 HAVING count(*) > 1"
        )
        == []
    )
    assert audit_tables() == []


def test_policies_are_in_force_after_migrating_back_and_forth(fresh_database: str) -> None:
    call_command("migrate", "billing", "zero", verbosity=0)
    assert [each for each in audit_tables() if each.id != "ops.W101"] == []
    call_command("migrate", verbosity=0)
    assert audit_tables() == []
    ann, bob = make_business(), make_business()
    with acting_as(bob):
        make_customer()
    with acting_as(ann), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM customers")
        assert cursor.fetchone() == (0,)


def test_every_model_is_covered_by_policies_grants_or_the_list() -> None:
    from django.conf import settings

    listed = {table for grants in settings.RLS_TABLE_GRANTS.values() for table in grants}
    listed |= set(settings.RLS_OWNER_ONLY_TABLES)
    known = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    assert {table for table in listed if table not in known | {"django_migrations"}} == set()
