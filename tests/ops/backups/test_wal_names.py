"""Names of segments and of their objects: what they tell, and that nobody else can make them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ops.backups.wal.names import ObjectName, lsn, position, segment_at, start_of

CLOSED = datetime(2026, 3, 2, 12, 30, 1, 250_000, tzinfo=UTC)
SHA = "ab" * 32
MEGABYTE = 1 << 20


def name(file: str = "000000010000000A000000FE", size: int = 16 * MEGABYTE) -> ObjectName:
    return ObjectName("7711120319561907224", file, size, CLOSED, "age").signed("key", SHA)


@pytest.mark.parametrize("text", ["0/0", "0/3000148", "A/FE000000", "FFFFFFFF/FFFFFFFF"])
def test_positions_are_read_and_written(text: str) -> None:
    assert lsn(position(text)) == text


@pytest.mark.parametrize("size", [MEGABYTE, 16 * MEGABYTE, 64 * MEGABYTE, 1024 * MEGABYTE])
def test_segments_of_every_size_lie_one_behind_the_other(size: int) -> None:
    at = position("A/FC000000") // size * size
    for step in range(5):
        file = segment_at(3, at + step * size + 17, size)
        assert start_of(file, size) == at + step * size


def test_the_name_tells_everything() -> None:
    text = str(name())
    assert text.startswith(
        "wal/7711120319561907224/00000001/000000010000000A000000FE.20260302T123001250Z."
    )
    assert text.endswith(".zst.age")
    found = ObjectName.parse(text)
    assert found == name()
    assert found is not None
    assert (lsn(found.start or 0), lsn(found.end or 0)) == ("A/FE000000", "A/FF000000")


def test_an_unusual_segment_size_is_in_the_name() -> None:
    text = str(name(size=64 * MEGABYTE, file="000000010000000A0000003F"))
    assert ".64MB.2026" in text
    found = ObjectName.parse(text)
    assert found is not None
    assert (found.size, lsn(found.end or 0)) == (64 * MEGABYTE, "B/0")


def test_a_history_has_no_position() -> None:
    found = ObjectName.parse(str(name(file="00000002.history")))
    assert found is not None
    assert (found.timeline, found.start, found.end) == (2, None, None)


@pytest.mark.parametrize(
    "change",
    [
        ("7711120319561907224", "7711120319561907225"),
        ("0000000A000000FE", "0000000A000000FD"),
        ("T123001250Z", "T123001251Z"),
    ],
)
def test_a_renamed_object_does_not_fit(change: tuple[str, str]) -> None:
    assert name().fits(["key"], SHA)
    renamed = ObjectName.parse(str(name()).replace(*change))
    assert renamed is not None
    assert not renamed.fits(["key"], SHA)


def test_changed_bytes_and_other_keys_do_not_fit() -> None:
    assert not name().fits(["key"], "ac" * 32)
    assert not name().fits(["other"], SHA)
    assert name().fits(["new", "key"], SHA)


@pytest.mark.parametrize(
    "text",
    [
        "wal/1/00000001/000000010000000A000000FE",
        "wal/1/00000002/000000010000000A000000FE.20260302T123001250Z." + "0" * 32 + ".zst",
        "wal/1/00000001/000000010000000A000000FE.20261302T123001250Z." + "0" * 32 + ".zst",
        "wal/1/00000001/000000010000000A000000FE.3MB.20260302T123001250Z." + "0" * 32 + ".zst",
        "wal/1/00000001/000000010000000A000000FE.partial.20260302T123001250Z." + "0" * 32 + ".zst",
        "wal/x/00000001/000000010000000A000000FE.20260302T123001250Z." + "0" * 32 + ".zst",
    ],
)
def test_what_is_no_name_of_ours(text: str) -> None:
    assert ObjectName.parse(text) is None
