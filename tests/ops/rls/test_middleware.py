"""One transaction and one set_config per request, in the name of whoever asks."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from crm.models import Customer
from ops.rls.middleware import RowSecurityMiddleware
from ops.rls.session import acting_as
from tests.factories import make_business, make_customer


def asked_by(user: object) -> HttpRequest:
    request = RequestFactory().get("/some/page/")
    request.user = user  # type: ignore[assignment]
    return request


def who_asks(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user || ' ' || current_setting('app.account_id') || ' '"
            " || current_setting('app.via')"
        )
        return HttpResponse(cursor.fetchone()[0])


@pytest.mark.django_db
def test_a_request_runs_as_the_users_role_and_account() -> None:
    owner = make_business()
    answer = RowSecurityMiddleware(who_asks)(asked_by(owner))
    assert answer.content.decode() == f"srvc_member {owner.pk} GET /some/page/"
    answer = RowSecurityMiddleware(who_asks)(asked_by(AnonymousUser()))
    assert answer.content.decode() == "srvc_public  GET /some/page/"


@pytest.mark.django_db
def test_a_request_costs_one_set_config(client: Client) -> None:
    owner = make_business()
    client.force_login(owner)
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(reverse("admin:password_change_done"))
    assert answer.status_code == 200
    setting = [query["sql"] for query in captured if "set_config" in query["sql"]]
    # Inside of a test's own transaction the context before is put back: in life there is none.
    assert len(setting) == 2
    assert setting[0].startswith("SELECT set_config('role', 'srvc_member', true), ")


def test_outside_of_another_transaction_it_is_exactly_one(fresh_database: str) -> None:
    owner = make_business()
    with CaptureQueriesContext(connection) as captured:
        RowSecurityMiddleware(who_asks)(asked_by(owner))
    assert [query["sql"].split(" ")[0] for query in captured] == [
        "BEGIN",
        "SELECT",
        "SELECT",
        "COMMIT",
    ]


def test_a_streamed_answer_is_produced_under_the_same_rule(fresh_database: str) -> None:
    ann, bob = make_business(), make_business()
    for owner, name in ((ann, "Ann's"), (bob, "Bob's")):
        with acting_as(owner):
            make_customer(first_name=name, last_name="")

    def export(request: HttpRequest) -> StreamingHttpResponse:
        def lines() -> Iterator[str]:
            yield from Customer.objects.values_list("first_name", flat=True).iterator()

        return StreamingHttpResponse(lines())

    answer = RowSecurityMiddleware(export)(asked_by(ann))
    assert isinstance(answer, StreamingHttpResponse)
    assert answer.getvalue() == b"Ann's"
    assert not connection.in_atomic_block


def test_a_failing_view_changes_nothing(fresh_database: str) -> None:
    owner = make_business()

    def view(request: HttpRequest) -> HttpResponse:
        make_customer()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        RowSecurityMiddleware(view)(asked_by(owner))
    with acting_as(owner):
        assert Customer.objects.count() == 0
