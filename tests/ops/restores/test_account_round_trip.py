"""An account goes from one server to another whose numbers are taken, and is the same there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from pytest_django import Settings

from billing.services.subscriptions import subscribe
from crm.models import Invoice, Payment, User
from crm.services.accounts import add_staff
from ops.invariants import check_invariants
from ops.models import Run
from ops.restores.accounts.contents import contents_of
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as, acting_as_admin
from tests.crm.imports.northwind import import_all, needs_northwind
from tests.factories import A_DAY, account_of, make_business, make_customer, make_invoice
from tests.harness import database
from tests.ops.restores.accounts import (
    export,
    parts_of,
    rows_of,
    take_in,
    without_keys,
)


def northwind(email: str) -> User:
    owner = make_business("Northwind Traders", email=email)
    import_all(owner)
    account = account_of(owner)
    with acting_as_admin(via="test"):
        subscribe(account=account, plan="starter", by=None)
        add_staff(
            account=account, email=f"tina.{email}", group="Technician", password="a secret of hers",
            by=None,
        )  # fmt: skip
    with acting_as(owner, via="test"):
        gone = make_customer(company_name="Deleted since")
        gone.delete()
    return owner


@needs_northwind
def test_northwind_is_the_same_on_a_server_where_its_numbers_are_taken(
    fresh_database: str, tmp_path: Path, worker_id: str
) -> None:
    northwind("owner@northwind.example")
    first = export("OWNER@northwind.example", tmp_path / "first.tar")
    with database.connect(fresh_database) as connection:
        meant = dict(contents_of(connection).meant)
    with database.clone(f"{worker_id}_other") as name, database.pointed_at(name):
        # Other accounts have the same numbers, and a plan has another one here.
        with acting_as(make_business()):
            for _ in range(30):
                make_invoice(make_customer(), "10", issue_date=A_DAY)
        with database.connect(name) as connection:
            connection.execute("UPDATE subscription_plans SET id = id + 700")
        imported = take_in(first.path)
        second = export("owner@northwind.example", tmp_path / "second.tar")
        with as_owner_by_default():
            run = Run.objects.get(kind="import")
        assert (run.status, run.subject) == ("done", "first.tar")
        with database.connect(name) as connection:
            assert [str(each) for each in check_invariants(connection) if not each.holds] == []
        assert run.message == (
            f"owner@northwind.example came in as account {imported.account} with "
            f"{first.archive.rows:,} rows."
        )
        owner = User.objects.using("owner").get(email="owner@northwind.example")
        assert (owner.pk, owner.account_id) == (imported.account, imported.account)
        assert not owner.has_usable_password()
        with acting_as(owner):
            assert owner.groups.get().name == "Owner"
            assert Invoice.objects.count() == 830
            draft = make_invoice(make_customer(), "10", issue_date=A_DAY)
            draft.status = "issued"
            draft.save()
            draft.refresh_from_db()
            assert draft.number == 831, "numbers go on where they were"
    one, other = parts_of(first.path), parts_of(second.path)
    ids = {row["id"] for row in rows_of(one)["public.customers"]}
    assert {row["id"] for row in rows_of(other)["public.customers"]} == {key + 30 for key in ids}
    assert without_keys(one, meant) == without_keys(other, meant)
    assert one["shared/public.auth_group.jsonl"] == other["shared/public.auth_group.jsonl"]
    assert json.loads(other["shared/public.subscription_plans.jsonl"]) == {
        "id": json.loads(one["shared/public.subscription_plans.jsonl"])["id"] + 700,
        "code": "starter",
    }


def test_everything_that_a_policy_gives_to_an_account_is_in_its_archive(
    fresh_database: str,
) -> None:
    with database.connect(fresh_database) as connection:
        contents = contents_of(connection)
        seen = {
            f"public.{table}"
            for (table,) in connection.execute(
                "SELECT DISTINCT c.relname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid"
                " WHERE 'srvc_member'::regrole = ANY (p.polroles)"
            )
        }
        people = connection.execute(
            "SELECT DISTINCT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"
            " AND confrelid IN ('users'::regclass, 'accounts'::regclass)"
        ).fetchall()
    everybodys = set(contents.shared)
    left_out = set(settings.ACCOUNT_ARCHIVE_LEAVES_OUT)
    assert seen - everybodys - left_out == set(contents.owned)
    assert {f"public.{table}" for (table,) in people} - left_out <= set(contents.owned)
    assert contents.shared == {
        "public.auth_group": ("name",),
        "public.subscription_plans": ("code",),
    }
    references = [
        (title, column.name)
        for title, owned in contents.owned.items()
        for column in owned.table.columns
        if column.name.endswith("_id") and column.type == "bigint"
    ]
    assert [place for place in references if place not in contents.meant] == []


def test_passwords_go_along_only_when_asked_for_and_only_then_open(
    fresh_database: str, tmp_path: Path, worker_id: str
) -> None:
    owner = make_business(email="ada@plumbing.example", password="a very long secret")
    without = export("ada@plumbing.example", tmp_path / "without.tar")
    with_them = export("ada@plumbing.example", tmp_path / "with.tar", passwords=True)
    hashed = User.objects.using("owner").get(pk=owner.pk).password
    assert hashed.encode() not in without.path.read_bytes()
    assert (without.path.stat().st_mode & 0o777, without.archive.passwords) == (0o600, False)
    assert rows_of(parts_of(with_them.path))["public.users"][0]["password"] == hashed
    with database.clone(f"{worker_id}_other") as name, database.pointed_at(name):
        take_in(without.path)
        take_in(with_them.path, as_login="second@plumbing.example")
        first, second = User.objects.using("owner").order_by("pk")
        assert not first.has_usable_password()
        assert second.check_password("a very long secret")


def test_a_second_import_is_refused_unless_the_owner_gets_another_address(
    fresh_database: str, tmp_path: Path
) -> None:
    owner = make_business(email="ada@plumbing.example")
    with acting_as_admin(via="test"):
        add_staff(
            account=account_of(owner), email="tina@plumbing.example", group="Technician",
            password=None, by=None,
        )  # fmt: skip
    archive = export("ada@plumbing.example", tmp_path / "ada.tar").path
    for address, told in [
        ("", "Somebody signs in with ada@plumbing.example, tina@plumbing.example here already;"),
        ("TINA@plumbing.example", "Somebody signs in with TINA@plumbing.example"),
        ("no address", "'no address' is no e-mail address. Nothing was imported."),
    ]:
        with pytest.raises(Exception, match=f"^{told}"):
            take_in(archive, as_login=address)
    assert take_in(archive, as_login="new@plumbing.example", dry_run=True).dry_run
    assert User.objects.using("owner").count() == 2
    imported = take_in(archive, as_login="new@plumbing.example")
    people = User.objects.using("owner").filter(account=imported.account).order_by("pk")
    tina = people[1]
    assert [(user.email, user.is_active) for user in people] == [
        ("new@plumbing.example", True),
        (f"tina+{tina.pk}@plumbing.example", False),
    ]
    assert imported.notes == (
        (
            "The addresses of staff are taken here, so they came as inactive users: "
            f"tina+{tina.pk}@plumbing.example."
        ),
    )


def test_uploaded_files_go_along_and_never_replace_others(
    fresh_database: str, tmp_path: Path, settings: Settings, worker_id: str
) -> None:
    def put(folder: str, **files: bytes) -> Path:
        settings.MEDIA_ROOT = str(tmp_path / folder)
        (tmp_path / folder).mkdir()
        for name, content in files.items():
            (tmp_path / folder / f"{name}.jpg").write_bytes(content)
        return tmp_path / folder

    settings.RECOVERY_FILE_COLUMNS = ["public.customers.notes"]
    put("here", a=b"a" * 100_000, b=b"b", c=b"c", other=b"not named")
    with acting_as(make_business(email="ada@plumbing.example")):
        for name in ("a.jpg", "b.jpg", "c.jpg", "gone.jpg", "../../etc/passwd"):
            make_customer(notes=name)
    exported = export("ada@plumbing.example", tmp_path / "ada.tar")
    assert [file.name for file in exported.archive.files] == ["a.jpg", "b.jpg", "c.jpg"]
    assert exported.archive.missing_files == ["../../etc/passwd", "gone.jpg"]
    with database.clone(f"{worker_id}_other") as name, database.pointed_at(name):
        there = put("there", b=b"somebody else's", c=b"c")
        take_in(exported.path, dry_run=True)
        assert sorted(file.name for file in there.iterdir()) == ["b.jpg", "c.jpg"]
        take_in(exported.path)
        found = {file.name: file.read_bytes() for file in there.iterdir()}
        renamed = next(name for name in found if name.startswith("b_"))
        assert found == {
            "a.jpg": b"a" * 100_000, "b.jpg": b"somebody else's", "c.jpg": b"c", renamed: b"b",
        }  # fmt: skip
        with database.connect(name) as connection:
            notes = [
                row[0] for row in connection.execute("SELECT notes FROM customers ORDER BY id")
            ]
    assert notes == ["a.jpg", renamed, "c.jpg", "gone.jpg", "../../etc/passwd"]


def test_payments_and_history_point_at_the_new_rows(fresh_database: str, tmp_path: Path) -> None:
    owner = make_business(email="ada@plumbing.example")
    with acting_as(owner, via="test"):
        customer = make_customer()
        Payment.objects.create(customer=customer, amount=5, received_on=A_DAY, currency="USD")
        customer.notes = "changed"
        customer.save()
    archive = export("ada@plumbing.example", tmp_path / "ada.tar").path
    imported = take_in(archive, as_login="new@plumbing.example")
    query: Any = """
        SELECT p.customer_id = c.id, h.pgh_obj_id = c.id, h.changed_by_id, h.changed_via
        FROM customers c JOIN payments p ON p.user_id = c.user_id
        JOIN customers_history h ON h.user_id = c.user_id
        WHERE c.user_id = %s ORDER BY h.pgh_id
    """
    with database.connect(fresh_database) as connection:
        found = connection.execute(query, [imported.account]).fetchall()
    assert found == [(True, True, imported.account, "test")] * 2
