"""Imports from the admin: the uploaded files, and what people decide about them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import connection, transaction
from django.utils import timezone

from crm.errors import CrmError
from crm.imports.files import Options
from crm.imports.reading import Source
from crm.models import Account, ImportKind, ImportRun, ImportStatus, User

# An unfinished preview is somebody's whole customer list, kept in a row: not more than needed.
MAX_FILES = 10
_UNFINISHED = (ImportStatus.PREVIEW, ImportStatus.QUEUED, ImportStatus.RUNNING)


@transaction.atomic
def save_upload(
    *, account: Account, kind: str, files: Sequence[UploadedFile[Any]], by: User
) -> ImportRun:
    """Keep uploaded files for a preview. Raises CrmError for too many or too large ones."""
    if len(files) > MAX_FILES:
        raise CrmError(f"Choose at most {MAX_FILES} files. Nothing was uploaded.")
    limit = settings.IMPORT_MAX_BYTES
    if sum(file.size or 0 for file in files) > limit:
        raise CrmError(
            f"The files have more than {limit / 1e6:,.0f} MB together. Nothing was uploaded; "
            "split them, or import them with `manage.py importcsv`."
        )
    names = _distinct([PurePath(file.name or "file.csv").name[-100:] for file in files])
    packed = io.BytesIO()
    lines = 0
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in zip(names, files, strict=True):
            with archive.open(name, "w") as member:
                for chunk in file.chunks():
                    lines += chunk.count(b"\n")
                    member.write(chunk)
    return ImportRun.objects.create(
        account=account,
        kind=kind,
        started_by=by,
        file_name=", ".join(names)[:200],
        files=names,
        content=packed.getvalue(),
        rows_total=lines,
    )


def _distinct(names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        found.append(f"{len(found) + 1}-{name}" if name in found else name)
    return found


def sources_of(run: ImportRun) -> list[Source]:
    """The uploaded files, as the import reads them. Raises CrmError once they are gone."""
    if not run.content:
        raise CrmError("The uploaded file is gone: the import has ended. Upload it again.")
    with zipfile.ZipFile(io.BytesIO(bytes(run.content))) as archive:
        return [Source.from_bytes(name, archive.read(name)) for name in run.files]


def options_of(run: ImportRun) -> Options:
    """How the files are to be read, as decided on the preview page."""
    return Options(mapping=run.mapping)


@transaction.atomic
def save_mapping(*, run: ImportRun, mapping: Mapping[str, str], by: User) -> None:
    """Keep which column is which field. Raises CrmError once the import was started."""
    saved = ImportRun.objects.filter(pk=run.pk, status=ImportStatus.PREVIEW).update(
        mapping=dict(mapping)
    )
    if not saved:
        raise CrmError("The import was started already. Its columns can't be changed any more.")
    run.mapping = dict(mapping)


@transaction.atomic
def queue_import(*, run: ImportRun, by: User) -> None:
    """Hand the import to the worker, which does it as `by`. Raises CrmError if started before."""
    from crm.imports.background import import_uploaded
    from ops.tasks import enqueue_as

    queued = ImportRun.objects.filter(pk=run.pk, status=ImportStatus.PREVIEW).update(
        status=ImportStatus.QUEUED, rows_done=0
    )
    if not queued:
        raise CrmError("The import was started already. Nothing was changed.")
    enqueue_as(by, import_uploaded, run_id=run.pk)


@transaction.atomic
def cancel_import(*, run: ImportRun, by: User) -> None:
    """Stop an import. One under way ends at its next step, with nothing imported.

    Raises CrmError for one that has ended.
    """
    cancelled = ImportRun.objects.filter(pk=run.pk, status__in=_UNFINISHED).update(
        status=ImportStatus.CANCELLED,
        message="Cancelled. Nothing was imported.",
        content=b"",
        finished_at=timezone.now(),
    )
    if not cancelled:
        raise CrmError("The import has ended already. Nothing was changed.")


def take_run_lock(run_id: int, *, wait: bool) -> bool:
    """Hold, until the transaction ends, what only the process that works on a run holds.

    PostgreSQL lets go of it when that process dies, so who gets it knows nobody is at work.
    """
    function = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {function}(hashtextextended('crm.imports.run ' || %s, 0))", [run_id]
        )
        (taken,) = cursor.fetchone()
    return wait or bool(taken)


@transaction.atomic
def look_after(*, run: ImportRun) -> None:
    """Say so when the worker died in the middle of a run; its rows died with it."""
    if run.status != ImportStatus.RUNNING or not take_run_lock(run.pk, wait=False):
        return
    ImportRun.objects.filter(pk=run.pk, status=ImportStatus.RUNNING).update(
        status=ImportStatus.REFUSED,
        message="The worker stopped in the middle. Nothing was imported; upload the file again.",
        content=b"",
        finished_at=timezone.now(),
    )
    run.refresh_from_db(fields=["status", "message", "finished_at"])


def may_import(user: User, kind: str) -> bool:
    """Whether a user may add the rows that an import of this kind makes."""
    rights = {
        ImportKind.CUSTOMERS: ("crm.add_customer",),
        ImportKind.PRODUCTS: ("crm.add_product",),
        ImportKind.JOBS: ("crm.add_job", "crm.add_servicesite"),
        ImportKind.INVOICES: ("crm.add_invoice", "crm.add_payment"),
    }
    return user.has_perms(("crm.add_importrun", *rights[ImportKind(kind)]))
