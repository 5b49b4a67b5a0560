"""acting_as: nested, failing, pooled; nothing of it outlives its transaction."""

import pytest
from django.db import connection, transaction

from crm.models import Customer, User
from ops.rls.session import acting_as, acting_as_admin, acting_as_login, current_account_id
from tests.factories import make_business, make_customer


def identity() -> tuple[str, str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user::text, coalesce(current_setting('app.account_id', true), ''),"
            " coalesce(current_setting('app.user_id', true), '')"
        )
        row: tuple[str, str, str] = cursor.fetchone()
    return row


@pytest.mark.django_db
def test_a_nested_context_ends_where_the_outer_one_goes_on() -> None:
    ann, bob = make_business(), make_business()
    with acting_as(ann):
        outer = ("srvc_member", str(ann.pk), str(ann.pk))
        assert identity() == outer
        for inner, expected in (
            (acting_as(bob), ("srvc_member", str(bob.pk), str(bob.pk))),
            (acting_as_admin(account_id=bob.pk), ("srvc_admin", str(bob.pk), "")),
            (acting_as(None), ("srvc_public", "", "")),
            (acting_as_login(), ("srvc_app", "", "")),
        ):
            with inner:
                assert identity() == expected
            assert identity() == outer


@pytest.mark.django_db
def test_an_exception_in_a_nested_context_undoes_its_rows_and_its_identity() -> None:
    ann, bob = make_business(), make_business()

    def fail_as(user: User) -> None:
        with acting_as(user):
            make_customer()
            raise ZeroDivisionError

    with acting_as(ann):
        make_customer()
        with pytest.raises(ZeroDivisionError):
            fail_as(bob)
        assert identity()[1] == str(ann.pk)
        assert Customer.objects.count() == 1
    with acting_as(bob):
        assert Customer.objects.count() == 0


@pytest.mark.django_db
def test_current_account_id_is_what_the_database_has() -> None:
    owner = make_business()
    assert current_account_id() is None
    with acting_as(owner):
        assert current_account_id() == owner.pk


def test_nothing_outlives_the_transaction(fresh_database: str) -> None:
    owner = make_business()
    with acting_as(owner):
        pass
    assert identity() == ("srvc_app", "", "")
    with pytest.raises(ZeroDivisionError), acting_as(owner):
        raise ZeroDivisionError
    assert identity() == ("srvc_app", "", "")


def test_a_pooled_connection_comes_back_as_the_bare_login(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = make_business()
    connection.close()
    options = connection.settings_dict["OPTIONS"] | {"pool": {"min_size": 1, "max_size": 1}}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (first,) = cursor.fetchone()
        transaction.set_autocommit(False)
        with acting_as(owner):
            assert identity()[0] == "srvc_member"
        connection.close()  # the request died here, without commit or rollback
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            assert cursor.fetchone() == (first,), "not the same connection: nothing is proved"
        assert identity() == ("srvc_app", "", "")
    finally:
        connection.close()
        connection.close_pool()
