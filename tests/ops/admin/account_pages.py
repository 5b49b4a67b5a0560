"""How tests use the pages that export and import accounts."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from crm.services.documents import issue_invoice
from ops.models import Run
from ops.rls.router import as_owner_by_default
from ops.rls.session import acting_as
from tests.factories import A_DAY, make_business, make_customer, make_invoice
from tests.ops.admin.rows import (
    Browser,
    by_default_login,
    work,
)
from tests.ops.admin.test_pages import words
from tests.ops.backups.conftest import Backups
from tests.ops.restores.accounts import contents, export

ADA, NEW = "ada@plumbing.example", "new@plumbing.example"
EXPORT, UPLOAD = "/admin/ops/restore/export-account/", "/admin/ops/restore/accounts/import/"
DAMAGED = "The archive is damaged, or was edited: "


@pytest.fixture
def account(backups: Backups) -> str:
    """Return the e-mail address of an account with a customer and an issued invoice."""
    with by_default_login():
        owner = make_business("Ada's Plumbing", email=ADA)
        with acting_as(owner, via="test"):
            customer = make_customer(company_name="Größe & Söhne")
            issue_invoice(invoice=make_invoice(customer, "10", issue_date=A_DAY), by=owner)
    return ADA


@pytest.fixture
def archive(account: str, tmp_path: Path) -> Path:
    return export(account, tmp_path / "ada.tar").path


def files(backups: Backups) -> list[Path]:
    """Everything that pages have kept of accounts, unfinished files included."""
    return [path for path in (backups.var / "accounts").rglob("*") if path.is_file()]


def there(backups: Backups) -> dict[str, Any]:
    """The businesses' data; signing in and working alone change other tables."""
    with backups.connect() as server:
        found = contents(server)
    ours = ("accounts", "customers", "invoices", "users_groups", "document_counters")
    return {name: value for name, value in found.items() if name.startswith(ours)}


def runs(kind: str) -> list[Run]:
    with as_owner_by_default():
        return list(Run.objects.filter(kind=kind).order_by("pk"))


def exported(browser: Browser, account: str) -> Run:
    """Ask for an export by the page, and let the worker do it."""
    answer = browser.post(EXPORT, {"account": account, "encrypted": "on"})
    assert answer.status_code == 302, words(answer)
    work()
    run = runs("export")[-1]
    assert run.status == "done", run.message
    return run


def upload(browser: Browser, content: bytes, **more: str) -> Any:
    sent = SimpleUploadedFile("ada.tar", content, "application/x-tar")
    return browser.post(UPLOAD, {"archive": sent, **more})


def looked_at(browser: Browser, content: bytes, **more: str) -> Run:
    """Upload an archive, and let the worker look at it."""
    answer = upload(browser, content, **more)
    assert answer.status_code == 302, words(answer)
    work()
    run = runs("import")[-1]
    assert answer["Location"] == page_of(run)
    return run


def page_of(run: Run) -> str:
    return reverse("admin:ops_run_change", args=[run.pk])


def button(run: Run, name: str) -> str:
    return reverse(f"admin:ops_run_{name}", args=[run.pk])


def offered(browser: Browser, run: Run) -> list[str]:
    return [each["title"] for each in browser.get(page_of(run)).context["actions_detail"]]


def errors(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return {name: list(map(str, found)) for name, found in answer.context["form"].errors.items()}


def age(path: Path, **past: float) -> None:
    moment = (timezone.now() - timedelta(**past)).timestamp()
    os.utime(path, (moment, moment))
