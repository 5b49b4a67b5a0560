"""Uploaded files of an archive take their places beside those that are there."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.core.files.base import File
from django.core.files.storage import Storage, storages
from psycopg import sql

from ops.restores.accounts.archive import StoredFile
from ops.restores.accounts.reading import OpenArchive
from ops.restores.accounts.staging import Stage
from ops.restores.partial.media_files import file_columns
from ops.restores.subjects import links

_CHUNK = 1 << 20
_IN_MEMORY = 8 << 20  # bytes; larger ones pass through the disk


@contextmanager
def bring_files(stage: Stage, archive: OpenArchive, *, keep: bool) -> Iterator[int]:
    """Store the archive's files before the block, and yield how many; after a failure they go.

    A name that another file has here is changed, in the staged rows too. Without `keep` they are
    only counted.
    """
    storage, stored = storages["default"], []
    try:
        for each in archive.says.files if keep else ():
            if _has(storage, each):
                continue
            with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
                for piece in archive.content(each):
                    file.write(piece)
                file.seek(0)
                name = storage.save(each.name, File(file, name=each.name))
            stored.append(name)
            if name != each.name:
                _rename(stage, each.name, name)
        yield len(archive.says.files)
    except BaseException:
        for name in stored:
            with suppress(OSError):
                storage.delete(name)
        raise


def _has(storage: Storage, stored: StoredFile) -> bool:
    """Whether the very same file is there under its name already."""
    if not storage.exists(stored.name) or storage.size(stored.name) != stored.bytes:
        return False
    digest = hashlib.sha256()
    with storage.open(stored.name, "rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest() == stored.sha256


def _rename(stage: Stage, old: str, new: str) -> None:
    """Let rows name the file as it is called here, and their histories, which tell of that row."""
    tracked = {link.table: link.to_table for link in links() if link.is_history}
    for title, staged in stage.tables.items():
        for column in file_columns(tracked.get(title, title)):
            if column in staged.columns:
                stage.connection.execute(
                    sql.SQL("UPDATE {0} SET {1} = %s WHERE {1} = %s").format(
                        staged.name, sql.Identifier(column)
                    ),
                    [new, old],
                )
