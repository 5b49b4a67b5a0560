"""Where one statement of an SQL script ends and the next begins, as psql sees it.

It is read in pieces: rows pass by, and so does what is too long to look at. That nothing in a
script can do harm does not depend on this (ops/restores/files/loading.py says what it depends on).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

LONGEST = 1 << 20  # of a statement that is looked at as a whole
_TOKEN = re.compile(rb"'|\"|\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$|--|/\*|;|\\")
_IN_E = re.compile(rb"\\.|'", re.DOTALL)
_IN_BLOCK = re.compile(rb"/\*|\*/")
_COPY = re.compile(rb"COPY\b.*\bFROM\s+STDIN\b", re.IGNORECASE | re.DOTALL)
_END_OF_ROWS = b"\n\\.\n"
_WORD = re.compile(rb"[A-Za-z0-9_$\x80-\xff]")
# A token never is longer than this; the end of a piece may cut one in two.
_HELD_BACK = 256


class Kind(Enum):
    """What a part of a script is."""

    STATEMENT = auto()  # with its semicolon
    BEGINNING = auto()  # of one that is too long to be looked at as a whole
    REST = auto()  # the next part of such a one
    ROWS = auto()  # of COPY, up to and including the line that ends them
    COMMENT = auto()  # one line between statements
    BLANK = auto()
    COMMAND = auto()  # a line with a command of psql


@dataclass(frozen=True)
class Part:
    """A piece of a script, its bytes unchanged."""

    kind: Kind
    text: bytes
    line: int  # of the script, where it begins


class Lexer:
    """Takes a script in pieces of any size, and yields its parts."""

    def __init__(self) -> None:
        self._text = b""
        self._at = 0  # up to where the text was looked at
        self._inside = b""  # the quote that is open: ' E " $tag$ /* or nothing
        self._depth = 0  # of block comments
        self._line = 1
        self._is_long = False
        self._rows = False

    @property
    def is_between(self) -> bool:
        """Whether no statement, quote or rows are left open."""
        return not (self._inside or self._rows or self._is_long or self._text.strip())

    def feed(self, data: bytes) -> Iterator[Part]:
        """Take the next piece; no bytes are its end."""
        self._text += data
        yield from self._parts(final=not data)

    def _parts(self, *, final: bool) -> Iterator[Part]:
        while self._text:
            if self._rows:
                part = self._take_rows(final=final)
            elif not self._is_long and self._at == 0 and not self._inside:
                part = self._take_between(final=final)
                if part is None and self._may_go_on(final=final):
                    part = self._take_statement(final=final)
            else:
                part = self._take_statement(final=final)
            if part is None:
                return
            yield part

    def _cut(self, kind: Kind, end: int) -> Part:
        part = Part(kind, self._text[:end], self._line)
        self._line += part.text.count(b"\n")
        self._text, self._at = self._text[end:], 0
        return part

    # --- between statements ------------------------------------------------------------------

    def _take_between(self, *, final: bool) -> Part | None:
        """Return blanks, a comment or a command of psql that comes before the next statement."""
        first = self._text[:1]
        if first in b" \t\r\n\f\v":
            stripped = self._text.lstrip(b" \t\r\n\f\v")
            return self._cut(Kind.BLANK, len(self._text) - len(stripped))
        if self._text.startswith(b"\xef\xbb\xbf") and self._line == 1:
            return self._cut(Kind.BLANK, 3)
        if not (self._text.startswith(b"--") or first == b"\\"):
            return None
        end = self._text.find(b"\n") + 1
        if not end and not final and len(self._text) < LONGEST:
            return None
        kind = Kind.COMMAND if first == b"\\" else Kind.COMMENT
        return self._cut(kind, end or len(self._text))

    def _may_go_on(self, *, final: bool) -> bool:
        """Whether what comes next is a statement and not a comment that is not all there yet."""
        if self._text[:1] == b"\\" or self._text.startswith(b"--"):
            return False
        return final or self._text not in (b"-", b"\xef", b"\xef\xbb")

    def _take_rows(self, *, final: bool) -> Part | None:
        # The end of the statement's own line, or of the rows before, begins it.
        if self._text.startswith(b"\\.\n"):
            self._rows = False
            return self._cut(Kind.ROWS, 3)
        end = self._text.find(_END_OF_ROWS)
        if end >= 0:
            self._rows = False
            return self._cut(Kind.ROWS, end + len(_END_OF_ROWS))
        if final and self._text.endswith(b"\n\\."):
            self._rows = False
            return self._cut(Kind.ROWS, len(self._text))
        if final:
            return None
        # Whole lines only, so that the beginning of a part is the beginning of a line.
        keep = self._text.rfind(b"\n", 0, len(self._text) - len(_END_OF_ROWS)) + 1
        if not keep and len(self._text) > LONGEST:
            keep = len(self._text) - len(_END_OF_ROWS)
        return self._cut(Kind.ROWS, keep) if keep else None

    # --- within a statement ------------------------------------------------------------------

    def _take_statement(self, *, final: bool) -> Part | None:
        limit = len(self._text) if final else max(0, len(self._text) - _HELD_BACK)
        while True:
            if self._inside:
                if not self._skip_quoted(limit):
                    return self._pass_by(limit, final=final)
                continue
            found = _TOKEN.search(self._text, self._at)
            if found is None or found.start() >= limit:
                self._at = max(self._at, limit)
                return self._pass_by(limit, final=final)
            token = found[0]
            self._at = found.end()
            if token == b";":
                return self._end_statement()
            if token == b"\\":
                # psql takes it for one of its commands, wherever a line has it.
                end = self._text.find(b"\n", self._at) + 1
                return self._cut(Kind.COMMAND, end or len(self._text))
            if token == b"--":
                end = self._text.find(b"\n", self._at)
                if end < 0 and not final:
                    self._at = found.start()
                    return self._pass_by(limit, final=final)
                self._at = end if end >= 0 else len(self._text)
            else:
                self._open(found)

    def _open(self, found: re.Match[bytes]) -> None:
        token = found[0]
        before = self._text[max(0, found.start() - 2) : found.start()]
        if token == b"'":
            is_e = before[-1:] in {b"E", b"e"} and not _WORD.match(before[-2:-1] or b" ")
            self._inside = b"E" if is_e else b"'"
        elif token == b"/*":
            self._inside, self._depth = b"/*", 1
        elif token == b'"' or not _WORD.match(before[-1:] or b" "):
            self._inside = token

    def _skip_quoted(self, limit: int) -> bool:
        """Go on behind the end of what is open; False when that is not here yet."""
        pattern = {b"E": _IN_E, b"/*": _IN_BLOCK}.get(self._inside)
        while True:
            if pattern is None:
                start = self._text.find(self._inside, self._at)
                end, token = start + len(self._inside), self._inside
            else:
                found = pattern.search(self._text, self._at)
                start = found.start() if found else -1
                end, token = (found.end(), found[0]) if found else (-1, b"")
            if start < 0 or start >= limit:
                self._at = max(self._at, limit)
                return False
            self._at = end
            if token == b"/*":
                self._depth += 1
            elif token == b"*/":
                self._depth -= 1
            if token.startswith(b"\\") or (self._inside == b"/*" and self._depth):
                continue
            # Twice is once, within; for E'…' that matters, what follows still has backslashes.
            if self._inside == b"E" and self._text[end : end + 1] == b"'":
                self._at = end + 1
                continue
            self._inside = b""
            return True

    def _pass_by(self, limit: int, *, final: bool) -> Part | None:
        """Give out what was looked at of a long statement; wait for more of a short one."""
        if final:
            return None
        if self._at < LONGEST and not (self._is_long and self._at >= LONGEST // 4):
            return None
        kind = Kind.REST if self._is_long else Kind.BEGINNING
        self._is_long = True
        return self._cut(kind, self._at)

    def _end_statement(self) -> Part:
        was_long, self._is_long = self._is_long, False
        part = self._cut(Kind.REST if was_long else Kind.STATEMENT, self._at)
        if not was_long and _COPY.match(part.text):
            self._rows = True
            # The rest of the statement's line belongs to it.
            if self._text.startswith(b"\n"):
                rest = self._cut(Kind.STATEMENT, 1)
                part = Part(part.kind, part.text + rest.text, part.line)
        return part
