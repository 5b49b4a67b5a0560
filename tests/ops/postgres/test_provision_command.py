"""`manage.py provision`: the logins it reads, and what it says about each."""

import pytest
from django.core.management import CommandError, call_command
from psycopg.conninfo import make_conninfo
from pytest_django import Settings

from ops.postgres import roles
from tests.harness import database


@pytest.fixture
def administrator(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the database's name, with an administrator's address in the environment."""
    monkeypatch.setenv("DATABASE_ADMIN_URL", make_conninfo(**database.admin()))
    return fresh_database


def test_every_login_is_made_and_tried(
    administrator: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("provision")
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out == (
        "srvc_owner, srvc_app, srvc_replication, srvc_member, srvc_admin, srvc_public and database "
        f"{administrator} are ready.\n"
    )


def test_without_an_address_for_replication_it_is_said(
    administrator: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.REPLICATION_URL = ""
    call_command("provision")
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == roles.NO_REPLICATION_PASSWORD
    assert said.err == ""


@pytest.mark.parametrize("login", ["somebody:secret", "srvc_replication"])
def test_an_address_of_somebody_else_or_without_password_is_refused(
    administrator: str, settings: Settings, login: str
) -> None:
    settings.REPLICATION_URL = f"postgres://{login}@db.example:5432/"
    with pytest.raises(CommandError) as refusal:
        call_command("provision")
    assert str(refusal.value) == (
        "DATABASE_REPLICATION_URL is not of srvc_replication with a password. Nothing was changed. "
        "Set DATABASE_REPLICATION_URL=postgres://srvc_replication:PASSWORD@HOST:5432/, or remove "
        "it: then there are no base backups and no WAL."
    )


def test_a_replication_login_that_cannot_sign_in_is_a_warning(
    administrator: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    there = f"postgres://srvc_replication:{database.PASSWORD}@%2Fnonexistent:5432/"
    settings.REPLICATION_URL = there
    call_command("provision")
    said = capsys.readouterr()
    assert said.out.endswith("are ready.\n")
    assert said.err.startswith(
        "There will be no base backups and no WAL: srvc_replication cannot sign in to "
    )
    assert said.err.endswith("It has to let srvc_replication in for the database `replication`.\n")
