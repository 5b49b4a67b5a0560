"""Reading a tar while it passes by, to keep the few small members that are needed afterwards.

pg_basebackup writes one tar to its standard output and puts its manifest into it, last. Only
headers are looked at: what a member holds is skipped by counting.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import IO

from ops.backups.errors import BackupError

_BLOCK = 512
_LONGEST_KEPT = 256_000_000  # bytes of one kept member: the list of a million files


class TarScanner:
    """Follows a tar that is fed to it in pieces of any size.

    `kept` holds the content of the members that were asked for, `members` counts the files.
    """

    def __init__(self, keep: Collection[str]) -> None:
        self.kept: dict[str, bytes] = {}
        self.members = 0
        self._keep = frozenset(keep)
        self._head = b""  # of a header that came in two pieces
        self._skip = 0  # bytes of content and padding still to come
        self._keeping: bytearray | None = None
        self._name = ""
        self._missing = 0  # bytes of content that are still to be kept
        self._zero_blocks = 0

    @property
    def is_complete(self) -> bool:
        """Whether the end of the archive has been seen: two empty blocks."""
        return self._zero_blocks >= 2 and not self._skip and not self._head

    def feed(self, data: bytes) -> None:
        """Look at the next piece. Raises BackupError when this is no tar."""
        view = memoryview(data)
        while view:
            if self._skip:
                view = self._pass(view)
                continue
            wanted = _BLOCK - len(self._head)
            self._head += bytes(view[:wanted])
            view = view[wanted:]
            if len(self._head) == _BLOCK:
                block, self._head = self._head, b""
                self._header(block)

    def _pass(self, view: memoryview) -> memoryview:
        step = min(self._skip, len(view))
        if self._keeping is not None:
            content = min(step, self._missing)
            self._keeping += view[:content]
            self._missing -= content
            if not self._missing:
                self.kept[self._name] = bytes(self._keeping)
                self._keeping = None
        self._skip -= step
        return view[step:]

    def _header(self, block: bytes) -> None:
        if not block.strip(b"\0"):
            self._zero_blocks += 1
            return
        if self._zero_blocks >= 2 or not _sum_is_right(block):
            raise BackupError(
                "pg_basebackup wrote something that is no tar archive. Nothing that looks like a "
                "backup was left. Check pg_basebackup's version and run this again."
            )
        self._zero_blocks = 0
        size = _number(block[124:136])
        self._skip = -(-size // _BLOCK) * _BLOCK
        if block[156:157] not in {b"0", b"\0"}:  # a folder or a link
            return
        self.members += 1
        self._name = _name(block)
        if self._name not in self._keep:
            return
        if size > _LONGEST_KEPT:
            raise BackupError(
                f"{self._name} in the base backup has {size:,} bytes, which can't be right. "
                "Nothing that looks like a backup was left. Check the server's data directory."
            )
        self._missing, self._keeping = size, bytearray()
        if not size:
            self.kept[self._name], self._keeping = b"", None


class Tee:
    """A stream that a scanner sees as it is read."""

    def __init__(self, source: IO[bytes], scanner: TarScanner) -> None:
        self._source, self._scanner = source, scanner

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes."""
        data = self._source.read(size)
        self._scanner.feed(data)
        return data


def _name(block: bytes) -> str:
    name, prefix = (_text(block[:100]), _text(block[345:500]))
    joined = f"{prefix}/{name}" if prefix and block[257:262] == b"ustar" else name
    return joined.removeprefix("./")


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="surrogateescape")


def _number(field: bytes) -> int:
    """Return a header's number: octal digits, or for large ones bytes behind a mark."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F, *field[1:]]))
    return int(field.strip(b" \0") or b"0", 8)


def _sum_is_right(block: bytes) -> bool:
    try:
        told = _number(block[148:156])
    except ValueError:
        return False
    return told == sum(block[:148]) + sum(block[156:]) + 8 * 0x20
