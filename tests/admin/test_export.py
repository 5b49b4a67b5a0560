"""CSV for spreadsheets: complete, in the account's time, with nothing that runs."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from crm.admin.export import cell, neutralised
from crm.models import Customer, Job, User
from ops.rls.session import acting_as
from tests.admin.pages import address, sign_in
from tests.factories import make_customer


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=cmd()", "'=cmd()"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("=1+1", "'=1+1"),
        ("-12.50", "-12.50"),
        ("+49 30 1234", "+49 30 1234"),
        ("+1 (212) 555.0101", "+1 (212) 555.0101"),
        ("plain = text", "plain = text"),
        ("", ""),
    ],
)
def test_a_cell_that_would_run_gets_an_apostrophe(text: str, safe: str) -> None:
    assert neutralised(text) == safe


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (Decimal("-1234.50"), "-1234.50"),
        (dt.date(2026, 3, 2), "2026-03-02"),
        (dt.datetime(2026, 3, 2, 4, 30, tzinfo=dt.UTC), "2026-03-01 23:30"),
        (0, "0"),
    ],
)
def test_values_are_written_as_spreadsheets_read_them(value: Any, text: str) -> None:
    assert cell(value, ZoneInfo("America/New_York")) == text


def export(client: Client, model: Any, rows: list[Any]) -> Any:
    data = {"action": "export_csv", "_selected_action": [row.pk for row in rows]}
    return client.post(address(model, "changelist"), data)


def test_the_chosen_rows_are_streamed_with_a_mark_for_excel(client: Client, owner: User) -> None:
    with acting_as(owner):
        rows = [
            make_customer(company_name="=HYPERLINK(1)", notes='Says "hi",\nthen leaves'),
            make_customer(company_name="Müller & Söhne"),
        ]
        make_customer(company_name="Not chosen")
    response = export(client, Customer, rows)
    assert response.streaming
    assert response["Content-Disposition"].startswith('attachment; filename="customers-')
    content = b"".join(response.streaming_content).decode()
    assert content.startswith("\ufeffName,First name,")
    table = list(csv.DictReader(io.StringIO(content.removeprefix("\ufeff"))))
    assert [row["Name"] for row in table] == ["Müller & Söhne", "'=HYPERLINK(1)"]
    assert table[1]["Notes"] == 'Says "hi",\nthen leaves'


def test_a_technician_takes_no_list_away(technician: User, owner: User) -> None:
    with acting_as(owner):
        job = Job.objects.create(customer=make_customer(), title="Dig")
    response = export(sign_in(technician), Job, [job])
    assert not response.streaming
    page = sign_in(technician).get(address(Job, "changelist"))
    assert "Export as CSV" not in page.content.decode()
