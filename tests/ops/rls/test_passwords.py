"""The hash of a password is read and changed by the bare login only, never by a request's role."""

import psycopg
import pytest
from django.contrib.auth.hashers import identify_hasher
from django.db import DatabaseError, connection, connections, transaction

from crm.models import User
from crm.services.staff import set_password
from ops.postgres.roles import ADMIN, MEMBER
from ops.rls.session import acting_as, acting_as_admin, acting_as_login
from tests.factories import make_business

pytestmark = pytest.mark.django_db

ACCESSES = (
    "SELECT password FROM users",
    "SELECT * FROM users",
    "SELECT users::text FROM users",
    "SELECT id FROM users WHERE password LIKE 'a%'",
    "SELECT id FROM users ORDER BY password",
    "UPDATE users SET password = 'md5$a$b'",
    "DELETE FROM users RETURNING password",
)


def refused(statement: str) -> None:
    with connection.cursor() as cursor, pytest.raises(DatabaseError) as error, transaction.atomic():
        cursor.execute(statement)
    assert isinstance(error.value.__cause__, psycopg.errors.InsufficientPrivilege)


@pytest.mark.parametrize("statement", ACCESSES)
def test_a_member_neither_reads_nor_changes_hashes(statement: str) -> None:
    with acting_as(make_business()):
        refused(statement)


@pytest.mark.parametrize("statement", ACCESSES)
def test_an_administrator_neither_reads_nor_changes_hashes(statement: str) -> None:
    make_business()
    with acting_as_admin():
        refused(statement)


@pytest.mark.parametrize("role", [MEMBER, ADMIN])
@pytest.mark.parametrize("right", ["SELECT", "UPDATE"])
@pytest.mark.django_db(databases=["owner"])
def test_every_other_column_of_people_is_granted(role: str, right: str) -> None:
    """A column that is added later needs the policies made anew."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0"
            " AND NOT attisdropped AND NOT has_column_privilege(%s, attrelid, attnum, %s)",
            [role, right],
        )
        assert cursor.fetchall() == [("password",)]


def test_people_are_loaded_without_their_hashes() -> None:
    owner = make_business()
    with acting_as(owner):
        person = User.objects.get(pk=owner.pk)
        assert "password" in person.get_deferred_fields()
        person.phone = "1"
        person.save()
        person.refresh_from_db()
        assert person.phone == "1"
    with acting_as_login():
        assert person.check_password("a long pass phrase")


def test_a_new_password_is_what_signs_in_from_then_on() -> None:
    owner = make_business()
    with acting_as(owner):
        person = User.objects.get(pk=owner.pk)
        set_password(user=person, password="another pass phrase", by=owner)
        # The role is a member's again.
        refused("SELECT password FROM users")
    with acting_as_login():
        person.refresh_from_db()
        assert identify_hasher(person.password)
        assert person.check_password("another pass phrase")
