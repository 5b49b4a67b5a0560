"""Objects as they lie in the storage, streamed to the browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from django.http import HttpResponse, StreamingHttpResponse

from ops.backups.manifest import LONGEST, manifest_name
from ops.backups.vault import Vault
from ops.models import Backup

_CHUNK = 1 << 20


class FileStream(StreamingHttpResponse):
    """A long answer that asks the database nothing: it keeps no connection for its hours."""

    needs_database = False


def send_object(vault: Vault, name: str) -> FileStream:
    """Answer with a stored object, byte for byte. Raises StorageError before the first of them."""
    length = vault.size(name)
    file = vault.open(name)
    response = FileStream(_chunks(file), content_type="application/octet-stream")
    response["Content-Length"] = str(length)
    _attach(response, name)
    return response


def send_file(path: Path, name: str) -> FileStream:
    """Answer with a file of ours, under a name. Raises OSError before the first byte."""
    file = path.open("rb")  # from now on it may be removed: what is open is sent to its end
    response = FileStream(_chunks(file), content_type="application/octet-stream")
    response["Content-Length"] = str(os.fstat(file.fileno()).st_size)
    _attach(response, name)
    return response


def send_manifest(backup: Backup) -> HttpResponse:
    """Answer with a backup's signed manifest as stored. Raises StorageError."""
    name = manifest_name(backup.name)
    content = Vault.of(backup.storage).read(name, LONGEST)
    response = HttpResponse(content, content_type="application/json")
    _attach(response, name)
    return response


def _attach(response: HttpResponse | StreamingHttpResponse, name: str) -> None:
    # Names of backups are made of letters, digits, points and dashes (ops/backups/naming.py); one
    # of another program's is not let out of its quotes.
    shown = "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else "_"
        for letter in name.rsplit("/", 1)[-1]
    )
    response["Content-Disposition"] = f'attachment; filename="{shown}"'
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "no-store"


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while data := file.read(_CHUNK):
            yield data
