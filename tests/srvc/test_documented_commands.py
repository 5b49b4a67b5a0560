"""Every command line of README.md and docs/*.md parses, and the harmless ones are run."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command, get_commands, load_command_class

from ops.models import BackupKind
from srvc import environment
from srvc.command_line import choose_environment
from tests.harness import database
from tests.ops.backups.conftest import Backups, backups  # noqa: F401 (a fixture)
from tests.ops.backups.replicating import replicating_server, server_of_a_module  # noqa: F401
from tests.ops.restores.between import make_books
from tests.srvc.documented import Example, by_text

server = server_of_a_module()  # restore points take a recent PostgreSQL
EXAMPLES = by_text()
# What the manuals write for something that the reader puts there.
PLACEHOLDERS = {
    "ENVIRONMENT": "production",
    "BACKUP": "0a1b2c",
    "RUN": "34",
    "NAME": "locks",
    "ID": "12",
    "TIME": "2026-11-22 14:05",
    "TABLE": "jobs",
    "SQL": "SELECT 1",
    "…": "orphans",
}
# Only parsed, and why. Everything else is run, in the order of the manuals.
ONLY_PARSED = {
    r"restore (?!--media|--list|--latest --dry-run)": "writes: ops/restores/test_routes.py",
    r"restore --media (?!--list|--latest --dry-run)": "writes: ops/restores/test_media_restore.py",
    r"recover (?!--customer 12 --dry-run)": "changes rows: ops/restores/test_recover_command.py",
    r"drill(?! --list)": "takes a quarter of a minute each: ops/restores/test_drill_command.py",
    r"backup .*--(base|incremental)": "takes a server of its own: ops/backups/test_physical.py",
    r"backups cancel": "takes a run that goes on: ops/backups/test_backups_command.py",
    r"backups delete": "the following examples need it: ops/backups/test_backups_command.py",
    r"verify .*--copy": "takes an off-site storage: ops/backups/test_verify_command.py",
    r"verify /mnt/disk": "names a folder of the reader's: ops/backups/test_verify_command.py",
    r"(walreceiver|watch|worker|dblogs --follow)": "runs until it is stopped",
    r"migrate APP": "names a placeholder: Django's own",
    r"provision": "takes an administrator's URL: ops/postgres/test_provision_command.py",
    r"check --deploy": "takes the settings of production: scripts/check",
    r"seed": "makes a million customers: billing/test_seed_scales.py",
    r"resettwofactor": "asks on a terminal: srvc/test_two_factor.py",
    r"importcsv (products|jobs|invoices)": "takes files of the reader's: tests/crm/imports",
    r"importaccount (?!.*--as-email)": "the account is here: ops/restores/test_account_archives.py",
    r"backups --prune$": "asks on a terminal: ops/backups/test_backups_command.py",
}
CUSTOMERS = "id,first_name,last_name\n1,Ada,Lovelace\n"


def only_parsed(text: str) -> bool:
    return any(re.match(pattern, text) for pattern in ONLY_PARSED)


def parsed(example: Example, values: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    """An example's words without the environment, and what its own parser makes of them."""
    rest = choose_environment(["manage.py", *example.words(values)])[1:]
    app = get_commands()[rest[0]]
    command = load_command_class(app, rest[0]) if isinstance(app, str) else app
    return rest, vars(command.create_parser("manage.py", rest[0]).parse_args(rest[1:]))


@pytest.fixture(autouse=True)
def _environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """There is a production and a staging, and a folder to work in."""
    monkeypatch.setattr(
        environment, "known_environments", lambda: ["development", "production", "staging"]
    )
    monkeypatch.setenv("SRVC_ENV", "development")
    monkeypatch.delenv("SRVC_ENV_FILE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_of_the_manuals_parses(text: str) -> None:
    parsed(EXAMPLES[text], PLACEHOLDERS)


def test_the_table_of_those_only_parsed_names_no_more_than_there_are() -> None:
    unused = [each for each in ONLY_PARSED if not any(re.match(each, text) for text in EXAMPLES)]
    assert unused == []


@pytest.mark.long
def test_the_harmless_examples_work_as_they_stand_there(
    fresh_database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    books = make_books("First")
    database.provide_template(fresh_database)
    installation: Backups = request.getfixturevalue("backups")
    newest = installation.take(kind=BackupKind.FULL)
    installation.take(kind=BackupKind.MEDIA)
    values = {
        **PLACEHOLDERS,
        "12": str(newest.pk),
        "ID": str(newest.pk),
        "BACKUP": newest.name,
        "srvc-production-2026-11-22-231502-full-before_upgrade-0a1b2c": newest.name,
        "srvc-production-2026-11-22": newest.name,
        "SELECT …": "SELECT id FROM jobs",
        "owner@demo.example": books.owner.email,
        "EMAIL": books.owner.email,
    }
    call_command("createaccount", "owner@business.example", name="Business", stdout=io.StringIO())
    for name in ("customers.csv", "clients.csv"):
        (tmp_path / name).write_text(CUSTOMERS)

    failed = []
    for text, example in EXAMPLES.items():
        if only_parsed(text) or example.manual == "production.md":  # run by tests/production
            continue
        own = values | ({"12": str(books.customer.pk)} if text.startswith("recover") else {})
        words, _ = parsed(example, own)
        if said := _failure(words):
            failed.append(f"{example}: {said}")
    assert failed == []


def _failure(words: list[str]) -> str:
    """Run a command; why it failed, or nothing."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command(*words, stdout=out, stderr=err)
    except SystemExit as end:
        # What health finds in a small database is no failure of the example.
        found = words[0] == "health" and end.code in (0, 1, 2)
        return "" if found or not end.code else f"ended with {end.code}: {err.getvalue()}"
    except Exception as error:  # noqa: BLE001 (the report names every example that fails)
        return f"{type(error).__name__}: {error}"
    return ""
