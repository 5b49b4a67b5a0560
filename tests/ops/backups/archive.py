"""Running the receiver in tests, and reading what it stored."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ops.backups.vault import Vault
from ops.backups.wal.gaps import Piece, gaps
from ops.backups.wal.names import ObjectName
from ops.backups.wal.receiver import Receiver
from ops.backups.wal.shipping import open_segment
from ops.models import WalSegment
from tests.ops.backups.conftest import Backups


def receive(
    *, once: bool = True, after: int | None = None, until: Callable[[str], bool] | None = None
) -> list[str]:
    """Run the receiver here until it ends, or until a line satisfies `until`; return its lines."""
    said: list[str] = []
    stop = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if until is not None and until(line):
            stop.set()

    Receiver(say=say, stop=stop, once=once, after=after).run()
    return said


def stored(backups: Backups) -> list[str]:
    """The names of the segments in the storage, one for each object."""
    names = [ObjectName.parse(name) for name in backups.stored if name.startswith("wal/")]
    assert None not in names
    return sorted(name.file for name in names if name is not None)


def require_whole(backups: Backups) -> None:
    """The archive has every segment once, in the storage as in the catalogue."""
    rows = list(WalSegment.objects.in_order())
    assert stored(backups) == [row.segment for row in rows]
    assert gaps(map(Piece.of_row, rows)) == []


def extract(folder: Path) -> None:
    """Put every archived segment into a folder, as a restore_command wants them."""
    for row in WalSegment.objects.in_order():
        name = ObjectName.parse(row.object_name)
        assert name is not None
        path = folder / row.segment
        path.write_bytes(open_segment(name, Vault.primary()))
        path.chmod(0o644)  # it belongs to us, and the server's user reads it


def local(backups: Backups) -> list[str]:
    """The names of the local files, finished or not."""
    found = (backups.var / "wal").rglob("0*")
    return sorted(path.name for path in found if path.is_file())
