"""What a dump holds, counted while pg_restore writes it out as SQL: rows per table, sequences.

pg_restore reads the archive to its last byte this way, and what comes out is what a restore would
load. Listing the archive alone passes one that was cut off, or that lacks a table's rows.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field

_START = re.compile(
    rb'COPY (?P<schema>"(?:[^"]|"")+"|[^\s".]+)\.(?P<table>"(?:[^"]|"")+"|[^\s".]+) '
)
# Written before a table's rows. Where those go in by the root of its partitions (so pg_dump does it
# with a hash of an enum, which differs elsewhere), only this tells whose they are.
_HEADER = re.compile(
    rb"-- Data for Name: (?P<table>.+); Type: TABLE DATA; Schema: (?P<schema>.+); Owner: .*"
)
_SETVAL = re.compile(
    rb"SELECT pg_catalog\.setval\('(?P<name>(?:[^']|'')+)', (?P<value>-?\d+),"
    rb" (?P<called>true|false)\);"
)
_NAME = re.compile(
    r'^(?P<schema>"(?:[^"]|"")+"|[^".]+)\.(?P<name>"(?:[^"]|"")+"|[^".]+)$', re.DOTALL
)
_END = b"\n\\.\n"
# A statement's names may hold line breaks; one that grows longer than this is none of ours.
_LONGEST_STATEMENT = 1 << 20

Name = tuple[str, str]
# As the proof calls all of them together.
_LARGE_OBJECTS: Name = ("pg_catalog", "pg_largeobject")
_LARGE_OBJECT = b"SELECT pg_catalog.lo_open("


@dataclass
class DumpContents:
    """What was in it, by schema and name."""

    rows: dict[Name, int] = field(default_factory=dict)
    sequences: dict[Name, tuple[int, bool]] = field(default_factory=dict)  # last value, is called

    @classmethod
    def from_json(cls, text: str | bytes) -> DumpContents:
        """Return what main() printed."""
        document = json.loads(text)
        return cls(
            rows={(schema, name): rows for schema, name, rows in document["rows"]},
            sequences={
                (schema, name): (value, called)
                for schema, name, value, called in document["sequences"]
            },
        )


class DumpScanner:
    """Takes what `pg_restore --section=data` writes, in pieces of any size."""

    def __init__(self) -> None:
        self.contents = DumpContents()
        self._table: Name | None = None  # whose rows are coming
        self._announced: Name | None = None  # the same, with blanks for line breaks in its name
        self._rows = 0
        self._tail = b""  # an unfinished line; within rows, the last bytes, already counted
        self._statement = b""  # lines of a statement that is not complete

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        while data:
            data = self._lines(data) if self._table is None else self._rows_of(data)

    @property
    def is_between_tables(self) -> bool:
        """Whether no table's rows are left open."""
        return self._table is None

    def _rows_of(self, data: bytes) -> bytes:
        """Count rows, and return what is behind the last of them."""
        known = len(self._tail)
        text = self._tail + data
        # Backwards first: in rows, that search is twice as fast as the one forwards.
        end = text.find(_END) if text.rfind(_END) >= 0 else -1
        if end < 0:
            self._rows += data.count(b"\n")
            self._tail = text[-(len(_END) - 1) :]
            return b""
        self._rows += text.count(b"\n", known, end + 1)
        assert self._table is not None
        self.contents.rows[self._table] = self.contents.rows.get(self._table, 0) + self._rows
        self._table, self._tail = None, b""
        return text[end + len(_END) :]

    def _lines(self, data: bytes) -> bytes:
        """Read statements, and return what is behind the one that rows follow."""
        text = self._tail + data
        position = 0
        while (end := text.find(b"\n", position)) >= 0:
            line = text[position:end]
            position = end + 1
            if self._statement or line.startswith((b"COPY ", b"SELECT pg_catalog.setval(")):
                self._statement += line
                if self._understood() or len(self._statement) > _LONGEST_STATEMENT:
                    self._statement = b""
                else:
                    self._statement += b"\n"
            else:
                self._remark(line)
            if self._table is not None:
                # The line's own end stands for the one before the first row.
                self._rows, self._tail = 0, b"\n"
                return text[position:]
        self._tail = text[position:]
        return b""

    def _remark(self, line: bytes) -> None:
        """Take a line that belongs to no statement of ours."""
        if line.startswith(_LARGE_OBJECT):
            rows = self.contents.rows
            rows[_LARGE_OBJECTS] = rows.get(_LARGE_OBJECTS, 0) + 1
        elif header := _HEADER.fullmatch(line):
            self._announced = (_text(header["schema"]), _text(header["table"]))

    def _understood(self) -> bool:
        """Take a complete statement; False when lines are missing."""
        statement = self._statement
        if statement.startswith(b"COPY "):
            found = _START.match(statement)
            if not statement.endswith(b" FROM stdin;") or statement.count(b'"') % 2:
                return False
            if found is not None:
                named = (_identifier(found["schema"]), _identifier(found["table"]))
                by_root = self._announced not in {None, as_announced(named)}
                self._table = self._announced if by_root else named
                self._announced = None
            return True
        setval = _SETVAL.fullmatch(statement)
        if setval is not None:
            name = _NAME.match(_text(setval["name"]).replace("''", "'"))
            if name is not None:
                key = (_unquoted(name["schema"]), _unquoted(name["name"]))
                self.contents.sequences[key] = (int(setval["value"]), setval["called"] == b"true")
        return statement.endswith(b");") and statement.count(b"'") % 2 == 0


def as_announced(name: Name) -> Name:
    """Return a name as pg_restore writes it into its comments."""
    schema, table = (part.replace("\n", " ").replace("\r", " ") for part in name)
    return schema, table


def _identifier(written: bytes) -> str:
    return _unquoted(_text(written))


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _text(written: bytes) -> str:
    try:
        return written.decode()
    except UnicodeDecodeError:
        return written.decode("latin-1")  # a database that is not in UTF-8


def main() -> None:
    """Scan standard input and print what was in it as JSON; run beside pg_restore.

    A process of its own, because counting and decompressing would wait for each other in one.
    """
    scanner = DumpScanner()
    with open(0, "rb", buffering=0, closefd=False) as source:
        # Larger pieces would be memory that the system hands out and takes back each time.
        while data := source.read(1 << 16):
            scanner.write(data)
    if not scanner.is_between_tables:
        sys.exit("the rows of a table are cut off")
    contents = scanner.contents
    document = {
        "rows": [[*name, rows] for name, rows in contents.rows.items()],
        "sequences": [[*name, *stand] for name, stand in contents.sequences.items()],
    }
    json.dump(document, sys.stdout)


if __name__ == "__main__":
    main()
