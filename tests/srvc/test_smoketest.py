"""The application's own check on a restored database."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from crm.models import User
from crm.services.accounts import add_staff
from ops.postgres.endpoint import Endpoint
from ops.restores.drills.smoke_mark import SETTING, VARIABLE
from ops.rls.session import acting_as, acting_as_admin
from srvc.environment import BASE_DIR
from tests.factories import A_DAY, account_of, make_business, make_customer, make_invoice
from tests.harness import database, run

MARK = "a mark of this test's own, long enough"


def smoketest(*arguments: str, given: str = MARK) -> tuple[int, str, str]:
    """Run it in a process of its own, as a drill does."""
    inherited = {name: value for name, value in os.environ.items() if name != run.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(BASE_DIR / "manage.py"), "smoketest", *arguments],
        cwd=BASE_DIR,
        env={**inherited, "DJANGO_SETTINGS_MODULE": "srvc.settings", VARIABLE: given},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def called(*arguments: str, given: str = MARK) -> tuple[int, str, str]:
    """Run it here."""
    out, error, code = io.StringIO(), "", 0
    os.environ[VARIABLE] = given
    try:
        call_command("smoketest", *arguments, "--json", stdout=out, stderr=io.StringIO())
    except CommandError as refused:
        error, code = str(refused), refused.returncode
    finally:
        del os.environ[VARIABLE]
    return code, out.getvalue(), error


def execute(name: str, *statements: str) -> None:
    with database.connect(name) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def mark(name: str, value: str = MARK) -> None:
    execute(name, f"""ALTER DATABASE "{name}" SET {SETTING} = '{value.replace("'", "''")}'""")


@pytest.fixture
def two_businesses(fresh_database: str) -> str:
    """Return a database with two businesses at work, and an administrator."""
    for _ in range(2):
        owner = make_business()
        with acting_as(owner):
            make_invoice(make_customer(), "10", issue_date=A_DAY)
        with acting_as_admin():
            add_staff(
                account=account_of(owner), email=f"t{owner.pk}@a.example", group="Technician",
                password=None, by=None,
            )  # fmt: skip
    with acting_as_admin():
        User.objects.create_superuser("root@platform.example")
    return fresh_database


def by_name(out: str) -> dict[str, Any]:
    return {check["name"]: check for check in json.loads(out)["checks"]}


def test_it_holds_on_a_good_database_and_changes_nothing_there(two_businesses: str) -> None:
    mark(two_businesses)
    before = contents(two_businesses)
    code, out, err = smoketest("development", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["held"] is True
    assert list(by_name(out)) == [
        "migrations", "probes", "sign-in page",
        "dashboard of a platform administrator", "lists of a platform administrator",
        "pages of rows of a platform administrator", "searches of a platform administrator",
        "dashboard of an owner", "lists of an owner", "pages of rows of an owner",
        "searches of an owner", "rows that an owner sees", "another account's page",
    ]  # fmt: skip
    assert contents(two_businesses) == before


def contents(name: str) -> dict[str, Any]:
    with database.connect(name) as connection:
        tables = [
            table
            for (table,) in connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            )
        ]
        return {
            table: connection.execute(
                f"SELECT count(*), sum(hashtextextended(r::text, 0)) FROM {table} r".encode()
            ).fetchone()
            for table in tables
        }


def test_it_refuses_a_database_that_is_not_marked_for_it(fresh_database: str) -> None:
    before = contents(fresh_database)
    for marked, given in [
        (None, MARK), (MARK, ""), (MARK, MARK + "!"), ("short", "short"), ("", ""),
    ]:  # fmt: skip
        if marked is not None:
            mark(fresh_database, marked)
        code, out, error = called(given=given)
        assert (code, out) == (2, "")
        assert error == (
            f"{Endpoint.of('default').place} is not marked as a restored copy for this test, so it "
            "may be the live one. Nothing was done. A drill (`manage.py drill`) restores a copy and"
            " tests that; --on-live reads this one all the same."
        )
    assert contents(fresh_database) == before


def test_it_tells_what_does_not_work(two_businesses: str) -> None:
    mark(two_businesses)
    execute(
        two_businesses,
        "ALTER TABLE jobs RENAME COLUMN title TO heading",
        "DROP POLICY customer_member ON customers",
        "CREATE POLICY customer_member ON customers TO srvc_member USING (true)",
    )
    code, out, error = called()
    assert code == 1
    found = by_name(out)
    assert found["lists of an owner"]["problems"] == [
        "/admin/crm/job/ answers 500 (ProgrammingError; the log says where)."
    ]
    assert (
        "2 rows of customers, 1 of them other accounts'; it has 1."
        in (found["rows that an owner sees"]["problems"][0])
    )
    assert not found["another account's page"]["held"]
    assert error.startswith("The application does not work on this database: lists of a platform")


def test_pending_migrations_are_told_and_no_page_is_asked_for(two_businesses: str) -> None:
    mark(two_businesses)
    execute(two_businesses, "DELETE FROM django_migrations WHERE app = 'billing'")
    before = contents(two_businesses)
    code, out, _ = called()
    assert code == 1
    assert [check["name"] for check in json.loads(out)["checks"]] == ["migrations"]
    assert by_name(out)["migrations"]["problems"] == [
        (
            "2 migrations of this version are not applied to it: billing.0001_initial, "
            "billing.0002_plans_and_permissions. No page was asked for; migrate it first."
        )
    ]
    assert contents(two_businesses) == before
    assert called("--on-live", given="")[0] == 1, "asked, though it is not marked"
