"""Writing an account's archive, all of it of one moment, bounded in memory.

Every table is read twice in one snapshot: for its size and hash, which the manifest tells first,
and for its rows. So nothing in clear is ever on the disk of an archive that is encrypted.
"""

from __future__ import annotations

import fcntl
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyrage
from django.conf import settings

from ops.backups import keys
from ops.backups.pinned import pin
from ops.models import Run, RunKind
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.files import sync_folder
from ops.progress import Counter, Progress, Several
from ops.restores.accounts import kept
from ops.restores.accounts.archive import Archive
from ops.restores.accounts.contents import contents_of
from ops.restores.accounts.source import Source
from ops.restores.errors import RefusedError
from ops.restores.subjects import subject
from ops.runs import OWNER, Asker, ask, running

_CHUNK = 1 << 20
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    archive: Archive
    encrypted: bool

    def as_json(self) -> dict[str, Any]:
        """What its run keeps of it."""
        return {
            "email": self.archive.account["email"],
            "rows": {each.name: each.rows for each in self.archive.tables},
            "files": len(self.archive.files),
            "missing_files": list(self.archive.missing_files),
            "encrypted": self.encrypted,
            "passwords": self.archive.passwords,
            "bytes": self.path.stat().st_size,
        }


def ask_for_export(account: str, path: Path, *, by: Asker, passwords: bool = False) -> Run:
    """Record that somebody wants an account's archive. Nothing is written yet."""
    return ask(
        RunKind.EXPORT,
        account,
        by=by,
        arguments={"account": account, "path": str(path.absolute()), "passwords": passwords},
    )


def export_account(run: Run, progress: Progress | None = None) -> Exported:
    """Write the archive a run asks for. Raises OpsError; no file is left then."""
    path = Path(run.arguments["path"])
    with running(run) as own:
        told = Several(own, progress or Counter())
        recipients = _recipients(path)
        with Endpoint.of(OWNER).connect(application_name="srvc export") as connection:
            exported = _export(connection, run.arguments, path, recipients, told)
        own.say(
            f"{exported.archive.rows:,} rows of {len(exported.archive.tables):,} tables are in "
            f"{path if kept.expiry(path) is None else 'the archive'}."
        )
        own.result = exported.as_json()
    return exported


def _recipients(path: Path) -> list[Any]:
    if path.suffix != ".age":
        return []
    if not settings.BACKUP_AGE_RECIPIENTS:
        raise RefusedError(
            f"{path.name} would be encrypted, and no recipient is set. Nothing was written. Set "
            "BACKUP_AGE_RECIPIENTS (`manage.py backupkeys` helps), or name a file that ends "
            "otherwise."
        )
    return [keys.age_recipient(text) for text in settings.BACKUP_AGE_RECIPIENTS]


def _export(
    connection: Connection,
    arguments: dict[str, Any],
    path: Path,
    recipients: list[Any],
    progress: Progress,
) -> Exported:
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    account = account_of(connection.cursor(), arguments["account"])
    contents = contents_of(connection)
    pin(connection, local=True)
    source = Source(connection, contents, account, progress, passwords=arguments["passwords"])
    with closing(source):
        archive = source.archive()
        _write(source, archive, path, recipients, progress)
    return Exported(path, archive, bool(recipients))


def _write(
    source: Source, archive: Archive, path: Path, recipients: list[Any], progress: Progress
) -> None:
    with _written_aside(path) as file:
        progress.phase("writing the archive", sum(n for n, _ in archive.members.values()), "bytes")
        tar: Any = _Tar(source.pieces(archive))
        if recipients:
            pyrage.encrypt_io(tar, file, recipients)
        else:
            while data := tar.read(_CHUNK):
                file.write(data)
        if tar.error is not None:
            raise tar.error


def account_of(cursor: Any, text: str) -> int:
    """Return the account that somebody means. Raises RefusedError when there is none.

    By a cursor of psycopg or of Django: pages ask as whoever looks at them.
    """
    cursor.execute(subject("account").find, {"text": text})
    found = cursor.fetchall()
    if len(found) != 1:
        raise RefusedError(
            f"There is no account {text!r} here. Nothing was written. Name the e-mail address of "
            "its owner."
        )
    return int(found[0][0])


class _Tar(io.RawIOBase):
    """The tar as it is made; remembers its error, which the cipher would reword."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._ahead = pieces, bytearray()
        self.error: BaseException | None = None

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return up to so many bytes; b"" at its end, and after an error, which is kept."""
        wanted = _CHUNK if size is None or size < 0 else size
        try:
            while len(self._ahead) < wanted and self.error is None:
                self._ahead += next(self._pieces)
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001 (raised by whoever reads, at the end)
            self.error = error
        data = bytes(self._ahead[:wanted])
        del self._ahead[:wanted]
        return data


@contextmanager
def _written_aside(path: Path) -> Iterator[IO[bytes]]:
    """A private file that gets its name when it is whole and on the disk."""
    if path.exists():
        raise RefusedError(
            f"{path} exists already. Nothing was written. Name another file, or remove that one."
        )
    try:
        for left in path.parent.glob(f".{path.name}.*.aside"):
            with suppress(OSError), left.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held: somebody is writing it
                left.unlink()
        aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
        with open(aside, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.link(aside, path)  # unlike a rename it never replaces
            finally:
                aside.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise RefusedError(
            f"{path} can't be written: {error.strerror}. No archive was left. Name a file in a "
            "folder that you may write to and that has room."
        ) from None
