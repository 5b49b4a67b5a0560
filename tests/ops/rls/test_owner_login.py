"""The owner's address is tried where databases are checked: its login, and which database it is."""

from collections.abc import Iterator

import pytest
from django.db import connections

from ops.checks import check_owner_login
from ops.rls.router import OWNER_ALIAS
from tests.harness import database, run

BOTH = ["default", OWNER_ALIAS]


@pytest.fixture
def owner(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    connections[OWNER_ALIAS].close()
    yield monkeypatch
    connections[OWNER_ALIAS].close()


def ids() -> list[str | None]:
    return [message.id for message in check_owner_login(None, databases=BOTH)]


def test_the_same_database_by_both_logins_is_well(owner: pytest.MonkeyPatch) -> None:
    assert ids() == []


def test_a_login_that_is_not_let_in_is_told_by_its_variable(owner: pytest.MonkeyPatch) -> None:
    config = connections[OWNER_ALIAS].settings_dict
    owner.setitem(config, "USER", "nobody_of_this_name")
    owner.setitem(config, "PASSWORD", "hunter2")
    (message,) = check_owner_login(None, databases=BOTH)
    assert message.id == "ops.E120"
    assert message.msg.startswith("DATABASE_OWNER_URL ")
    assert "hunter2" not in f"{message.msg}{message.hint}"


def test_another_database_of_the_server_is_told(owner: pytest.MonkeyPatch) -> None:
    with database.clone("other") as other:
        assert other.startswith(run.name())
        owner.setitem(connections[OWNER_ALIAS].settings_dict, "NAME", other)
        assert ids() == ["ops.E121"]
        connections[OWNER_ALIAS].close()


def test_only_databases_that_are_checked_are_entered(owner: pytest.MonkeyPatch) -> None:
    owner.setitem(connections[OWNER_ALIAS].settings_dict, "USER", "nobody_of_this_name")
    assert check_owner_login(None, databases=["default"]) == []
    assert check_owner_login(None) == []
