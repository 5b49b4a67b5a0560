"""The admin's pages of an import, as an owner, as office and as nobody who may."""

from __future__ import annotations

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from crm.models import OFFICE_GROUP, TECHNICIAN_GROUP, Customer, ImportRun, User
from crm.services.accounts import add_staff
from ops.rls.session import acting_as, acting_as_admin
from tests.crm.imports.bring import FILES
from tests.factories import account_of, make_business

pytestmark = pytest.mark.django_db
ADD = "/admin/crm/importrun/add/"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def upload(client: Client, content: bytes, kind: str = "customers") -> str:
    """Where the upload leads to."""
    answer = client.post(ADD, {"kind": kind, "uploads": [SimpleUploadedFile("a.csv", content)]})
    assert answer.status_code == 302
    return str(answer["Location"])


def text_of(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_an_upload_shows_what_its_rows_would_become_and_imports_nothing() -> None:
    owner = make_business()
    client = signed_in(owner)
    preview = upload(client, (FILES / "repeated_customers.csv").read_bytes())
    text = text_of(client, preview)
    assert "2 new" in text
    assert "3 there already" in text
    assert "0 problems" in text
    assert "line 4: same phone as line 2" in text
    assert "+12015550123" in text
    assert "Import 2 new rows" in text
    with acting_as(owner):
        assert not Customer.objects.exists()
        assert ImportRun.objects.get().status == "preview"


def test_problems_are_shown_by_line_and_there_is_no_button_to_start() -> None:
    client = signed_in(make_business())
    preview = upload(client, (FILES / "bad_customers.csv").read_bytes())
    answer = client.get(preview).content.decode()
    assert "7</strong> problems" in answer
    assert "begins like a spreadsheet" in answer
    assert 'name="start"' not in answer
    client.post(preview, {"start": "1"})
    assert client.get(preview).status_code == 200


@pytest.mark.parametrize("content", [b"", b"\x89PNG" + bytes(99), b"a,a\n1,2\n", b"x\n\0\n"])
def test_a_file_that_is_no_table_is_a_problem_on_the_page(content: bytes) -> None:
    client = signed_in(make_business())
    answer = client.get(upload(client, content))
    assert answer.status_code == 200
    assert "Nothing can be imported as it is" in answer.content.decode()


def test_a_columns_meaning_is_changed_on_the_page() -> None:
    owner = make_business()
    client = signed_in(owner)
    preview = upload(client, b"Nick,Fax\nAda,Lovelace\n")
    assert "No column holds the customer&#x27;s name" in client.get(preview).content.decode()
    answer = client.post(
        preview, {"look": "1", "column-0-0": "first_name", "column-0-1": "last_name"}
    )
    assert "Import 1 new row" in answer.content.decode()
    with acting_as(owner):
        assert ImportRun.objects.get().mapping == {"Nick": "first_name", "Fax": "last_name"}
    # Sent again as it stands, the choice stays; sent as "left out", it goes.
    client.post(preview, {"look": "1", "column-0-0": "first_name", "column-0-1": "-"})
    with acting_as(owner):
        assert ImportRun.objects.get().mapping == {"Nick": "first_name", "Fax": "-"}


def test_starting_queues_it_once_and_the_page_tells_how_far_it_is() -> None:
    owner = make_business()
    client = signed_in(owner)
    preview = upload(client, b"Name\nAda\n")
    progress = client.post(preview, {"start": "1"})["Location"]
    assert client.post(preview, {"start": "1"})["Location"] == progress
    assert "Waiting for the worker" in text_of(client, progress)
    status = client.get(progress.replace("progress", "status"))
    assert status.json() == {
        "status": "queued",
        "label": "Queued",
        "message": "",
        "done": 0,
        "total": 2,
        "at_work": True,
    }
    cancelled = client.post(progress.replace("progress", "cancel"))["Location"]
    assert "Cancelled. Nothing was imported." in text_of(client, cancelled)


def test_the_page_brings_its_script_from_a_file() -> None:
    owner = make_business()
    client = signed_in(owner)
    preview = upload(client, b"Name\nAda\n")
    progress = client.post(preview, {"start": "1"})["Location"]
    page = client.get(progress).content.decode()
    own = page[page.index('id="import-progress"') :]
    assert "crm/import.js" in page
    assert not re.search(r"<script>|\son\w+=", own)


def test_two_files_of_invoices_are_previewed_together() -> None:
    owner = make_business()
    with acting_as(owner):
        Customer.objects.create(first_name="Ada", external_id="C1")
    client = signed_in(owner)
    files = [
        SimpleUploadedFile("orders.csv", b"orderID,customerID,orderDate\n7,C1,2026-01-15\n"),
        SimpleUploadedFile("orders.csv", b"orderID,unitPrice,quantity\n7,2,3\n"),
    ]
    location = client.post(ADD, {"kind": "invoices", "uploads": files})["Location"]
    text = text_of(client, location)
    assert "1 new" in text
    assert "2-orders.csv" in text


def test_a_stranger_gets_what_an_id_that_never_existed_gets() -> None:
    owner, stranger = make_business(), make_business()
    preview = upload(signed_in(owner), b"Name\nAda\n")
    client = signed_in(stranger)
    for page in ("preview", "progress", "status"):
        theirs = client.get(preview.replace("preview", page))
        nobodys = client.get(reverse(f"admin:crm_importrun_{page}", args=[10**9]))
        assert (theirs.status_code, nobodys.status_code) == (404, 404)
        assert theirs.content == nobodys.content
    assert client.post(preview.replace("preview", "cancel")).status_code == 404


@pytest.mark.parametrize(("group", "allowed"), [(OFFICE_GROUP, True), (TECHNICIAN_GROUP, False)])
def test_the_groups_permissions_decide(group: str, allowed: bool) -> None:
    owner = make_business()
    with acting_as_admin():
        user = add_staff(
            account=account_of(owner),
            email="s@business.example",
            group=group,
            password=None,
            by=owner,
        )
    assert signed_in(user).get(ADD).status_code == (200 if allowed else 403)
    preview = upload(signed_in(owner), b"Name\nAda\n")
    assert signed_in(user).get(preview).status_code == (200 if allowed else 403)


def test_a_platform_administrator_names_the_account() -> None:
    owner = make_business()
    with acting_as_admin():
        admin = User.objects.create_superuser("root@srvc.example", "a long pass phrase")
    client = signed_in(admin)
    page = client.get(ADD)
    if page.status_code == 302:
        pytest.skip("platform administrators sign in with a second factor")
    assert 'name="account"' in page.content.decode()
    files = [SimpleUploadedFile("a.csv", b"Name\nAda\n")]
    location = client.post(ADD, {"kind": "customers", "uploads": files, "account": owner.pk})[
        "Location"
    ]
    with acting_as(owner):
        assert ImportRun.objects.get().account_id == owner.pk
    assert "1 new" in text_of(client, location)


def test_the_list_and_the_number_of_a_run_lead_to_its_page() -> None:
    owner = make_business()
    client = signed_in(owner)
    preview = upload(client, b"Name\nAda\n")
    assert "Customers from a.csv" in text_of(client, "/admin/crm/importrun/")
    number = preview.split("/")[-3]
    assert client.get(f"/admin/crm/importrun/{number}/change/")["Location"] == preview
