"""One stored segment: damaged, swapped, unreadable, or fine; and the catalogue made of names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from pytest_django import Settings

from ops.backups.errors import DamagedError, KeyMissingError, MissingObjectError
from ops.backups.vault import Vault
from ops.backups.wal import shipping
from ops.backups.wal.names import ObjectName
from ops.backups.wal.shipping import Server, Shipper, open_segment, rebuild_segments, verify_segment
from ops.backups.wal.slot import ServerWatch, Writing, drop_slot
from ops.models import WalSegment
from ops.postgres.endpoint import Endpoint
from tests.ops.backups.archive import receive
from tests.ops.backups.conftest import Backups
from tests.ops.backups.replicating import server_of_a_module

server = server_of_a_module()


@pytest.fixture
def rows(backups: Backups) -> Iterator[list[WalSegment]]:
    """Two stored segments."""
    receive()
    backups.execute("CREATE TABLE public.more ()")
    receive()
    yield list(WalSegment.objects.in_order())[-2:]
    endpoint = Endpoint.replication()
    assert endpoint is not None
    drop_slot(endpoint)


def test_a_good_segment_passes_and_is_what_the_server_wrote(
    backups: Backups, rows: list[WalSegment]
) -> None:
    for row in rows:
        verify_segment(row)
    assert rows[0].end_lsn == rows[1].start_lsn
    assert rows[0].size == (backups.folder / rows[0].object_name).stat().st_size


def test_every_kind_of_damage_is_found(
    backups: Backups, rows: list[WalSegment], settings: Settings
) -> None:
    one, two = (backups.folder / row.object_name for row in rows)
    whole = one.read_bytes()
    for damaged in (
        whole[:-1],
        whole + b"x",
        whole[:40] + bytes([whole[40] ^ 1]) + whole[41:],
        b"",
        two.read_bytes(),
    ):
        one.write_bytes(damaged)
        with pytest.raises(DamagedError, match="was changed after it was stored, renamed, or"):
            verify_segment(rows[0])
    one.write_bytes(whole)

    settings.BACKUP_SIGNING_KEY = "another key"
    with pytest.raises(DamagedError, match="BACKUP_SIGNING_KEY_FALLBACKS"):
        verify_segment(rows[0])
    settings.BACKUP_SIGNING_KEY_FALLBACKS = ["a signing key for tests"]
    verify_segment(rows[0])
    one.unlink()
    with pytest.raises(MissingObjectError):
        verify_segment(rows[0])
    rows[0].object_name = rows[1].object_name
    with pytest.raises(DamagedError, match="is no name of the segment"):
        verify_segment(rows[0])


def test_without_the_right_key_nothing_is_said_about_the_inside(
    backups: Backups, rows: list[WalSegment], tmp_path: Path, settings: Settings
) -> None:
    stranger = tmp_path / "stranger.txt"
    stranger.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    settings.BACKUP_AGE_IDENTITY_FILES = [str(stranger)]
    with pytest.raises(KeyMissingError, match="is unchanged since it was stored, but nothing here"):
        verify_segment(rows[0])
    settings.BACKUP_AGE_IDENTITY_FILES = []
    with pytest.raises(KeyMissingError, match="no identity for that is here"):
        verify_segment(rows[0])


def test_the_catalogue_is_rebuilt_from_names_alone(
    backups: Backups, rows: list[WalSegment], settings: Settings
) -> None:
    fields = ("segment", "timeline", "object_name", "start_lsn", "end_lsn", "size", "closed_at")
    before = list(WalSegment.objects.in_order().values(*fields))
    WalSegment.objects.all().delete()
    settings.BACKUP_AGE_IDENTITY_FILES = []
    assert rebuild_segments(Vault.primary()) == len(before)
    assert list(WalSegment.objects.in_order().values(*fields)) == before
    (backups.folder / rows[1].object_name).unlink()
    assert rebuild_segments(Vault.primary()) == len(before) - 1
    assert not WalSegment.objects.filter(object_name=rows[1].object_name).exists()


def shipper(backups: Backups, system: str, folder: Path) -> Shipper:
    return Shipper(
        folder,
        Server(system, 16 << 20),
        [Vault.primary()],
        closed_at=lambda path: shipping.timezone.now(),
    )


def test_a_local_file_that_is_another_segment_is_not_stored(
    backups: Backups, rows: list[WalSegment], tmp_path: Path
) -> None:
    name = ObjectName.parse(rows[0].object_name)
    assert name is not None
    content = open_segment(name, Vault.primary())
    before = backups.stored
    for system, file, damaged in (
        (rows[0].system_identifier, "0000000100000009000000AA", content),
        ("1234", rows[0].segment, content),
        (rows[0].system_identifier, "0000000100000009000000AB", content[:-1]),
        (rows[0].system_identifier, "0000000100000009000000AC", bytes(len(content))),
    ):
        path = tmp_path / file
        path.write_bytes(damaged)
        with pytest.raises(DamagedError, match=f"The segment {file} "):
            shipper(backups, system, tmp_path).ship(path, Vault.primary())
    assert backups.stored == before


def test_a_history_is_stored_in_clear_and_read_back(backups: Backups, tmp_path: Path) -> None:
    path = tmp_path / "00000002.history"
    path.write_text("1\t0/5000000\tno recovery target specified\n")
    row = shipper(backups, "1234", tmp_path).ship(path, Vault.primary())
    assert (row.timeline, row.start_lsn, row.end_lsn) == (2, "", "")
    name = ObjectName.parse(row.object_name)
    assert name is not None
    assert open_segment(name, Vault.primary()) == path.read_bytes()
    verify_segment(row)


def test_only_what_others_write_closes_a_segment(backups: Backups) -> None:
    watch, writing = ServerWatch(Endpoint.of("owner")), Writing()
    assert writing.by_others(watch.look(), 0)  # nobody knows what was before
    writing.closed(watch.look(), 0)
    assert not writing.by_others(watch.look(), 0)

    backups.execute("CREATE TABLE public.rows (n int)")
    assert writing.by_others(watch.look(), 0)
    assert not writing.by_others(watch.look(), 1)  # it was the archive's own row

    with backups.connect() as other, other.transaction():
        other.execute("INSERT INTO public.rows VALUES (1)")
        backups.execute("CREATE TABLE public.younger (n int)")
        writing.closed(watch.look(), 1)
    # It took its number before the segment was closed, and ended after.
    assert writing.by_others(watch.look(), 1)
    watch.close()
