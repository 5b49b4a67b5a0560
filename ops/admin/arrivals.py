"""An archive arrives by the browser: written to the disk as it comes, no larger than is allowed.

It is received before the request's transaction begins (ops/rls/middleware.py). For the minutes that
takes, the transaction would be idle, which the server ends, and would keep a restore from closing
writes.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest, UnreadablePostError

from ops.background import may
from ops.models import RunKind
from ops.restores.accounts import kept
from ops.restores.errors import RefusedError

_ALONGSIDE = 100_000  # bytes of a request besides its file


class ArchiveUpload(FileUploadHandler):
    """Writes one file into the folder of uploads; what is refused is not written, and told why."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        self.refusal = ""
        self.file: Any = None  # Django closes, so removes, what is half there
        if int(request.headers.get("Content-Length") or 0) > _largest() + _ALONGSIDE:
            self.refusal = _too_large()

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin. A request with more than one file gets the first."""
        super().new_file(*args, **kwargs)
        if self.refusal or self.file is not None:
            self.refusal = self.refusal or "Choose one file. Nothing was kept."
            return
        try:
            temporary = tempfile.NamedTemporaryFile(  # noqa: SIM115 (lives as long as the request)
                dir=kept.arrivals(), suffix=kept.ARRIVING
            )
        except RefusedError as error:
            self.refusal = str(error)
            return
        except OSError as error:
            self.refusal = _not_written(error)
            return
        self.file = UploadedFile(temporary, self.file_name, self.content_type, 0)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write a piece. What comes after a refusal is read and thrown away, to be answered."""
        if self.refusal:
            return
        if start + len(raw_data) > _largest():
            self._refuse(_too_large())
            return
        try:
            self.file.write(raw_data)
        except OSError as error:
            self._refuse(_not_written(error))

    def file_complete(self, file_size: int) -> Any:
        """Return it, whole and on its way to the disk."""
        if self.refusal or self.file is None:
            return None
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            self._refuse(_not_written(error))
            return None
        self.file.seek(0)
        self.file.size = file_size
        return self.file

    def upload_interrupted(self) -> None:
        """Leave nothing behind."""
        if self.file is not None:
            self.file.close()

    def _refuse(self, sentence: str) -> None:
        self.refusal = sentence
        self.upload_interrupted()


def receive(request: HttpRequest) -> None:
    """Receive the file of a request, of whoever may send one."""
    if request.method != "POST" or not may(request.user, RunKind.IMPORT):
        return
    handler = ArchiveUpload(request)
    request.upload_handlers = [handler]
    try:
        request.POST  # noqa: B018 (is read by looking)
    except UnreadablePostError:
        # Who sent it is gone. The page finds an empty request.
        handler.upload_interrupted()
    except BaseException:
        handler.upload_interrupted()
        raise


def refusal_of(request: HttpRequest) -> str:
    """Why a request's file was not kept; "" when nothing was wrong with it."""
    return next(
        (each.refusal for each in request.upload_handlers if isinstance(each, ArchiveUpload)), ""
    )


def allowed() -> str:
    """How large a file may be, in the setting's unit."""
    return f"{_largest() / 1_000_000:,.10g} MB"


def _largest() -> int:
    return int(settings.ACCOUNT_ARCHIVE_MAX_BYTES)


def _too_large() -> str:
    return (
        f"The file has more than {allowed()} (ACCOUNT_ARCHIVE_MAX_MEGABYTES). Nothing of it was "
        "kept. Import it on the server with `manage.py importaccount`, or allow more."
    )


def _not_written(error: OSError) -> str:
    return (
        f"The file could not be written: {error.strerror}. Nothing of it was kept. Make room in "
        "SRVC_VAR, and upload it again."
    )
