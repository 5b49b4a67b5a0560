"""What PostgreSQL refuses within a request is told as a page, with the right status."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from axes.models import AccessLog
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.test import RequestFactory
from django.urls import reverse
from psycopg import errors

from crm.models import Customer, User
from ops.rls.session import acting_as
from srvc.database_errors import DatabaseErrorMiddleware, refusal_of
from tests.admin.pages import sign_in
from tests.factories import make_business, make_customer

STATEMENTS = {
    "SELECT * FROM django_session": 403,
    "SELECT 1 / 0": 400,
    "SELECT '2026-02-30'::date": 400,
    "SELECT 'x' ~ '('": 400,
    "SELECT 99999999999::int": 400,
    "SET LOCAL statement_timeout = '1ms'; SELECT pg_sleep(10)": 503,
    "SELECT nonsense": None,
}


@pytest.mark.django_db
@pytest.mark.parametrize(("statement", "status"), STATEMENTS.items())
def test_a_refused_statement_has_its_status(statement: str, status: int | None) -> None:
    with acting_as(make_business()), connection.cursor() as cursor:
        with pytest.raises(DatabaseError) as error:
            cursor.execute(statement)
        refusal = refusal_of(error.value)
        assert (refusal and refusal.status) == status
        connection.set_rollback(True)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.DeadlockDetected(), 409),
        (errors.SerializationFailure(), 409),
        (errors.UniqueViolation(), 409),
        (errors.LockNotAvailable(), 503),
        (errors.DiskFull(), 503),
        (errors.StatementTooComplex(), 400),
        (psycopg.DataError(), 400),
        (OverflowError(), 400),
        (ValueError("a bug of ours"), None),
        (errors.UndefinedTable(), None),
        (errors.AdminShutdown(), None),  # away: srvc.maintenance tells it
    ],
)
def test_every_kind_has_its_status(error: Exception, status: int | None) -> None:
    refusal = refusal_of(error)
    assert (refusal and refusal.status) == status


@pytest.mark.django_db
def test_a_word_that_is_no_network_address_is_no_bug_of_ours() -> None:
    with pytest.raises(ValueError, match="999") as error:
        AccessLog.objects.filter(ip_address="9" * 40).count()
    refusal = refusal_of(error.value)
    assert refusal is not None
    assert refusal.status == 400


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/admin/axes/accessattempt/1/change/", 403),
        ("/admin/axes/accesslog/1/delete/", 403),
        ("/admin/crm/job/?created_at__year=9999", 400),
        ("/admin/crm/customer/?created_at__year=0", 400),
        ("/admin/crm/job/?scheduled_start__year=9999", 400),
        ("/admin/crm/job/add/?scheduled_start=-1", 200),
        ("/admin/crm/job/add/?scheduled_start=2026-03-02+09:00", 200),
        ("/admin/crm/customer/%00/change/", 400),
        ("/admin/crm/job/add/?customer=%00", 400),
        ("/admin/autocomplete/?app_label=crm&model_name=job&field_name=customer&term=%00", 400),
        ("/admin/autocomplete/?app_label=crm&model_name=customer&field_name=jobs", 403),
    ],
)
def test_a_members_hostile_address_is_no_crash(address: str, status: int) -> None:
    browser = sign_in(make_business())
    browser.raise_request_exception = False
    answer = browser.get(address)
    assert answer.status_code in {status, 200, 302, 400, 403, 404}
    assert answer.status_code < 500
    # The next request is served as ever.
    assert browser.get("/admin/").status_code == 200


def _failing(at: str) -> Callable[[HttpRequest], HttpResponse]:
    def view(request: HttpRequest) -> HttpResponse:
        Customer.objects.update(last_name="Changed")
        if at == "view":
            raise RuntimeError
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM django_session")
        return SimpleTemplateResponse("500.html")

    return view


def test_nothing_of_a_refused_request_stays(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = make_business()
    with acting_as(owner):
        make_customer(last_name="Lovelace")
    middleware = DatabaseErrorMiddleware(_failing("statement"))
    request = RequestFactory().get("/admin/")
    with acting_as(owner):
        try:
            middleware(request)
        except DatabaseError as error:
            answer = middleware.process_exception(request, error)
    assert answer is not None
    assert answer.status_code == 403
    with acting_as(owner):
        assert Customer.objects.get().last_name == "Lovelace"


@pytest.mark.django_db
def test_a_stranger_to_the_failures_of_signing_in_is_refused_by_name() -> None:
    browser = sign_in(make_business())
    browser.raise_request_exception = False
    answer = browser.get(reverse("admin:axes_accessattempt_change", args=[1]))
    assert answer.status_code == 403
    assert "django_session" not in answer.content.decode()
    assert User._meta.db_table not in answer.content.decode()
