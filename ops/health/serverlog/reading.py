"""Reading a log from a moment on, and following it; a gigabyte of it takes no more memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from ops.health.serverlog.entries import Entry
from ops.health.serverlog.files import Files, LogFile, blocks
from ops.health.serverlog.parsing import Format, Parser, parser_for

_EVERY = 0.5  # seconds between two looks when following
_PROBE = 65_536  # bytes in which a line with a time is looked for
_NEAR = 524_288  # bytes that are rather read than searched
_LONGEST_LINE = 1_048_576  # bytes; more of one line says nothing to anybody


@dataclass(frozen=True)
class Log:
    """A log: its files, and how its lines are to be read."""

    files: Files
    known: Format
    notes: tuple[str, ...] = ()  # what should be known about it


def read(log: Log, since: datetime) -> Iterator[Entry]:
    """Yield the messages of a moment and later, oldest first."""
    reader = _Reader(log)
    yield from _since(since, chain(reader.catch_up(since), reader.finish()))


def follow(
    log: Log, since: datetime, pause: Callable[[float], None] = time.sleep
) -> Iterator[Entry]:
    """Yield the messages since a moment, then each as it is written, for ever.

    Goes along when the server begins another file, or the same one anew.
    """
    reader = _Reader(log)
    yield from _since(since, reader.catch_up(since))
    while True:
        pause(_EVERY)
        yield from _since(since, reader.look())


class _Lines:
    """Bytes made into lines; the last one waits for its end."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def take(self, piece: bytes) -> Iterator[str]:
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            if not self._skipping:
                yield _text(line)
            self._skipping = False
        if len(self._rest) > _LONGEST_LINE:
            if not self._skipping:
                yield _text(self._rest[:_LONGEST_LINE])
            self._rest, self._skipping = b"", True

    def end(self) -> Iterator[str]:
        if self._rest and not self._skipping:
            yield _text(self._rest)
        self._rest, self._skipping = b"", False


class _Reader:
    def __init__(self, log: Log) -> None:
        self._log = log
        self._name = ""
        self._offset = 0
        self._lines = _Lines()
        self._parser: Parser = parser_for("", log.known)
        self._begun = True  # whether a message began where reading began
        self._waited = False  # whether nothing came since the last look

    def catch_up(self, since: datetime) -> Iterator[Entry]:
        """Yield what was written since, up to now; the last message may not be whole yet."""
        files = self._log.files.all()
        for file in files:
            if file is not files[-1] and file.modified < since:
                continue
            yield from self.finish()
            self._begin(file)
            self._offset = _beginning(self._log, file, since, self._parser)
            self._begun = not self._offset
            yield from self._rest(file)

    def look(self) -> Iterator[Entry]:
        """Yield what came since the last look."""
        files = self._log.files.all()
        names = [each.name for each in files]
        # A file that is gone was read as far as it was seen; all that are there came after it.
        later = files[names.index(self._name) :] if self._name in names else files[-1:]
        came = False
        for file in later:
            if file.name != self._name:
                yield from self.finish()
                self._begin(file)
            elif file.size < self._offset:
                # The server, or who tidies up after it, began it anew.
                yield from self.finish()
                self._begin(file)
            before = self._offset
            yield from self._rest(file)
            came = came or self._offset > before
        if not came and not self._waited:
            # Nothing more of the last message is coming.
            yield from self._parser.end()
        self._waited = not came

    def _begin(self, file: LogFile) -> None:
        self._name, self._offset, self._begun = file.name, 0, True
        self._parser = parser_for(file.name, self._log.known)

    def _rest(self, file: LogFile) -> Iterator[Entry]:
        for piece in blocks(self._log.files, file.name, self._offset, file.size):
            self._offset += len(piece)
            for line in self._lines.take(piece):
                self._begun = self._begun or self._parser.stamp(line) is not None
                if self._begun:
                    yield from self._parser.take(line)

    def finish(self) -> Iterator[Entry]:
        """Yield what waited for more: no more is coming."""
        for line in self._lines.end():
            yield from self._parser.take(line)
        yield from self._parser.end()


def _since(since: datetime, entries: Iterable[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if entry.at is None or entry.at >= since)


def _beginning(log: Log, file: LogFile, since: datetime, parser: Parser) -> int:
    """Return where a line begins, at or before the first one of a moment; times never go back."""
    low, high = 0, file.size
    while high - low > _NEAR:
        middle = (low + high) // 2
        at = _first_moment(log, file.name, middle, parser)
        if at is not None and at < since:
            low = middle
        else:
            high = middle
    if not low:
        return 0
    # Somewhere within a line: the next one is whole.
    piece = log.files.read(file.name, low, _LONGEST_LINE)
    return low + piece.find(b"\n") + 1


def _first_moment(log: Log, name: str, offset: int, parser: Parser) -> datetime | None:
    _, *lines = log.files.read(name, offset, _PROBE).split(b"\n")
    for line in lines[:-1]:
        if (at := parser.stamp(_text(line))) is not None:
            return at
    return None


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").rstrip("\r")
