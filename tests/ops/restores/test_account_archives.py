"""Archives of accounts that are damaged, edited or foreign: told why, and nothing changed."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pyrage
import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from billing.services.subscriptions import subscribe
from crm.services.accounts import add_staff
from crm.services.documents import issue_invoice
from ops.errors import OpsError
from ops.models import Run
from ops.progress import Counter
from ops.rls.session import acting_as, acting_as_admin
from tests.factories import A_DAY, account_of, make_business, make_customer, make_invoice
from tests.harness import database
from tests.ops.backups.conftest import Backups
from tests.ops.restores.accounts import (
    Parts,
    contents,
    export,
    packed,
    parts_of,
    rewritten,
    take_in,
)

Says = dict[str, Any]
CUSTOMERS, USERS = "tables/public.customers.jsonl", "tables/public.users.jsonl"
DAMAGED = "The archive is damaged, or was edited: "


@pytest.fixture
def archive(fresh_database: str, tmp_path: Path) -> Path:
    """Return an account's archive; the account itself is still there.

    It comes before `backups`, under which queries go by the owner's login, whom no service obeys.
    """
    owner = make_business(email="ada@plumbing.example")
    with acting_as_admin(via="test"):
        add_staff(
            account=account_of(owner), email="tina@plumbing.example", group="Technician",
            password=None, by=None,
        )  # fmt: skip
        subscribe(account=account_of(owner), plan="starter", by=None)
    with acting_as(owner, via="test"):
        invoice = make_invoice(make_customer(company_name="Größe & Söhne"), "10", issue_date=A_DAY)
        issue_invoice(invoice=invoice, by=owner)
    return export("ada@plumbing.example", tmp_path / "ada.tar").path


def line(parts: Parts, name: str, **changes: Any) -> None:
    """Change the first row of a table; a value of `...` takes the column out."""
    first, *others = parts[name].splitlines(keepends=True)
    row = {**json.loads(first), **changes}
    row = {column: value for column, value in row.items() if value is not ...}
    parts[name] = b"".join([json.dumps(row).encode() + b"\n", *others])


def drop_column(parts: Parts, says: Says, table: str, column: str) -> None:
    part = next(each for each in says["tables"] if each["name"] == table)
    del part["columns"][column]
    rows = [json.loads(text) for text in parts[part["file"]].splitlines()]
    for row in rows:
        del row[column]
    parts[part["file"]] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)


# Changed by somebody who makes the checksums fit, and what is told.
EDITED: dict[str, tuple[Callable[[Parts, Says], object], str]] = {
    "another product": (
        lambda parts, says: says.update(product="Other"), "This is an archive of another product."
    ),
    "another kind": (
        lambda parts, says: says.update(kind="full"), "This is no account's archive but 'full'."
    ),
    "a newer format": (
        lambda parts, says: says.update(format=2),
        "This archive has format '2'; this version of SRVC reads format 1.",
    ),
    "no list of files": (
        lambda parts, says: says.pop("files"),
        f"{DAMAGED}its manifest.json is not of format 1 ('files').",
    ),
    "a file that leads elsewhere": (
        lambda parts, says: says["files"].append(
            {"name": "../../etc/cron.d/x", "bytes": 1, "sha256": "0" * 64}
        ),
        (f"{DAMAGED}its manifest.json is not of format 1 ('../../etc/cron.d/x' leads out of the "
        "folder of uploaded files)."),
    ),
    "rows that lead elsewhere": (
        lambda parts, says: says["tables"][0].update(file="tables/../../x.jsonl"),
        (f"{DAMAGED}its manifest.json is not of format 1 ('tables/../../x.jsonl' is no name of a "
        "file of rows)."),
    ),
    "a table twice": (
        lambda parts, says: says["tables"].append({**says["tables"][0], "file": "tables/x.jsonl"}),
        f"{DAMAGED}its manifest.json names a table twice.",
    ),
    "an unknown table": (
        lambda parts, says: next(e for e in says["tables"] if e["name"] == "public.customers")
        .update(name="public.pg_authid"),
        "The archive has 1 rows of public.pg_authid, a table of accounts that this version",
    ),
    "rows of another account": (
        lambda parts, says: line(parts, CUSTOMERS, user_id=2),
        "1 rows of public.customers in the archive are not of account 1, which it is of.",
    ),
    "a user of no account": (
        lambda parts, says: line(parts, USERS, account_id=None, is_superuser=True),
        "1 rows of public.users in the archive are not of account 1, which it is of.",
    ),
    "a superuser": (
        lambda parts, says: line(parts, USERS, is_superuser=True),
        ('The database refused the archive\'s rows: new row for relation "users" violates check '
        'constraint "user_superuser_has_no_account".'),
    ),
    "a value of another type": (
        lambda parts, says: line(parts, CUSTOMERS, created_at="yesterday or so"),
        f"{DAMAGED}{CUSTOMERS}: invalid input syntax for type timestamp with time zone",
    ),
    "a value of no row": (
        lambda parts, says: line(parts, CUSTOMERS, notes=["a list"]),
        f"{DAMAGED}line 1 of {CUSTOMERS} has a value of a kind that rows don't have.",
    ),
    "a column less": (
        lambda parts, says: line(parts, CUSTOMERS, notes=...),
        f"{DAMAGED}line 1 of {CUSTOMERS} is no row with the columns it should have.",
    ),
    "a line that is none": (
        lambda parts, says: parts.update({CUSTOMERS: b"{]\n"}),
        f"{DAMAGED}line 1 of {CUSTOMERS} is no row with the columns it should have.",
    ),
    "a line without an end": (
        lambda parts, says: parts.update({CUSTOMERS: parts[CUSTOMERS].rstrip()}),
        f"{DAMAGED}line 1 of {CUSTOMERS} is too long, or has no end.",
    ),
    "a row less": (
        lambda parts, says: parts.update({CUSTOMERS: b""}),
        f"{DAMAGED}{CUSTOMERS} has 0 rows; the manifest tells of 1.",
    ),
    "a plan that is not here": (
        lambda parts, says: line(parts, "shared/public.subscription_plans.jsonl", code="golden"),
        "public.subscription_plans has no golden here, which the account uses.",
    ),
    "a total that is wrong": (
        lambda parts, says: line(
            parts, "tables/public.invoice_lines.jsonl", net="11.00", unit_price="11.0000"
        ),
        ("The archive's rows contradict what must be true: Not true: Every sent invoice has lines, "
        "and its subtotal is what they add up to. invoices "),
    ),
    "a column that is needed": (
        lambda parts, says: drop_column(parts, says, "public.invoices", "currency"),
        "public.invoices needs a value in currency, which the archive does not know",
    ),
}  # fmt: skip


def test_an_edited_archive_is_refused_with_its_reason_and_changes_nothing(
    archive: Path, backups: Backups, tmp_path: Path
) -> None:
    with backups.connect() as connection:
        before = contents(connection)
        for number, (what, (change, told)) in enumerate(EDITED.items()):
            edited = rewritten(archive, tmp_path / f"{number}.tar", change)  # type: ignore[arg-type]
            assert refused(edited).startswith(told), what
            assert contents(connection) == before, what
    assert set(Run.objects.filter(kind="import").values_list("status", flat=True)) == {"failed"}


def test_an_unreadable_archive_is_refused_with_its_reason_and_changes_nothing(
    archive: Path, backups: Backups, tmp_path: Path
) -> None:
    whole, parts = archive.read_bytes(), parts_of(archive)
    manifest = {"manifest.json": parts.pop("manifest.json")}
    link = io.BytesIO()
    with tarfile.open(fileobj=link, mode="w") as tar:
        for name, content in manifest.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
        header = tarfile.TarInfo(CUSTOMERS)
        header.type, header.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(header)
    changed = bytearray(whole)
    changed[whole.index(b"S\\u00f6hne" if b"S\\u00f6hne" in whole else "Söhne".encode())] ^= 1
    cases = {
        b"": f"{DAMAGED}it is no tar that can be read to its end.",
        b"PK\3\4 no tar at all": f"{DAMAGED}it is no tar that can be read to its end.",
        bytes(changed): f"{DAMAGED}the SHA-256 of {CUSTOMERS} is not the manifest's.",
        whole[: whole.index(b'"company_name"')]: DAMAGED,
        whole[: len(manifest["manifest.json"]) // 2]: DAMAGED,
        link.getvalue(): f"{DAMAGED}'{CUSTOMERS}' in it is not named by its manifest.",
    }
    files = {
        packed(tmp_path / "a.tar", {**parts, **manifest}): "it does not begin with manifest.json.",
        packed(tmp_path / "b.tar", manifest): "is missing, so it was cut off, or taken out.",
        packed(tmp_path / "c.tar", {**manifest, "../../evil": b"x", **parts}): (
            "'../../evil' in it is not named by its manifest."
        ),
        packed(tmp_path / "d.tar", {**manifest, **parts, "/etc/passwd": b"x"}): (
            "'/etc/passwd' in it is not named by its manifest."
        ),
        packed(tmp_path / "e.tar", {**manifest, CUSTOMERS: b"1" * 9}): (
            f"{CUSTOMERS} has 9 bytes; the manifest tells of {len(parts[CUSTOMERS])}."
        ),
        packed(tmp_path / "f.tar", {"manifest.json": b"{"}): "its manifest.json is no JSON.",
    }
    with backups.connect() as connection:
        before = contents(connection)
        for number, (content, told) in enumerate(cases.items()):
            file = tmp_path / f"case{number}.tar"
            file.write_bytes(content)
            assert refused(file).startswith(told), number
        for file, told in files.items():
            assert DAMAGED in (said := refused(file)), file
            assert told in said, file
        assert "can't be read: No such file" in refused(tmp_path / "none.tar")
        assert contents(connection) == before


def refused(file: Path) -> str:
    with pytest.raises(OpsError) as caught:
        take_in(file, as_login="new@plumbing.example")
    assert "Nothing was imported" in str(caught.value)
    return str(caught.value)


def test_older_and_newer_columns_fit_as_far_as_they_can(
    archive: Path, backups: Backups, tmp_path: Path
) -> None:
    backups.execute("ALTER TABLE customers ADD COLUMN colour text NOT NULL DEFAULT 'blue'")
    backups.execute("ALTER TABLE customers DROP COLUMN job_title")
    backups.execute("ALTER TABLE customers_history DROP COLUMN job_title")
    imported = take_in(archive, as_login="new@plumbing.example")
    assert imported.notes[:2] == (
        "public.customers has no job_title here: left out.",
        "public.customers_history has no job_title here: left out.",
    )
    with backups.connect() as connection:
        rows = connection.execute("SELECT company_name, colour FROM customers").fetchall()
    assert rows == [("Größe & Söhne", "blue")] * 2


def test_an_encrypted_archive_opens_with_its_identity_alone(
    archive: Path, backups: Backups, tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "ada.tar.age"
    assert export("ada@plumbing.example", path).encrypted
    assert b"manifest.json" not in path.read_bytes()
    good, settings.BACKUP_AGE_IDENTITY_FILES = settings.BACKUP_AGE_IDENTITY_FILES, []
    assert "no identity is here that might open it" in refused(path)
    other = tmp_path / "other.txt"
    other.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    settings.BACKUP_AGE_IDENTITY_FILES = [str(other)]
    assert refused(path).startswith("The archive can't be decrypted: ")
    settings.BACKUP_AGE_IDENTITY_FILES = good
    cut = tmp_path / "cut.tar.age"
    cut.write_bytes(path.read_bytes()[:-100])
    assert refused(cut).startswith("The archive can't be decrypted: ")
    assert take_in(path, as_login="new@plumbing.example").rows["public.customers"] == 1
    assert list((backups.var / "scratch").iterdir()) == []
    settings.BACKUP_AGE_RECIPIENTS = []
    with pytest.raises(OpsError, match="would be encrypted, and no recipient is set"):
        export("ada@plumbing.example", tmp_path / "b.tar.age")


def test_an_export_that_fails_leaves_no_file(
    archive: Path, backups: Backups, tmp_path: Path
) -> None:
    with pytest.raises(OpsError, match=r"ada\.tar exists already\. Nothing was written"):
        export("ada@plumbing.example", archive)
    with pytest.raises(OpsError, match=r"There is no account 'bob@plumbing\.example' here"):
        export("bob@plumbing.example", tmp_path / "bob.tar")
    with pytest.raises(OpsError, match="can't be written: No such file or directory"):
        export("ada@plumbing.example", tmp_path / "nowhere" / "ada.tar")
    left = tmp_path / ".new.tar.123.aside"  # of one that was killed
    left.write_bytes(b"half")
    export("ada@plumbing.example", tmp_path / "new.tar")
    assert not left.exists()
    assert not list(tmp_path.glob(".*"))


def test_a_cancelled_import_and_one_during_a_restore_change_nothing(
    archive: Path, backups: Backups
) -> None:
    class Stopping(Counter):
        def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
            super().phase(name, total, unit)
            if name == "asking the invariants":
                self.cancel()

    with backups.connect() as connection:
        before = contents(connection)
        with pytest.raises(OpsError, match="It was cancelled"):
            take_in(archive, Stopping(), as_login="new@plumbing.example")
        assert contents(connection) == before
        connection.execute("SELECT pg_advisory_lock(%s, 1)", [0x53525657])
        with pytest.raises(OpsError, match="The database is being restored"):
            take_in(archive, as_login="new@plumbing.example")
        assert contents(connection) == before


def test_the_commands_say_what_they_did_and_exit_as_told(
    archive: Path, backups: Backups, tmp_path: Path
) -> None:
    def call(*arguments: str) -> str:
        out = io.StringIO()
        call_command(*arguments, stdout=out, stderr=io.StringIO())
        return out.getvalue()

    file = str(tmp_path / "again.tar")
    told = json.loads(call("exportaccount", "ADA@plumbing.example", file, "--json"))
    assert (told["account"]["email"], told["encrypted"], told["passwords"]) == (
        "ada@plumbing.example", False, False,
    )  # fmt: skip
    with pytest.raises(CommandError) as caught:
        call("importaccount", file)
    assert caught.value.returncode == 1
    arguments = ("importaccount", file, "--as-email", "new@plumbing.example")
    assert call(*arguments, "--dry-run").startswith("new@plumbing.example would come in with ")
    assert json.loads(call(*arguments, "--json"))["tables"]["public.customers"] == 1
    with database.connect(backups.database) as connection:
        row: psycopg.rows.TupleRow | None = connection.execute(
            "SELECT count(*) FROM accounts"
        ).fetchone()
    assert row == (2,)
