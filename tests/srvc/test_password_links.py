"""A forgotten password: the link is the worker's, and the page tells nobody who signs in here."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings as configured
from django.core import mail
from django.db import connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_tasks_db.models import DBTaskResult
from pytest_django import Settings

from crm.models import User
from ops.rls.session import acting_as_admin
from srvc.password_links import PER_ADDRESS, PER_NETWORK, WINDOW, send_link
from tests.factories import make_business

pytestmark = pytest.mark.django_db
NEW = "an entirely new phrase"


@pytest.fixture
def ask(client: Client) -> Callable[..., HttpResponse]:
    def post(email: str, **environment: str) -> HttpResponse:
        page = reverse("admin:admin_password_reset")
        return client.post(page, {"email": email}, **environment)  # type: ignore[arg-type, return-value]

    return post


def work() -> None:
    """Do the worker's part: what was queued, in its order."""
    for row in DBTaskResult.objects.filter(status="READY").order_by("enqueued_at"):
        result = send_link.call(**row.args_kwargs["kwargs"])
        DBTaskResult.objects.filter(pk=row.pk).update(
            status="SUCCESSFUL", finished_at=timezone.now(), return_value=result
        )


def link() -> str:
    """The path of the only link that was sent."""
    (message,) = mail.outbox
    (found,) = re.findall(rf"{re.escape(configured.SITE_ADDRESS)}(/\S+)", str(message.body))
    return str(found)


def test_a_forgotten_password_is_replaced_by_a_link(
    client: Client, ask: Callable[..., HttpResponse]
) -> None:
    owner = make_business()
    assert client.get(reverse("admin:admin_password_reset")).status_code == 200
    answer = ask(owner.email.upper())
    assert answer["Location"] == reverse("admin:password_reset_done")
    assert client.get(answer["Location"]).status_code == 200
    assert mail.outbox == []  # within the request nothing is sent
    work()
    assert mail.outbox[0].to == [owner.email]
    form = client.get(link(), follow=True)
    assert form.context["validlink"] is True
    place = form.redirect_chain[-1][0]
    answer = client.post(place, {"new_password1": NEW, "new_password2": NEW}, follow=True)  # type: ignore[assignment]
    assert answer.status_code == 200
    assert Client().login(request=RequestFactory().get("/"), username=owner.email, password=NEW)
    # The link is used up.
    assert client.get(link(), follow=True).context["validlink"] is False


def test_the_page_does_the_same_whether_or_not_somebody_signs_in_with_the_address(
    ask: Callable[..., HttpResponse],
) -> None:
    owner = make_business()
    done = []
    for email in (owner.email, "no@x.example"):
        with CaptureQueriesContext(connection) as queries:
            answer = ask(email)
        statements = [re.sub(r"'[^']*'|\d+", "?", each["sql"]) for each in queries]
        done.append((answer.status_code, answer["Location"], statements))
    assert done[0] == done[1]
    assert not any('"users"' in each for each in done[0][2])
    work()
    assert [message.to for message in mail.outbox] == [[owner.email]]


def test_links_lead_to_the_sites_address_whatever_the_host_header_says(
    ask: Callable[..., HttpResponse], settings: Settings
) -> None:
    settings.SITE_ADDRESS = "https://srvc.example.com"
    settings.ALLOWED_HOSTS = ["*"]
    ask(make_business().email, HTTP_HOST="evil.example:8443")
    work()
    (message,) = mail.outbox
    assert "https://srvc.example.com/admin/password-reset/" in message.body
    assert "evil.example" not in f"{message.subject} {message.body}"
    assert ":8443" not in str(message.body)


def test_one_address_gets_only_so_many_links_an_hour(ask: Callable[..., HttpResponse]) -> None:
    owner, other = make_business(), make_business()
    for number in range(PER_ADDRESS + 2):
        # From everywhere, and in any case of letters; the answer stays the same.
        answer = ask(owner.email.title(), REMOTE_ADDR=f"192.0.2.{number}")
        assert answer.status_code == 302
    ask(other.email)
    work()
    sent = [message.to[0] for message in mail.outbox]
    assert sent.count(owner.email) == PER_ADDRESS
    assert sent.count(other.email) == 1
    past = timezone.now() - WINDOW
    DBTaskResult.objects.update(enqueued_at=past)
    ask(owner.email)
    before = len(mail.outbox)
    work()
    assert len(mail.outbox) == before + 1


def test_one_network_address_asks_only_so_often(ask: Callable[..., HttpResponse]) -> None:
    for number in range(PER_NETWORK):
        assert ask(f"guess{number}@x.example").status_code == 302
    answer = ask("one.more@x.example")
    assert answer.status_code == 429
    assert answer["Retry-After"] == str(int(WINDOW.total_seconds()))
    assert DBTaskResult.objects.count() == PER_NETWORK
    assert ask("one.more@x.example", REMOTE_ADDR="192.0.2.7").status_code == 302


def test_who_asked_is_forgotten_after_a_day(ask: Callable[..., HttpResponse]) -> None:
    ask("who@x.example")
    work()
    DBTaskResult.objects.update(finished_at=timezone.now() - timedelta(days=2))
    ask("another@x.example")
    work()
    assert DBTaskResult.objects.count() == 1


def test_an_owner_made_without_a_password_sets_the_first_one_by_mail(
    ask: Callable[..., HttpResponse],
) -> None:
    ask(make_business(password=None).email)
    work()
    assert len(mail.outbox) == 1


def test_somebody_whose_sign_in_is_not_active_gets_no_link(
    ask: Callable[..., HttpResponse],
) -> None:
    owner = make_business()
    with acting_as_admin():
        User.objects.filter(pk=owner.pk).update(is_active=False)
    ask(owner.email)
    work()
    assert mail.outbox == []
