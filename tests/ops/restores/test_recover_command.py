"""`manage.py recover`, out of a real backup: shown, done, taken back, killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from ops.models import Recovery
from srvc.environment import BASE_DIR
from tests.ops.backups.conftest import Backups
from tests.ops.backups.terminal import Terminal
from tests.ops.restores.between import Business, make_books
from tests.ops.restores.test_files import dump


@pytest.fixture
def books(fresh_database: str) -> Business:
    """A business with a paid invoice, made before queries go by the owner's login."""
    return make_books("First")


@pytest.fixture
def backed_up(books: Business, backups: Backups) -> tuple[Backups, Business]:
    """An installation with a full backup, and the customer's city changed since."""
    backups.take(kind="full")
    backups.execute("UPDATE customers SET city = 'Nowhere'")
    return backups, books


def _run(backups: Backups, *arguments: str) -> tuple[int, dict[str, Any]]:
    process = backups.manage("recover", *arguments, "--json")
    said, errors = process.communicate(timeout=120)
    assert said, errors
    document: dict[str, Any] = json.loads(said)
    return process.returncode, document


def _city(backups: Backups) -> str:
    with backups.connect() as connection:
        row = connection.execute("SELECT city FROM customers").fetchone()
    assert row is not None
    return str(row[0])


def test_a_customer_is_shown_recovered_and_taken_back(
    backed_up: tuple[Backups, Business],
) -> None:
    backups, books = backed_up
    which = ("--customer", str(books.customer.pk), "--mode", "all")

    status, shown = _run(backups, *which, "--dry-run")
    assert (status, shown["state"], _city(backups)) == (0, "previewed", "Nowhere")

    status, done = _run(backups, *which, "--yes")
    assert (status, done["state"], _city(backups)) == (0, "applied", "")
    changed = {each["table"]: each["planned"] for each in done["plan"]["tables"]}
    assert changed["public.customers"] == {"inserted": 0, "updated": 1, "deleted": 0}
    assert done["origin"] == f"the backup {Recovery.objects.get(pk=done['id']).backup}"

    status, undone = _run(backups, "--undo", str(done["id"]), "--yes")
    assert (status, undone["state"], _city(backups)) == (0, "applied", "Nowhere")
    assert Recovery.objects.get(pk=done["id"]).state == "undone"


@pytest.mark.long
def test_a_file_is_recovered_from_others_and_ours_alike(
    books: Business, backups: Backups, tmp_path: Path
) -> None:
    foreign = dump(tmp_path / "theirs.sql")
    ours = tmp_path / "ours"
    backups.take(kind="full", folder=str(ours))
    backups.execute("UPDATE customers SET city = 'Nowhere'")
    which = ("--customer", str(books.customer.pk), "--mode", "all")
    archive = next(each for each in ours.iterdir() if each.is_file())

    # The environment stands where the manual shows it, behind the file.
    status, shown = _run(backups, str(archive), *which, "--dry-run", "development")
    assert (status, shown["state"], shown["origin"]) == (0, "previewed", f"the file {archive}")
    changed = {each["table"]: each["planned"] for each in shown["plan"]["tables"]}
    assert changed["public.customers"] == {"inserted": 0, "updated": 1, "deleted": 0}

    status, done = _run(backups, str(foreign), *which, "--yes")
    assert (status, done["state"], _city(backups)) == (0, "applied", "")
    assert done["origin"] == "the file theirs.sql"
    status, refused = _run(backups, str(tmp_path / "none.sql"), *which, "--yes")
    assert (status, refused["recovered"]) == (2, False)


def test_on_a_terminal_the_difference_is_shown_before_anybody_is_asked(
    backed_up: tuple[Backups, Business],
) -> None:
    backups, _ = backed_up
    status, shown = _asked(backups, "another", "--table", "customers", "--mode", "all")
    assert (status, _city(backups)) == (2, "Nowhere")
    assert "That is not its name. Nothing was changed." in shown
    declined = Recovery.objects.get()
    assert (declined.state, declined.note) == (
        "previewed",
        "Shown and not confirmed; nothing was changed.",
    )

    status, shown = _asked(backups, backups.database, "--table", "customers", "--mode", "all")
    assert (status, _city(backups)) == (0, "")
    assert "1 row(s) were set back in 1 table(s)." in shown
    assert shown.count("city: 'Nowhere'") == 1


def _asked(backups: Backups, answer: str, *arguments: str) -> tuple[int, str]:
    """Run it on a terminal, and answer when it asks; what it showed."""
    with Terminal() as terminal:
        process = subprocess.Popen(
            [sys.executable, str(BASE_DIR / "manage.py"), "recover", *arguments],
            cwd=BASE_DIR, env=backups.environment(TERM="xterm", COLUMNS="200"),
            stdin=terminal.stream, stdout=terminal.stream, stderr=terminal.stream,
            start_new_session=True,
        )  # fmt: skip
        try:
            shown = _shown(process, terminal, "to go on: ")
            assert "city: 'Nowhere' → ''" in shown
            with backups.connect() as connection:
                assert connection.execute(_LOCKED).fetchone() == (0,)
            terminal.type(answer)
            shown += _shown(process, terminal, None)
            return process.returncode, shown
        finally:
            process.kill()
            process.wait()


# Other databases have tables of the same number: they were cloned from the same template.
_LOCKED = """
    SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.relation = 'customers'::regclass
      AND l.mode <> 'ShareUpdateExclusiveLock'
"""


def _shown(process: subprocess.Popen[bytes], terminal: Terminal, until: str | None) -> str:
    """Read until something is shown; None: until the program has ended."""
    shown, deadline = "", time.monotonic() + 120
    while until is None or until not in shown:
        ended = process.poll() is not None
        shown += terminal.text()
        if ended and until is None:
            break
        assert not ended, shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.05)
    return shown


def test_killed_while_it_changes_rows_it_has_changed_none(
    backed_up: tuple[Backups, Business],
) -> None:
    backups, _ = backed_up
    with backups.connect() as blocker:
        with blocker.transaction():
            # The rows are written by then; what waits is the record of them.
            blocker.execute("LOCK TABLE ops_recoveryrow IN ACCESS EXCLUSIVE MODE")
            process = backups.manage("recover", "--table", "customers", "--mode", "all", "--yes")
            deadline = time.monotonic() + 120
            while not _waits(backups):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            psutil.Process(process.pid).kill()
            process.communicate(timeout=30)
        while _waits(backups):
            time.sleep(0.05)
    assert _city(backups) == "Nowhere"
    assert Recovery.objects.get().state == "previewed"
    status, done = _run(backups, "--table", "customers", "--mode", "all", "--yes")
    assert (status, done["state"], _city(backups)) == (0, "applied", "")


def test_a_dropped_table_comes_back_out_of_the_backup(
    backed_up: tuple[Backups, Business],
) -> None:
    backups, _ = backed_up
    backups.execute("DROP TABLE payment_allocations CASCADE")
    status, done = _run(backups, "--table", "payment_allocations", "--yes")
    assert (status, done["state"]) == (0, "applied")
    assert done["plan"]["notes"][0].startswith(
        "public.payment_allocations is gone today and is made anew, with "
    )
    with backups.connect() as connection:
        rows = connection.execute("SELECT amount::text FROM payment_allocations").fetchall()
    assert rows == [("60.00",)]


def _waits(backups: Backups) -> bool:
    with backups.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'srvc recover' AND wait_event_type = 'Lock'"
        ).fetchone()
    return bool(row and row[0])
