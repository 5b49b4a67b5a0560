"""What a member's role is refused, however the statement gets there."""

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction

from crm.models import PLATFORM_ADMINISTRATOR_GROUP
from ops.rls.session import acting_as, acting_as_admin
from tests.factories import make_business

pytestmark = pytest.mark.django_db


def refused(statement: str, *values: object) -> str:
    """Why the database refuses the statement."""
    with connection.cursor() as cursor, pytest.raises(DatabaseError) as error, transaction.atomic():
        cursor.execute(statement, values)
    assert isinstance(error.value.__cause__, psycopg.errors.InsufficientPrivilege)
    return str(error.value).splitlines()[0]


def test_nobody_makes_themselves_a_superuser() -> None:
    owner = make_business()
    with acting_as(owner):
        assert (
            refused("UPDATE users SET is_superuser = true WHERE id = %s", owner.pk)
            == 'new row violates row-level security policy for table "users"'
        )


def test_nobody_leaves_for_another_account_or_for_none() -> None:
    owner, other = make_business(), make_business()
    with acting_as(owner):
        for account in (other.pk, None):
            refused("UPDATE users SET account_id = %s WHERE id = %s", account, owner.pk)


def test_nobody_joins_the_platform_administrators() -> None:
    owner = make_business()
    group = Group.objects.using("default")
    with acting_as(owner):
        pk = group.get(name=PLATFORM_ADMINISTRATOR_GROUP).pk
        assert (
            refused("INSERT INTO users_groups (user_id, group_id) VALUES (%s, %s)", owner.pk, pk)
            == 'new row violates row-level security policy for table "users_groups"'
        )
        refused("UPDATE users_groups SET group_id = %s WHERE user_id = %s", pk, owner.pk)


def test_nobody_puts_the_staff_of_others_into_groups() -> None:
    owner, other = make_business(), make_business()
    with acting_as(owner):
        pk = Group.objects.get(name="Office").pk
        refused("INSERT INTO users_groups (user_id, group_id) VALUES (%s, %s)", other.pk, pk)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM django_session",
        "SELECT * FROM otp_totp_totpdevice",
        "SELECT * FROM otp_static_statictoken",
        "SELECT * FROM axes_accessattempt",
        "SELECT * FROM django_tasks_database_dbtaskresult",
        "SELECT * FROM pghistory_context",
        "UPDATE auth_group SET name = 'x'",
        "INSERT INTO auth_group_permissions (group_id, permission_id) VALUES (1, 1)",
        "INSERT INTO users_user_permissions (user_id, permission_id) VALUES (1, 1)",
        "UPDATE subscription_plans SET price = 0",
        "UPDATE user_subscriptions SET cancel_at_period_end = false",
        "UPDATE django_admin_log SET change_message = ''",
        "DELETE FROM django_admin_log",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE customers DISABLE ROW LEVEL SECURITY",
        "TRUNCATE customers",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY customers TO PROGRAM 'cat'",
    ],
)
def test_a_member_has_no_right_to(statement: str) -> None:
    with acting_as(make_business()):
        refused(statement)


def test_a_member_reads_no_other_accounts_admin_log() -> None:
    owner, other = make_business(), make_business()
    insert = (
        "INSERT INTO django_admin_log (action_time, object_repr, action_flag, change_message,"
        " user_id) VALUES (now(), 'secret', 1, '', %s)"
    )
    with acting_as(other), connection.cursor() as cursor:
        cursor.execute(insert, [other.pk])
    with acting_as(owner), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_admin_log")
        assert cursor.fetchone() == (0,)
        refused(insert, other.pk)


def test_the_bare_login_changes_no_user_beyond_signing_in() -> None:
    make_business()
    refused("DELETE FROM users")
    refused("INSERT INTO users_groups (user_id, group_id) VALUES (1, 1)")


def test_administrators_do_not_reach_second_factors_or_sessions() -> None:
    with acting_as_admin():
        refused("SELECT * FROM otp_totp_totpdevice")
        refused("SELECT * FROM django_session")
