"""The page of a run that exported or imported an account: what is in it, and what to do next."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import models
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from ops.admin.account_archives import EXPORT, IMPORT
from ops.admin.account_forms import AddressForm, ConfirmImportForm, DiscardForm, DownloadForm
from ops.admin.asking import ask_once
from ops.admin.base import OpsModelAdmin, asker
from ops.admin.buttons import button
from ops.admin.downloads import send_file
from ops.admin.typed import GRAVE
from ops.admin.words import exactly, size
from ops.liveness import living
from ops.models import Run, RunKind, RunStatus
from ops.restores.accounts import kept
from ops.restores.accounts.importing import ask_for_import
from ops.restores.errors import RefusedError
from ops.runs import record

_GONE = (
    "The archive is not here any more: it was used, discarded, or its time was up. Nothing was "
    "changed. Export it, or upload it, again."
)


def _archive(run: Run) -> Any:
    return kept.archive_of(run, timezone.now())


def _can_be_downloaded(run: Run) -> bool:
    return run.kind == RunKind.EXPORT and _archive(run) is not None


def _is_looked_at(run: Run) -> bool:
    """Whether it was a look at an upload that is still here."""
    was_look = run.kind == RunKind.IMPORT and bool(run.arguments.get("dry_run"))
    return was_look and run.has_ended and _archive(run) is not None


def _can_be_imported(run: Run) -> bool:
    return _is_looked_at(run) and run.status == RunStatus.DONE


class AccountRunButtons(OpsModelAdmin):
    """Download what was exported; import what was looked at."""

    @button(
        title="Download",
        icon="download",
        question="Download this account's archive?",
        form=DownloadForm,
        shown=_can_be_downloaded,
        permission=EXPORT,
        downloads=True,
    )
    def download_archive(
        self, request: HttpRequest, row: Run, data: dict[str, Any]
    ) -> HttpResponseBase:
        """Send the archive, and record who got it."""
        path = _required(row)
        day = timezone.localtime(row.finished_at or row.asked_at)
        name = f"{row.result.get('email', row.subject)}-{day:%Y-%m-%d}{''.join(path.suffixes)}"
        try:
            response = send_file(path, name)
        except OSError:
            raise RefusedError(_GONE) from None
        record(
            RunKind.DOWNLOAD,
            f"account {row.subject}",
            by=asker(request),
            message=f"{name} ({size(int(response['Content-Length']))}) was sent.",
        )
        return response

    @button(
        title="Import…",
        icon="unarchive",
        question="Import this account?",
        submit="Import",
        form=ConfirmImportForm,
        shown=_can_be_imported,
        permission=IMPORT,
        variant=GRAVE,
    )
    def import_account(
        self, request: HttpRequest, row: Run, data: dict[str, Any]
    ) -> HttpResponseBase:
        """Take in for good what was looked at."""
        as_login = row.arguments["as_login"]
        name = f"{row.subject} as {as_login}" if as_login else row.subject
        return self._asked(request, row, as_login, name, dry_run=False)

    @button(
        title="Another address…",
        icon="alternate_email",
        question="Look at it with another e-mail address?",
        submit="Look again",
        form=AddressForm,
        shown=_is_looked_at,
        permission=IMPORT,
    )
    def look_again(self, request: HttpRequest, row: Run, data: dict[str, Any]) -> HttpResponseBase:
        """Try the same archive under another address."""
        return self._asked(request, row, data["as_login"], row.subject, dry_run=True)

    @button(
        title="Discard",
        icon="delete",
        question="Discard the uploaded archive?",
        form=DiscardForm,
        shown=_is_looked_at,
        permission=IMPORT,
    )
    def discard_upload(self, request: HttpRequest, row: Run, data: dict[str, Any]) -> str:
        """Remove the upload before its time."""
        path = _required(row)
        waiting = living(Run.objects.filter(kind=RunKind.IMPORT, arguments__path=str(path)))
        if waiting.exists():
            raise RefusedError(
                "An import of this archive waits or is at work. Nothing was removed. Cancel it "
                "first."
            )
        kept.drop(path)
        said = "The uploaded archive was discarded."
        record(RunKind.IMPORT, row.subject, by=asker(request), message=said)
        return said

    def _asked(
        self, request: HttpRequest, row: Run, as_login: str, name: str, *, dry_run: bool
    ) -> HttpResponseBase:
        path = _required(row)
        return ask_once(
            request,
            RunKind.IMPORT,
            {"path": str(path), "as_login": as_login, "dry_run": dry_run},
            lambda: ask_for_import(
                path,
                by=asker(request),
                as_login=as_login,
                dry_run=dry_run,
                name=name,
                preview=None if dry_run else row.pk,
            ),
        )


def _required(run: models.Model) -> Any:
    assert isinstance(run, Run)
    path = _archive(run)
    if path is None:
        raise RefusedError(_GONE)
    return path


def account_context(run: Run, now: dt.datetime) -> dict[str, Any]:
    """What the page of a run shows of the account it exported or imported."""
    result = run.result
    rows: dict[str, int] = result.get("rows", {})
    filled = {table.removeprefix("public."): number for table, number in rows.items() if number}
    until = kept.expiry(run.arguments.get("path", "")) if kept.archive_of(run, now) else None
    return {
        "account_run": True,
        "account_title": _title(run),
        "account_facts": _facts(run, until),
        "account_rows": sorted(filled.items()),
        "account_total": sum(filled.values()),
        "account_empty": len(rows) - len(filled),
        "account_notes": result.get("notes", []),
        "account_hint": _hint(run, until),
        "account_missing": result.get("missing_files", []),
        "account_preview": run.arguments.get("preview"),
    }


def _title(run: Run) -> str:
    if run.kind == RunKind.EXPORT:
        return "What is in the archive"
    if not run.result:
        return "The uploaded archive"
    return "What would come in" if run.arguments.get("dry_run") else "What came in"


def _hint(run: Run, until: dt.datetime | None) -> str:
    if until is None or run.status != RunStatus.FAILED or not _is_looked_at(run):
        return ""
    return (
        "What stands in the way may be another one's address, or something that is missing here: "
        "“Another address…” looks at the same file once more, without uploading it again."
    )


def _facts(run: Run, until: dt.datetime | None) -> list[tuple[str, str]]:
    result, made_at = run.result, parse_datetime(run.result.get("made_at", ""))
    facts = [
        ("Owner signs in with", result.get("email", "")),
        ("In the archive", _unless_same(result.get("from_email", ""), result.get("email", ""))),
        ("Exported from", result.get("from_environment", "")),
        ("Exported", "" if made_at is None else exactly(made_at)),
        ("Uploaded files", f"{result['files']:,}" if result.get("files") else ""),
        ("Size", size(result["bytes"]) if "bytes" in result else ""),
        ("Encrypted", _yes_or_no(result.get("encrypted"))),
        ("Hashes of passwords", _passwords(result)),
        (_kept_as(run), "" if until is None else f"{exactly(until)}"),
    ]
    return [(name, value) for name, value in facts if value]


def _kept_as(run: Run) -> str:
    return "Can be downloaded until" if run.kind == RunKind.EXPORT else "Upload is kept until"


def _unless_same(text: str, other: str) -> str:
    return "" if text.casefold() == other.casefold() else text


def _yes_or_no(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _passwords(result: dict[str, Any]) -> str:
    if "passwords" not in result:
        return ""
    return "in it" if result["passwords"] else "not in it: people set new ones by e-mail"
