"""While a restore keeps writes closed people read on, and are told that nothing was saved."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from psycopg import sql

from crm.models import Customer, User
from ops.progress import Counter
from ops.restores.complete.closing import writes_closed
from ops.rls.session import acting_as
from srvc.maintenance import MaintenanceMiddleware, why_unavailable
from tests.factories import make_business, make_customer
from tests.harness import database

PASSWORD = "a long pass phrase"


@pytest.fixture
def owner(fresh_database: str) -> User:
    owner = make_business(password=PASSWORD)
    with acting_as(owner):
        make_customer(last_name="Lovelace")
    return owner


def signed_in(owner: User) -> Client:
    # What fails is to be answered, not raised.
    browser = Client(raise_request_exception=False)
    browser.force_login(owner)
    return browser


def test_while_writes_are_closed_one_reads_on_and_is_told_that_nothing_was_saved(
    owner: User, caplog: pytest.LogCaptureFixture
) -> None:
    browser, stranger = signed_in(owner), Client(raise_request_exception=False)
    pages = [reverse("admin:index"), reverse("admin:crm_customer_changelist")]
    with writes_closed("a test", Counter()), caplog.at_level(logging.WARNING):
        for page in pages:
            answer = browser.get(page)
            assert answer.status_code == 200
        assert "Lovelace" in answer.content.decode()
        assert stranger.get(reverse("admin:login")).status_code == 200

        saved = {"first_name": "Grace", "last_name": "Hopper"}
        answer = browser.post(reverse("admin:crm_customer_add"), saved)
        assert (answer.status_code, answer["Retry-After"]) == (503, "30")
        text = answer.content.decode()
        assert "Nothing can be changed for a few minutes" in text
        assert "Nothing of what you entered was saved." in text

        answer = stranger.post(
            reverse("admin:login"), {"username": owner.email, "password": PASSWORD}
        )
        assert (answer.status_code, answer["Retry-After"]) == (503, "30")
        assert "_auth_user_id" not in stranger.session

        # htmx shows no answer that failed: it goes where one is shown.
        answer = browser.post(pages[0], headers={"HX-Request": "true"})
        assert (answer.status_code, answer["HX-Redirect"]) == (503, "/unavailable/closed/")
        answer = browser.get(answer["HX-Redirect"])
        assert (answer.status_code, answer["Cache-Control"]) == (503, "no-store")
        assert "Nothing can be changed for a few minutes" in answer.content.decode()
    assert caplog.text == "", "nobody is at fault, so nothing is logged"
    answer = stranger.post(reverse("admin:login"), {"username": owner.email, "password": PASSWORD})
    assert answer.status_code == 302
    with acting_as(owner):
        assert Customer.objects.values_list("last_name", flat=True).get() == "Lovelace"


def test_a_page_that_writes_although_it_is_only_read_is_closed_too(owner: User) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        make_customer()
        return HttpResponse("saved")

    from django.core.handlers.exception import convert_exception_to_response

    from ops.rls.middleware import RowSecurityMiddleware

    request = RequestFactory().get("/a/page/")
    request.user = owner
    inner = convert_exception_to_response(
        RowSecurityMiddleware(convert_exception_to_response(view))
    )
    with writes_closed("a test", Counter()):
        answer = MaintenanceMiddleware(inner)(request)
    assert (answer.status_code, answer["Retry-After"]) == (503, "30")


@contextmanager
def away(name: str) -> Iterator[threading.Timer]:
    """Let a database accept nobody, as in the middle of a swap; the timer lets them in sooner."""

    def allow(how: str) -> None:
        with database.connect() as admin:
            admin.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                    sql.Identifier(name), sql.SQL(how)
                )
            )
            if how == "false":
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    [name],
                )

    allow("false")
    back = threading.Timer(0.5, allow, ["true"])
    try:
        yield back
    finally:
        if back.is_alive():
            back.join()
        allow("true")


def test_a_reader_waits_for_the_end_of_a_swap_and_a_writer_is_told_to_come_back(
    owner: User, fresh_database: str
) -> None:
    browser = signed_in(owner)
    page = reverse("admin:crm_customer_changelist")
    assert browser.get(page).status_code == 200
    with away(fresh_database) as back:
        answer = browser.post(reverse("admin:crm_customer_add"), {"last_name": "Hopper"})
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")
        assert "What you entered may not have been saved" in answer.content.decode()
        back.start()
        answer = browser.get(page)
        assert answer.status_code == 200
        assert "Lovelace" in answer.content.decode()


def test_a_database_that_stays_away_is_told_after_a_while(
    owner: User, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srvc.maintenance.PATIENCE", 0.1)
    browser = signed_in(owner)
    with away(fresh_database):
        answer = browser.get(reverse("admin:index"))
        assert answer.status_code == 503
        assert "The database does not answer right now." in answer.content.decode()
        assert "entered" not in answer.content.decode()


def test_other_failures_of_the_database_are_no_absence(fresh_database: str) -> None:
    for statement in ("SET statement_timeout = 1; SELECT pg_sleep(1)", "SELECT 1/0"):
        with pytest.raises(psycopg.Error) as failure, database.connect() as admin:
            admin.execute(statement.encode())
        assert why_unavailable(failure.value) == ""
    with pytest.raises(psycopg.OperationalError) as missing:
        database.connect("no_such_database")
    assert why_unavailable(missing.value) == "away"
