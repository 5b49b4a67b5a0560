"""A tar is read while it passes: whatever the pieces, the same members are found."""

from __future__ import annotations

import io
import random
import tarfile

import pytest

from ops.backups.errors import BackupError
from ops.backups.tarstream import TarScanner, Tee

KEPT = b'{"Files": []}' * 100


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        folder = tarfile.TarInfo("base")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


WHOLE = archive(PG_VERSION=b"18\n", empty=b"", data=b"x" * 5000, backup_manifest=KEPT)


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 4096, 1 << 20])
def test_pieces_of_any_size_say_the_same(size: int) -> None:
    scanner = TarScanner({"backup_manifest", "empty"})
    source = Tee(io.BytesIO(WHOLE), scanner)
    passed = b""
    while piece := source.read(size):
        passed += piece
    assert passed == WHOLE
    assert scanner.kept == {"backup_manifest": KEPT, "empty": b""}
    assert scanner.members == 4
    assert scanner.is_complete


@pytest.mark.parametrize("missing", [1, 512, 5000, 10_000])
def test_an_archive_that_is_cut_off_is_not_complete(missing: int) -> None:
    end = WHOLE.rindex(KEPT[-20:]) + 512 * 3  # its last member and the two blocks behind it
    scanner = TarScanner({"backup_manifest"})
    scanner.feed(WHOLE[: max(0, end - 512 - missing)])
    assert not scanner.is_complete


def test_sizes_of_eight_gigabytes_and_more_are_understood() -> None:
    entry = tarfile.TarInfo("large")
    entry.size = 9 << 30
    scanner = TarScanner({"backup_manifest"})
    scanner.feed(entry.tobuf(format=tarfile.GNU_FORMAT))
    block = bytes(64 << 20)
    for _ in range((9 << 30) // len(block)):
        scanner.feed(block)
    scanner.feed(WHOLE)
    assert scanner.kept == {"backup_manifest": KEPT}
    assert scanner.is_complete


def test_a_long_name_is_put_together_from_its_two_fields() -> None:
    folder = "a" * 90
    scanner = TarScanner({f"{folder}/{'b' * 60}"})
    scanner.feed(archive(**{f"{folder}/{'b' * 60}": b"found"}))
    assert scanner.kept == {f"{folder}/{'b' * 60}": b"found"}


def test_something_that_is_no_tar_is_refused() -> None:
    noise = random.Random(1).randbytes(2048)
    with pytest.raises(BackupError, match="wrote something that is no tar archive"):
        TarScanner(set()).feed(noise)


def test_a_header_with_a_flipped_bit_is_refused() -> None:
    damaged = bytearray(WHOLE)
    damaged[512] ^= 1
    with pytest.raises(BackupError, match="no tar archive"):
        TarScanner(set()).feed(bytes(damaged))
