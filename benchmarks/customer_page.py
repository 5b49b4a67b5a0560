"""The customer list page at a million rows against the same page at a thousand.

A whole request through every middleware, by Django's test client in this process: the time is the
server's, rendering included. The peer is the same page over a database with one business of a
thousand customers, seen by the same kind of person.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.result import Result, compare, timed
from benchmarks.server import Bench

if TYPE_CHECKING:
    from crm.models import User

ROUNDS = 12
_REQUESTS = 5  # a round's figure is the median of so many, after one that opens the connection
_ADMINISTRATOR = "admin@bench.example"
_PAGES = {"": "list", "?q=smith": "search", "?status__exact=lead": "filter"}


def run(bench: Bench) -> list[Result]:
    """The plain list, a search and a filter; for a member and for a platform administrator."""
    large, small = bench.large(), bench.small()
    results = []
    for who, find in (("member", _average_owner), ("administrator", _administrator)):
        for query, what in _PAGES.items():
            if who == "administrator" and what == "search":
                continue  # searching everything is admin_search's subject
            comparison = compare(
                ROUNDS, _turn(bench, large, find, query), _turn(bench, small, find, query)
            )
            results.append(
                comparison.as_result(
                    f"customer page, {what}, {who}, {bench.scale.customers:,} rows",
                    f"same page, {bench.small_scale.customers:,} rows",
                    at_most=2,
                )
            )
    return results


def _turn(bench: Bench, name: str, find: Callable[[int], User], query: str) -> Callable[[], float]:
    def turn() -> float:
        from django.test import Client
        from django.urls import reverse

        with bench.pointed_at(name):
            client = Client(HTTP_HOST="localhost")
            _sign_in(client, find(bench.scale.customers // bench.scale.accounts))
            url = reverse("admin:crm_customer_changelist") + query

            def request() -> None:
                response = client.get(url)
                assert response.status_code == 200, (response.status_code, url)
                assert b"/change/" in response.content, f"{url} shows no customer"

            request()
            return statistics.median(timed(request) for _ in range(_REQUESTS))

    return turn


def _sign_in(client: object, user: User) -> None:
    from django.test import Client
    from django_otp import DEVICE_ID_SESSION_KEY
    from django_otp.plugins.otp_totp.models import TOTPDevice

    assert isinstance(client, Client)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    if user.account_id is None:
        device, _ = TOTPDevice.objects.get_or_create(user=user, name="bench", confirmed=True)
        session = client.session
        session[DEVICE_ID_SESSION_KEY] = device.persistent_id
        session.save()


def _average_owner(customers: int) -> User:
    """The owner of the account whose number of customers is nearest to the average."""
    from django.db import connections

    from crm.models import User

    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT user_id FROM customers GROUP BY user_id ORDER BY abs(count(*) - %s) LIMIT 1",
            [customers],
        )
        (pk,) = cursor.fetchone()
    return User.objects.get(pk=pk)


def _administrator(customers: int) -> User:
    from crm.models import User
    from ops.rls.session import acting_as_admin

    user = User.objects.filter(email=_ADMINISTRATOR).first()
    if user is None:
        with acting_as_admin(via="benchmark"):
            user = User.objects.create_superuser(_ADMINISTRATOR, None)
    return user
