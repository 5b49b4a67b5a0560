"""/healthz and /readyz: cheap, silent about details, before every other middleware."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from srvc import probes, static_files
from srvc.probes import ProbeMiddleware


def never(request: HttpRequest) -> HttpResponse:
    raise AssertionError("the probe was passed on")


@pytest.fixture
def probe() -> Callable[[str], HttpResponse]:
    middleware = ProbeMiddleware(never)
    return lambda path: middleware(RequestFactory().get(path))  # type: ignore[return-value]


def test_healthz_touches_no_database_and_takes_any_host() -> None:
    # Without the mark django_db a query would fail this test.
    answer = Client(headers={"host": "10.0.0.7:8000"}).get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "failing": []})
    assert answer["Cache-Control"] == "no-store"
    assert answer.cookies == {}


def test_probes_are_not_redirected_to_https(settings: pytest.FixtureRequest) -> None:
    settings.SECURE_SSL_REDIRECT = True  # type: ignore[attr-defined]
    assert Client().get("/healthz").status_code == 200


def test_probes_are_read_only(probe: Callable[[str], HttpResponse]) -> None:
    assert ProbeMiddleware(never)(RequestFactory().post("/readyz")).status_code == 405
    assert ProbeMiddleware(never)(RequestFactory().head("/healthz")).status_code == 200


@pytest.mark.django_db
def test_readyz_says_ok(probe: Callable[[str], HttpResponse]) -> None:
    answer = probe("/readyz")
    assert (answer.status_code, answer.content) == (200, b'{"status": "ok", "failing": []}')


def test_readyz_names_a_database_that_does_not_answer_and_nothing_else(
    probe: Callable[[str], HttpResponse], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    answer = probe("/readyz")
    assert answer.status_code == 503
    assert answer.content == b'{"status": "failing", "failing": ["database"]}'


def test_readyz_names_migrations_that_are_not_applied(
    fresh_database: str, probe: Callable[[str], HttpResponse]
) -> None:
    call_command("migrate", "billing", "0001", verbosity=0)
    assert probes.failing_parts() == ["migrations"]
    with connections["owner"].cursor() as cursor:
        cursor.execute("ALTER TABLE django_migrations RENAME TO elsewhere")
    assert probe("/readyz").content == b'{"status": "failing", "failing": ["migrations"]}'


@pytest.mark.django_db
def test_readyz_names_static_files_that_are_not_collected(
    probe: Callable[[str], HttpResponse], settings: Settings, tmp_path: Path
) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    }
    answer = probe("/readyz")
    assert answer.status_code == 503
    assert answer.content == b'{"status": "failing", "failing": ["static files"]}'
    assert static_files.problem() != ""


def test_readyz_looks_once_a_second_however_often_it_is_asked(
    probe: Callable[[str], HttpResponse], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([["database"], []])
    monkeypatch.setattr(probes, "failing_parts", lambda: next(looks))
    assert [probe("/readyz").status_code for _ in range(5)] == [503] * 5
