"""The first platform administrator is made by a command; the password is never an argument."""

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from crm.models import User
from ops.rls.session import acting_as_admin
from tests.factories import make_business

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def no_terminal(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADMINISTRATOR_PASSWORD", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())


def create(*arguments: str) -> str:
    out = io.StringIO()
    call_command("createadministrator", *arguments, stdout=out)
    return out.getvalue()


def everybody() -> list[tuple[str, bool, int | None]]:
    with acting_as_admin(via="test"):
        return list(User.objects.values_list("email", "is_superuser", "account_id"))


def test_a_piped_password_makes_somebody_who_can_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    made = json.loads(create("ann@platform.example", "--password-stdin", "--json"))
    assert made["email"] == "ann@platform.example"
    assert everybody() == [("ann@platform.example", True, None)]
    answer = Client().post(
        "/admin/login/", {"username": "ann@platform.example", "password": PASSWORD}
    )
    assert answer.status_code == 302


def test_the_environment_may_hold_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMINISTRATOR_PASSWORD", PASSWORD)
    assert PASSWORD not in create("ann@platform.example", "--first-name", "Ann")
    assert len(everybody()) == 1


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ann", PASSWORD),
        ("ann@platform.example", "hunter2"),
        ("ann@platform.example", "1234567890"),
        ("ann.smith@platform.example", "ann.smith@platform"),
        ("ann@platform.example", ""),
    ],
)
def test_what_can_be_no_administrator_is_refused_and_nothing_is_made(
    email: str, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    with pytest.raises(CommandError) as refused:
        create(email, "--password-stdin")
    assert password == "" or password not in str(refused.value)
    assert everybody() == []


def test_without_a_terminal_a_password_has_to_be_given() -> None:
    with pytest.raises(CommandError, match="--password-stdin"):
        create("ann@platform.example")
    assert everybody() == []


def test_the_prompt_asks_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter([PASSWORD, "another one", PASSWORD, PASSWORD])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    with pytest.raises(CommandError):
        create("ann@platform.example")
    assert everybody() == []
    create("ann@platform.example")
    assert len(everybody()) == 1


def test_somebody_who_is_there_is_not_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = make_business()
    before = everybody()
    monkeypatch.setenv("ADMINISTRATOR_PASSWORD", PASSWORD)
    with pytest.raises(CommandError):
        create(owner.email.upper())
    assert everybody() == before


@pytest.mark.parametrize("arguments", [[], ["--noinput", "--email", "ann@platform.example"]])
def test_djangos_own_command_names_the_right_one(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="createadministrator") as refused:
        call_command("createsuperuser", *arguments)
    assert refused.value.returncode == 2
    assert everybody() == []


def test_an_operator_gives_a_person_a_new_password(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = make_business()
    monkeypatch.setattr("getpass.getpass", lambda prompt="": PASSWORD)
    call_command("changepassword", owner.email, stdout=io.StringIO())
    answer = Client().post("/admin/login/", {"username": owner.email, "password": PASSWORD})
    assert answer.status_code == 302
