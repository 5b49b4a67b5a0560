"""`manage.py importcsv`: what it prints, and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from crm.models import OFFICE_GROUP, Customer, User
from crm.services.accounts import add_staff
from ops.rls.session import acting_as, acting_as_admin
from tests.crm.imports.bring import FILES
from tests.factories import account_of, make_business

_PROJECT = Path(__file__).resolve().parents[3]


def importcsv(owner: User, *arguments: str, kind: str = "customers") -> str:
    out = StringIO()
    call_command(
        "importcsv", kind, *arguments, "--account", owner.email, stdout=out, stderr=StringIO()
    )
    return out.getvalue()


@pytest.mark.django_db
def test_it_says_what_it_read_and_did() -> None:
    owner = make_business()
    path = str(FILES / "repeated_customers.csv")
    assert importcsv(owner, path).splitlines() == [
        "repeated_customers.csv: utf-8, separated by comma",
        "2 customers imported, of 5 in the file",
        "3 skipped, there already (1 by e-mail, 1 by name and postal code, 1 by phone)",
        "  line 3: same e-mail as line 2",
        "  line 4: same phone as line 2",
        "  line 6: same name and postal code as line 5",
    ]


@pytest.mark.django_db
def test_the_outcome_as_json() -> None:
    owner = make_business()
    path = str(FILES / "semicolons_cp1252.csv")
    outcome = json.loads(importcsv(owner, path, "--json", "--map", "Vorname=first_name"))
    assert outcome == {
        "imported": True,
        "kind": "customers",
        "rows": 2,
        "created": {"customers": 2},
        "skipped": 0,
        "duplicates": {},
        "files": [
            {
                "name": "semicolons_cp1252.csv",
                "encoding": "cp1252",
                "delimiter": "semicolon",
                "columns": {
                    "Vorname": "first_name",
                    "Last Name": "last_name",
                    "City": "city",
                    "Notes": "notes",
                },
                "ignored": [],
            }
        ],
    }


@pytest.mark.django_db
def test_staff_of_the_account_may_be_named_and_the_rows_are_the_accounts() -> None:
    owner = make_business()
    with acting_as_admin():
        helper = add_staff(
            account=account_of(owner),
            email="helper@business.example",
            group=OFFICE_GROUP,
            password=None,
            by=owner,
        )
    importcsv(helper, str(FILES / "guide_customers.csv"))
    with acting_as(owner):
        assert Customer.objects.count() == 3


@pytest.mark.django_db
def test_a_dry_run_says_that_it_was_one() -> None:
    owner = make_business()
    said = importcsv(owner, str(FILES / "guide_customers.csv"), "--dry-run").splitlines()
    assert said[-2:] == [
        "3 customers would be imported, of 3 in the file",
        "A dry run: nothing was changed.",
    ]
    with acting_as(owner):
        assert not Customer.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["no/such.csv"], 1, "The file can't be read: No such file or directory."),
        ([str(FILES / "bad_customers.csv")], 1, "7 problems found. Nothing was imported"),
        ([str(FILES / "guide_customers.csv"), "--map", "=x"], 2, "write it THEIRS=OURS"),
        ([str(FILES / "guide_customers.csv"), "--map", "Nick=x"], 1, "no column “Nick” to map"),
    ],
)
def test_refusals_and_wrong_usage_have_their_exit_status(
    arguments: list[str], status: int, message: str
) -> None:
    owner = make_business()
    with pytest.raises(CommandError) as caught:
        importcsv(owner, *arguments)
    assert message in str(caught.value)
    assert caught.value.returncode == status


@pytest.mark.django_db
def test_an_account_that_is_none_is_wrong_usage() -> None:
    with pytest.raises(CommandError, match="Nobody signs in as nobody@example") as caught:
        call_command("importcsv", "jobs", "a.csv", "--account", "nobody@example.com")
    assert caught.value.returncode == 2


@pytest.mark.django_db
def test_ctrl_c_says_that_nothing_was_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crm.management.commands.importcsv.run_import", interrupted)
    with pytest.raises(CommandError, match=r"^Cancelled\. Nothing was imported\.$") as caught:
        importcsv(make_business(), str(FILES / "guide_customers.csv"))
    assert caught.value.returncode == 130


def test_the_process_itself_answers_with_these_numbers(fresh_database: str) -> None:
    owner = make_business()

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "manage.py", "importcsv", *arguments],
            cwd=_PROJECT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    account = ("--account", owner.email)
    status, said = run("customers", str(FILES / "guide_customers.csv"), *account)
    assert (status, said.splitlines()[-1]) == (0, "3 customers imported, of 3 in the file")
    assert run("customers", str(FILES / "bad_customers.csv"), *account)[0] == 1
    assert run("wishes", str(FILES / "bad_customers.csv"), *account)[0] == 2
