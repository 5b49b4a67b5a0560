"""Error pages without detail, headers on every page, passwords forgotten and changed."""

import re

import pytest
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.urls import reverse
from django.views import defaults
from pytest_django import Settings

from crm.models import User
from ops.rls.session import acting_as_login
from tests.factories import make_business

PASSWORD = "a long pass phrase"


@pytest.fixture
def no_manifest(settings: Settings) -> None:
    """Static files as in production, before anybody collected them."""
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    }


@pytest.mark.usefixtures("no_manifest")
@pytest.mark.parametrize("name", ["400", "403", "403_csrf", "404", "429", "500", "503"])
def test_an_error_page_needs_neither_database_nor_manifest(name: str) -> None:
    # Without the mark django_db a query would fail this test.
    page = render_to_string(f"{name}.html")
    assert page.count("<h1>") == 1
    assert '<link rel="stylesheet" href="/static/srvc/errors.css">' in page
    assert "<script" not in page
    assert "style=" not in page


@pytest.mark.usefixtures("no_manifest")
def test_a_crash_says_nothing_of_itself() -> None:
    answer = defaults.server_error(RequestFactory().get("/secret-path"))
    assert answer.status_code == 500
    assert "Something went wrong" in answer.content.decode()
    assert "secret-path" not in answer.content.decode()


@pytest.mark.django_db
def test_a_page_that_is_not_there_does_not_repeat_its_address(client: Client) -> None:
    answer = client.get("/no/such-page/")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()
    assert "such-page" not in answer.content.decode()


@pytest.mark.django_db
def test_an_expired_form_is_told_plainly() -> None:
    answer = Client(enforce_csrf_checks=True).post(reverse("admin:login"), {"username": "x"})
    assert answer.status_code == 403
    assert "This form has expired" in answer.content.decode()


def test_an_unknown_host_is_a_bad_request(client: Client) -> None:
    answer = client.get("/admin/login/", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert "evil.example" not in answer.content.decode()


@pytest.mark.django_db
def test_every_page_says_what_a_browser_may_load(client: Client) -> None:
    answer = client.get(reverse("admin:login"))
    policy = dict(
        part.strip().split(" ", 1) for part in answer["Content-Security-Policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self' 'unsafe-eval'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "manifest-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "object-src": "'none'",
    }
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    cookie = client.cookies["srvc_csrf"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    # Nothing of the page needs what the policy forbids.
    text = answer.content.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"\son[a-z]+=", text) == []


@pytest.mark.django_db
def test_a_member_changes_the_own_password_and_stays_signed_in(client: Client) -> None:
    owner = make_business()
    client.force_login(owner)
    new = "an entirely new phrase"
    page = reverse("admin:password_change")
    assert client.get(page).status_code == 200
    refused = client.post(
        page, {"old_password": PASSWORD, "new_password1": "short", "new_password2": "short"}
    )
    assert refused.status_code == 200
    changed = client.post(
        page, {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    )
    assert changed.status_code == 302
    assert client.get(page).status_code == 200
    with acting_as_login():
        assert User.objects.get(pk=owner.pk).check_password(new)
