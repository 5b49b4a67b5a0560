"""`manage.py dbping` on a terminal: steps, averages, the failing step, and how it ends."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections


def dbping(*arguments: str) -> str:
    out = io.StringIO()
    call_command("dbping", *arguments, stdout=out)
    return out.getvalue()


def test_every_login_is_tried_and_told_step_by_step(fresh_database: str) -> None:
    said = dbping("--count", "2", "--timeout", "60")
    for login in ("srvc_app", "srvc_owner", "srvc_replication"):
        assert f"{login} 1: socket " in said
        assert f"{login} 2: socket " in said
        assert f"✓ {login} on" in said
    assert "Average" in said
    assert "signed in, without TLS." in said


def test_programs_are_told_in_milliseconds(fresh_database: str) -> None:
    web, owner, replication = json.loads(dbping("--count", "2", "--timeout", "60", "--json"))
    assert [each["login"] for each in (web, owner, replication)] == [
        "srvc_app", "srvc_owner", "srvc_replication",
    ]  # fmt: skip
    assert (web["sent"], web["failed"], web["failure"], web["tls"]) == (2, 0, None, None)
    assert list(web["steps"]) == ["socket", "auth", "query"]
    query = web["steps"]["query"]
    assert 0 < query["min"] <= query["avg"] <= query["max"]


def test_a_login_that_fails_is_tried_once_and_ends_it_with_1(fresh_database: str) -> None:
    connections["owner"].settings_dict["NAME"] = "no_such_database"
    out = io.StringIO()
    with pytest.raises(CommandError, match="No connection each time for srvc_owner") as error:
        call_command("dbping", "--count", "2", "--timeout", "60", stdout=out)
    assert error.value.returncode == 1
    said = " ".join(out.getvalue().split())
    assert "srvc_app 2: " in said
    assert "srvc_owner 2: " not in said
    assert "auth failed" in said
    assert 'What database "no_such_database" does not exist.' in said
    assert "Next manage.py provision" in said
    assert "test" not in said.replace("srvc_test", "").replace("srvc-test", "")  # the password


def test_an_interruption_prints_what_there_is(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    said = dbping("--count", "1000", "--timeout", "60")
    assert "srvc_app 1: " in said
    assert "Average" in said
    assert "srvc_app 2: " not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--count", "0"], "--count is from 1 to 100,000. Nothing was tried."),
        (["--timeout", "nan"], "--timeout is from 0.01 to 600. Nothing was tried."),
    ],
)
def test_wrong_usage_tries_nothing_and_ends_with_2(arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError) as error:
        dbping(*arguments)
    assert str(error.value).startswith(said)
    assert error.value.returncode == 2
