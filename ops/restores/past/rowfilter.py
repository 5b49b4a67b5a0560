"""Keeps only some rows of what `pg_restore --file=-` writes out, table by table.

A process of its own, run as a file with nothing but the standard library, because decompressing
and filtering would wait for each other in one. Rows are not taken apart: the value looked for is
found by searching whole blocks, and only lines that have it somewhere are looked at.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

_COPY = re.compile(
    rb'COPY (?P<schema>"(?:[^"]|"")+"|[^\s".]+)\.(?P<table>"(?:[^"]|"")+"|[^\s".]+)'
    rb" \((?P<columns>.*)\) FROM stdin;",
    re.DOTALL,
)
_NAME = re.compile(r'"(?:[^"]|"")+"|[^\s",]+')
_END = b"\n\\.\n"
_BLOCK = 1 << 20
_LONGEST_STATEMENT = 1 << 20
# A value of fewer letters is found too often for searching to be of use.
_SHORT = 3


@dataclass(frozen=True)
class Rule:
    """Rows of a table are kept whose column has one of these values, as COPY writes them."""

    column: str
    values: tuple[str, ...]


class RowFilter:
    """Takes what pg_restore writes in pieces of any size, and writes what is kept."""

    def __init__(self, rules: Mapping[tuple[str, str], Rule], target: BinaryIO) -> None:
        self._rules, self._target = rules, target
        self.passed: dict[str, int] = {}  # rows that came by, by schema.table as in the rules
        self._table: _Table | None = None
        self._tail = b""
        self._statement = b""

    @property
    def is_between_tables(self) -> bool:
        """Whether no table's rows are left open."""
        return self._table is None

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        while data:
            data = self._lines(data) if self._table is None else self._rows(self._table, data)

    def _rows(self, table: _Table, data: bytes) -> bytes:
        # The line break before the first row is in the tail, so an end right there is found too.
        text = self._tail + data
        end = text.find(_END) if text.rfind(_END) >= 0 else -1
        if end >= 0:
            table.take(text[1 : end + 1], self._target)
            self._target.write(_END[1:])
            name = json.dumps(table.name)
            self.passed[name] = self.passed.get(name, 0) + table.rows
            self._table, self._tail = None, b""
            return text[end + len(_END) :]
        cut = text.rfind(b"\n")
        if cut > 0:
            table.take(text[1 : cut + 1], self._target)
            self._tail = text[cut:]
        else:
            self._tail = text
        return b""

    def _lines(self, data: bytes) -> bytes:
        text = self._tail + data
        position = 0
        while (end := text.find(b"\n", position)) >= 0:
            line = text[position : end + 1]
            position = end + 1
            self._target.write(line)
            if self._statement or line.startswith(b"COPY "):
                self._statement += line
                if self._understood() or len(self._statement) > _LONGEST_STATEMENT:
                    self._statement = b""
            if self._table is not None:
                self._tail = b"\n"
                return text[position:]
        self._tail = text[position:]
        return b""

    def _understood(self) -> bool:
        """Take a complete statement; False when lines of it are missing."""
        statement = self._statement.rstrip(b"\n")
        if not statement.endswith(b" FROM stdin;") or statement.count(b'"') % 2:
            return False
        found = _COPY.fullmatch(statement)
        if found is None:
            return True
        name = (_unquoted(found["schema"].decode()), _unquoted(found["table"].decode()))
        columns = [_unquoted(each) for each in _NAME.findall(found["columns"].decode())]
        rule = self._rules.get(name)
        place = columns.index(rule.column) if rule and rule.column in columns else None
        self._table = _Table(name, place, rule, len(columns))
        return True


@dataclass
class _Table:
    name: tuple[str, str]
    place: int | None  # of the column that decides; None: every row is kept
    rule: Rule | None
    columns: int
    rows: int = field(default=0)

    def take(self, lines: bytes, target: BinaryIO) -> None:
        """Write those of some whole lines that are kept."""
        self.rows += lines.count(b"\n")
        if self.place is None or self.rule is None:
            target.write(lines)
            return
        wanted = {value.encode() for value in self.rule.values}
        if len(wanted) <= 2 and all(len(value) >= _SHORT or value == b"\\N" for value in wanted):
            kept = self._searched(lines, wanted)
        else:
            kept = self._line_by_line(lines, wanted)
        target.write(b"".join(kept))

    def _line_by_line(self, lines: bytes, wanted: set[bytes]) -> Iterator[bytes]:
        place = self.place or 0
        for line in lines.splitlines(keepends=True):
            if line.rstrip(b"\n").split(b"\t", place + 1)[place] in wanted:
                yield line

    def _searched(self, lines: bytes, wanted: set[bytes]) -> Iterator[bytes]:
        text = b"\n" + lines
        before = b"\n" if self.place == 0 else b"\t"
        behind = b"\n" if self.place == self.columns - 1 else b"\t"
        for value in wanted:
            searched = before + value + behind
            at = text.find(searched)
            while at >= 0:
                start = text.rfind(b"\n", 0, at + 1) + 1
                end = text.index(b"\n", at + 1) + 1
                line = text[start:end]
                if line[:-1].split(b"\t", (self.place or 0) + 1)[self.place or 0] == value:
                    yield line
                at = text.find(searched, end - 1)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def main() -> None:
    """Filter standard input; the arguments are files of the rules and for what passed by."""
    rules_file, told_file = sys.argv[1:3]
    with open(rules_file, encoding="utf-8") as file:  # noqa: PTH123 (starts without more modules)
        rules = {
            (schema, table): Rule(column, tuple(values))
            for schema, table, column, values in json.load(file)
        }
    with (
        open(0, "rb", buffering=0, closefd=False) as source,
        open(1, "wb", buffering=_BLOCK, closefd=False) as target,
    ):
        keeping = RowFilter(rules, target)
        while data := source.read(_BLOCK):
            keeping.write(data)
    if not keeping.is_between_tables:
        sys.exit("the rows of a table are cut off")
    with open(told_file, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump([[*json.loads(name), rows] for name, rows in keeping.passed.items()], file)


if __name__ == "__main__":
    main()
