"""One member that could do harm refuses a media backup as a whole, before a byte is written."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from pytest_django import Settings

from ops.backups.errors import BackupError, DamagedError
from ops.backups.manifest import Manifest, StoredObject
from ops.backups.media_names import is_restorable
from ops.backups.media_restore import folder_place
from ops.backups.media_restore.reading import read_media
from ops.backups.vault import Vault
from ops.backups.verify import ask_for_verification, verify_backup
from ops.models import BackupState
from ops.progress import Counter
from ops.restores.media.kept import kept_files
from ops.restores.partial.media_files import restore_files
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.restores.uploads import (
    Uploads,
    bring_back,
    member,
    signed_backup,
    tar_with,
)

THERE = {"victim.txt": b"of today"}


@pytest.fixture
def uploads(tmp_path: Path, settings: Settings) -> Uploads:
    """Return a folder of uploaded files, with one in it."""
    settings.MEDIA_ROOT = str(tmp_path / "media")
    found = Uploads(tmp_path / "media")
    found.put(THERE)
    return found


def long_header(made: io.BytesIO) -> None:
    """A name of a gigabyte, which a careless reader takes into memory."""
    made.write(member("long", tarfile.GNUTYPE_LONGNAME, size=1 << 30).tobuf(tarfile.GNU_FORMAT))


def sparse(made: io.BytesIO) -> None:
    """A file of eight exabytes in no bytes at all."""
    info = member("sparse", tarfile.GNUTYPE_SPARSE)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"\x80" + (1 << 62).to_bytes(11)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    made.write(block)


def pax_sparse(made: io.BytesIO) -> None:
    """The same, as newer programs write it."""
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "sparse"}
    headers["GNU.sparse.realsize"] = str(1 << 62)
    info = member("sparse", size=512)
    info.pax_headers = headers
    made.write(info.tobuf(tarfile.PAX_FORMAT) + b"0\n".ljust(512, b"\0"))


FILE = (member("twice", size=1), b"1")
HOSTILE: dict[str, Any] = {
    "an absolute name": (member("/etc/evil"), b""),
    "a way out": (member("../evil"), b""),
    "a way out in the middle": (member("jobs/../../evil"), b""),
    "a folder that leads out": (member("../evil", tarfile.DIRTYPE), b""),
    "a symbolic link": (member("link", tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
    "a hard link": (member("link", tarfile.LNKTYPE, linkname="victim.txt"), b""),
    "a character device": (member("device", tarfile.CHRTYPE, devmajor=1), b""),
    "a block device": (member("device", tarfile.BLKTYPE), b""),
    "a pipe": (member("pipe", tarfile.FIFOTYPE), b""),
    "a sparse file": sparse,
    "a sparse file of PAX": pax_sparse,
    "a name of a gigabyte": long_header,
    "attributes of a gigabyte": lambda made: made.write(
        member("x", tarfile.XHDTYPE, size=1 << 30).tobuf(tarfile.GNU_FORMAT)
    ),
    "more than there is": (member("huge", size=1 << 40), b"x"),
    "a name that is not normal": (member("a//b"), b""),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_member_refuses_all_of_it(what: str, backups: Backups, uploads: Uploads) -> None:
    backup = signed_backup(tar_with(HOSTILE[what]))
    refused_whole(backups, uploads)
    verify_backup(ask_for_verification(backup, by=ASKER))
    backup.refresh_from_db()
    assert backup.state == BackupState.FAILED


def refused_whole(backups: Backups, uploads: Uploads) -> None:
    around = {path for path in backups.var.parent.rglob("*") if path.name == "evil"}
    with pytest.raises(DamagedError):
        bring_back()
    assert uploads.all() == THERE
    assert kept_files() == []
    assert {path for path in backups.var.parent.rglob("*") if path.name == "evil"} == around
    # A recovery takes nothing from it either, not even the good file.
    assert restore_files(["good.txt"], Counter()) == ([], ["good.txt"])


def test_a_file_that_is_in_it_twice_or_in_place_of_a_folder(
    backups: Backups, uploads: Uploads
) -> None:
    below = (member("twice/below", size=1), b"2")
    for members in ((FILE, FILE), (FILE, below), (below, FILE)):
        signed_backup(tar_with(*members))
        refused_whole(backups, uploads)


def test_other_contents_than_the_manifest_tells_of(backups: Backups, uploads: Uploads) -> None:
    signed_backup(tar_with(FILE), files=2, bytes=5, digest="0" * 64)
    refused_whole(backups, uploads)


def test_more_bytes_than_went_in_are_not_unpacked_to_their_end(
    backups: Backups, uploads: Uploads
) -> None:
    backup = signed_backup(tar_with(FILE))
    bomb = zstandard.ZstdCompressor().compress(
        tar_with((member("bomb", size=1 << 26), bytes(1 << 26)))
    )
    manifest = Manifest.of_row(backup.manifest)
    stored: StoredObject = replace(
        manifest.archive, size=len(bomb), sha256=hashlib.sha256(bomb).hexdigest(),
        compression="zstd", raw_size=1 << 20,
    )  # fmt: skip
    (backups.folder / stored.name).write_bytes(bomb)
    into = backups.var / "into"
    into.mkdir()
    with pytest.raises(DamagedError):
        read_media(
            replace(manifest, objects=[stored]), Vault.primary(), Counter(),
            wanted=["bomb"], into=into,
        )  # fmt: skip
    assert sum(path.stat().st_size for path in into.iterdir()) < 1 << 23


def test_too_little_room_is_told_before_a_byte_is_written(
    backups: Backups, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_backup(tar_with(FILE))
    usage: Callable[..., Any] = folder_place.shutil.disk_usage
    monkeypatch.setattr(
        folder_place.shutil, "disk_usage", lambda path: usage(path)._replace(free=3)
    )
    with pytest.raises(BackupError):
        bring_back()
    assert uploads.all() == THERE


@pytest.mark.parametrize(
    "name", ["", ".", "/a", "../a", "a/../b", "a/./b", "a//b", "a/", "a\0b", "a" * 5000]
)
def test_a_name_that_leads_elsewhere(name: str) -> None:
    assert not is_restorable(name)
    assert is_restorable("Größe & Maß/a\\b\n..c.png")
