"""The way out: what a storage is given is whole, or an error."""

from __future__ import annotations

import hashlib
import io
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pyrage
import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage
from pytest_django import Settings

from ops.backups.errors import StorageError
from ops.backups.incoming import receive
from ops.backups.keys import Encryption
from ops.backups.outgoing import CHUNK, Upload
from ops.backups.vault import Vault

NONE = Encryption("none")


class Trickle(io.RawIOBase):
    """A source that gives as little or as much as it likes, and may fail in the middle."""

    def __init__(self, content: bytes, *, fail_after: int | None = None) -> None:
        self.content, self.at, self.fail_after = content, 0, fail_after
        self.chance = random.Random(7)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self.fail_after is not None and self.at >= self.fail_after:
            raise ConnectionResetError("the server went away")
        piece = self.content[self.at : self.at + self.chance.randint(1, max(1, size))]
        self.at += len(piece)
        return piece


def upload(source: object, **options: object) -> Upload:
    options.setdefault("encryption", NONE)
    return Upload(source, **options)  # type: ignore[arg-type]


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "backup-stream"]


@pytest.fixture
def age(settings: Settings, tmp_path: Path) -> Encryption:
    identity = pyrage.x25519.Identity.generate()
    file = tmp_path / "identity.txt"
    file.write_text(f"{identity}\n")
    settings.BACKUP_AGE_IDENTITY_FILES = [str(file)]
    return Encryption("age", (str(identity.to_public()),))


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 17])
def test_what_arrives_is_what_was_sent(
    age: Encryption, encrypted: bool, compress: bool, size: int
) -> None:
    content = random.Random(size).randbytes(size // 2) * 2
    seen: list[int] = []
    sent = upload(
        Trickle(content),
        encryption=age if encrypted else NONE,
        compress=compress,
        on_raw=seen.append,
    )
    written = b"".join(sent.chunks())
    sent.close()

    stored = sent.stored("archive", "x")
    assert (stored.size, stored.sha256) == (len(written), hashlib.sha256(written).hexdigest())
    assert stored.raw_size == sum(seen) == len(content)
    assert stored.compression == ("zstd" if compress else "none")
    assert (stored.encryption, tuple(stored.recipients)) == (
        ("age", age.recipients) if encrypted else ("none", ())
    )
    sink = io.BytesIO()
    receive(io.BytesIO(written), stored, sink)
    assert sink.getvalue() == content


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("encrypted", [True, False])
def test_a_failing_source_is_never_taken_for_its_end(
    age: Encryption, encrypted: bool, compress: bool
) -> None:
    content = random.Random(1).randbytes(5 * CHUNK)
    sent = upload(
        Trickle(content, fail_after=2 * CHUNK),
        encryption=age if encrypted else NONE,
        compress=compress,
    )
    # In the source's own words, not in the cipher's that passed them on.
    with pytest.raises(ConnectionResetError, match="the server went away"):
        b"".join(sent.chunks())
    with pytest.raises(ConnectionResetError):
        sent.read(1)
    sent.close()
    assert threads() == []


def test_what_fails_after_the_last_byte_is_raised_before_the_storage_sees_the_end() -> None:
    def fail() -> None:
        raise ValueError("pg_dump failed")

    sent = upload(io.BytesIO(b"all of it"), finish_source=fail)
    with pytest.raises(ValueError, match="pg_dump failed"):
        sent.read(10_000)
    sent.close()


def test_somebody_who_stops_it_is_heard_where_the_storage_reads() -> None:
    def stop(count: int) -> None:
        raise InterruptedError("stopped")

    sent = upload(io.BytesIO(b"x" * CHUNK), on_raw=stop)
    with pytest.raises(InterruptedError):
        sent.read(1)
    sent.close()


def test_a_storage_that_gives_up_ends_the_stream() -> None:
    sent = upload(Trickle(random.Random(2).randbytes(20 * CHUNK)))
    sent.read(10)
    sent.close()
    assert threads() == []


class Careless(FileSystemStorage):
    """Takes a part and says that it has all."""

    def _save(self, name: str, content: File[bytes]) -> str:
        return str(super()._save(name, ContentFile(content.read(3))))  # type: ignore[misc]


def test_a_storage_that_takes_a_part_and_says_it_has_all_is_not_believed(tmp_path: Path) -> None:
    vault = Vault(Careless(str(tmp_path)), "careless")
    sent = upload(io.BytesIO(b"all of it"), compress=False)
    with pytest.raises(StorageError, match="took 3 bytes without asking for the rest"):
        vault.save("folder/x", sent)
    sent.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "read",
    [
        lambda sent: sent.read(),
        lambda sent: b"".join(iter(lambda: sent.read(7), b"")),
        lambda sent: b"".join(sent.chunks(3)),
    ],
)
def test_a_storage_reads_as_it_likes(read: Callable[[IO[bytes]], bytes]) -> None:
    sent = upload(io.BytesIO(b"as it likes" * 20), compress=False)
    assert read(sent) == b"as it likes" * 20  # type: ignore[arg-type]
    assert sent.read(5) == b""
    assert not sent.seekable()
    assert sent.size == 220
    sent.close()
