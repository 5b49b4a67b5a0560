"""Where django-dbbackup's commands meet ours: its connector, and what follows its backups.

They run outside of our commands, so the owner's login is taken here. Their edge shows StorageError
without a traceback, so that is what our refusals become.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import IO, Any

from dbbackup import settings as dbbackup_settings
from dbbackup.db.postgresql import PgDumpBinaryConnector
from dbbackup.signals import post_backup, post_media_backup, pre_media_restore, pre_restore
from dbbackup.storage import StorageError
from django.core.management.base import CommandError

from ops.backups import dbbackup
from ops.backups.dbrestore import Source, restore
from ops.backups.errors import BackupError
from ops.backups.manifest import Manifest
from ops.errors import OpsError
from ops.postgres.endpoint import Endpoint
from ops.rls.router import as_owner_by_default
from ops.runs import OWNER


class Connector(PgDumpBinaryConnector):  # type: ignore[misc]
    """PostgreSQL as SRVC talks to it: the right major version, lock limits, no shell, a proof."""

    extension = "dump"

    def __init__(self, database_name: str | None = None, **options: Any) -> None:
        super().__init__(database_name, **options)
        self.manifest: Manifest | None = None

    def _create_dump(self) -> IO[bytes]:
        with _told():
            if self.database_name != OWNER:
                raise BackupError(
                    f"The login of {self.database_name!r} does not see every row. Nothing was "
                    f"taken. Use dbbackup -d {OWNER}."
                )
            if self.exclude or self.schemas:
                raise BackupError(
                    "A part of the database would be listed as if it were the whole. Nothing was "
                    "taken. Use manage.py backup --table."
                )
            spool = tempfile.SpooledTemporaryFile(  # noqa: SIM115 (django-dbbackup reads it)
                max_size=dbbackup_settings.TMP_FILE_MAX_SIZE, dir=dbbackup_settings.TMP_DIR
            )
            try:
                self.manifest = dbbackup.dump(spool)
                spool.seek(0)
            except BaseException:
                spool.close()
                raise
        return spool

    def _restore_dump(self, dump: Any) -> None:
        arguments = ["--clean", "--if-exists"] if self.drop else []
        arguments += [f"--schema={schema}" for schema in self.schemas or ()]
        if self.pg_options:
            given = self.pg_options
            arguments += shlex.split(given) if isinstance(given, str) else list(given)
        # Nobody else closes it.
        with dump, _told():
            restore(_source(dump), Endpoint.of(self.database_name), arguments=arguments)


_restored: list[str] = []  # the object that this process's dbrestore was asked for


def connect() -> None:
    """Listen to django-dbbackup's commands."""
    post_backup.connect(_after_backup, dispatch_uid="srvc.backup")
    post_media_backup.connect(_after_media, dispatch_uid="srvc.media")
    pre_restore.connect(_before_restore, dispatch_uid="srvc.restore")
    pre_media_restore.connect(_before_media_restore, dispatch_uid="srvc.mediarestore")


def _after_backup(connector: Any, filename: str, **kwargs: Any) -> None:
    if isinstance(connector, Connector) and connector.manifest is not None:
        with _told():
            dbbackup.adopt_dump(filename, connector.manifest)


def _after_media(filename: str, **kwargs: Any) -> None:
    with _told():
        dbbackup.adopt_media(filename)


def _before_restore(filename: str, **kwargs: Any) -> None:
    # What the connector gets is often a temporary file without a name.
    _restored[:] = [filename]


def _before_media_restore(filename: str, **kwargs: Any) -> None:
    # It opens neither our encryption nor our compression, and proves nothing before it overwrites.
    with _told():
        name = dbbackup.backup_of(filename)
    if name is not None:
        raise CommandError(
            f"{name} has a manifest that tells of each of its files, which mediarestore does not "
            "look at. No uploaded file was changed. Use: manage.py restore --media "
            f"{name} --dry-run"
        )


def _source(dump: Any) -> Source:
    """Return the file that dbrestore hands over, to be read from its start as often as needed."""

    def again() -> IO[bytes]:
        dump.seek(0)
        kept: Any = _KeptOpen(dump)
        return kept  # type: ignore[no-any-return]

    name = _restored[0] if _restored else str(getattr(dump, "name", ""))
    return Source(PurePath(name).name, again)


class _KeptOpen:
    """A file that stays open for the next reading."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        return bytes(self._file.read(size))

    def __enter__(self) -> _KeptOpen:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave it open."""


@contextmanager
def _told() -> Iterator[None]:
    with as_owner_by_default():
        try:
            yield
        except OpsError as error:
            raise StorageError(str(error)) from None
