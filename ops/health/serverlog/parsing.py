"""Lines of a log made into messages: plain ones by log_line_prefix, csvlog, jsonlog."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from ops.health.serverlog.entries import Entry
from ops.health.serverlog.prefix import moment, of_epoch, parts_of, pattern_of

_BELONGS = {
    "DETAIL": "detail",
    "HINT": "hint",
    "CONTEXT": "context",
    "QUERY": "query",
    "LOCATION": "location",
    "BACKTRACE": "backtrace",
}
# Characters of one message that are kept; a plan or a statement may be of any size.
_LONGEST = 100_000
# The columns of csvlog that are told (documentation, 19.8.4), by number.
_CSV_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [^,\"]+,")
_CSV_COLUMNS = 22
_JSON_STAMP = re.compile(r'\{"timestamp":"([^"]+)"')


class Parser(Protocol):
    """Takes lines one by one, and hands out a message when the next one begins."""

    def take(self, line: str) -> Iterator[Entry]:
        """Take the next line, without its end; yield the messages that are whole now."""

    def end(self) -> Iterator[Entry]:
        """Yield what was waiting for more lines: there are none now."""

    def stamp(self, line: str) -> datetime | None:
        """Return when the message that begins on this line is of; None when none begins."""


@dataclass(frozen=True)
class Format:
    """How a server writes its log."""

    prefix: str | None = None  # log_line_prefix; None: nobody knows
    zone: str = "UTC"  # log_timezone


class PlainParser:
    """Lines as log_destination = stderr has them."""

    def __init__(self, known: Format) -> None:
        self._pattern = None if known.prefix is None else pattern_of(known.prefix)
        self._zone = known.zone
        self._entry: Entry | None = None
        self._field = ""  # what a line without a beginning of its own goes on with
        self._length = 0

    def take(self, line: str) -> Iterator[Entry]:
        """Take the next line."""
        parts = None if line.startswith("\t") else parts_of(line, self._pattern)
        if parts is None:
            if self._entry is None:
                # Somebody else's, such as what an archive command says.
                yield Entry(None, "", line[:_LONGEST]).close()
            else:
                self._more("\n" + line.removeprefix("\t"))
            return
        severity, pid = parts["severity"], int(parts["pid"]) if "pid" in parts else None
        if self._entry and self._entry.pid == pid:
            if severity == "STATEMENT":
                self._field, self._length = "statement", 0
                self._more(parts["message"])
                return
            if severity in _BELONGS:
                self._field, self._length = _BELONGS[severity], 0
                self._more(parts["message"])
                return
        yield from self.end()
        self._entry = Entry(
            self._moment(parts),
            severity,
            "",
            pid=pid,
            user=_known(parts.get("user")),
            database=_known(parts.get("database")),
            application=_known(parts.get("application")),
            code=parts.get("code", ""),
        )
        self._field, self._length = "message", 0
        self._more(parts["message"])

    def end(self) -> Iterator[Entry]:
        """Yield the last message."""
        if self._entry is not None:
            yield self._entry.close()
        self._entry = None

    def stamp(self, line: str) -> datetime | None:
        """Return when a line is of."""
        if line.startswith("\t"):
            return None
        parts = parts_of(line, self._pattern)
        return self._moment(parts) if parts else None

    def _moment(self, parts: dict[str, str]) -> datetime | None:
        if "at" in parts:
            return moment(parts["at"], self._zone)
        return of_epoch(parts["epoch"]) if "epoch" in parts else None

    def _more(self, text: str) -> None:
        assert self._entry is not None
        room = _LONGEST - self._length
        text = text if len(text) <= room else text[: max(0, room)]
        self._length += len(text)
        if self._field in {"message", "statement"}:
            setattr(self._entry, self._field, getattr(self._entry, self._field) + text)
        else:
            extra = self._entry.extra
            extra[self._field] = extra.get(self._field, "") + text


class CsvParser:
    """Lines as log_destination = csvlog has them; a quoted field may go over several."""

    def __init__(self, known: Format) -> None:
        self._zone = known.zone
        self._lines: list[str] = []
        self._length = 0

    def take(self, line: str) -> Iterator[Entry]:
        """Take the next line."""
        if not self._lines and not _CSV_STAMP.match(line):
            return  # the rest of a message whose beginning was not read
        self._lines.append(line)
        self._length += len(line)
        whole = "\n".join(self._lines)
        if whole.count('"') % 2 == 0 or self._length > 10 * _LONGEST:
            self._lines, self._length = [], 0
            yield from self._entries(whole)

    def end(self) -> Iterator[Entry]:
        """Yield nothing: half a record says nothing."""
        return iter(())

    def stamp(self, line: str) -> datetime | None:
        """Return when a line is of."""
        found = _CSV_STAMP.match(line)
        return moment(found[0].rstrip(","), self._zone) if found else None

    def _entries(self, record: str) -> Iterator[Entry]:
        try:
            row = next(csv.reader([record.replace("\n", "\r")]))
        except (csv.Error, StopIteration):
            return
        if len(row) < _CSV_COLUMNS:
            return
        row = [field.replace("\r", "\n")[:_LONGEST] for field in row]
        yield Entry(
            moment(row[0], self._zone),
            row[11],
            row[13],
            statement=row[19],
            extra={"detail": row[14], "hint": row[15], "query": row[16], "context": row[18]},
            pid=int(row[3]) if row[3].isdigit() else None,
            user=row[1],
            database=row[2],
            application=row[22] if len(row) > _CSV_COLUMNS else "",
            code=row[12],
        ).close()


class JsonParser:
    """Lines as log_destination = jsonlog has them: a message a line."""

    def __init__(self, known: Format) -> None:
        self._zone = known.zone

    def take(self, line: str) -> Iterator[Entry]:
        """Take the next line."""
        try:
            found: Any = json.loads(line)
        except ValueError:
            return
        if not isinstance(found, dict) or "error_severity" not in found:
            return
        text: Callable[[str], str] = lambda name: str(found.get(name) or "")[:_LONGEST]  # noqa: E731
        yield Entry(
            moment(text("timestamp"), self._zone),
            text("error_severity"),
            text("message"),
            statement=text("statement"),
            extra={
                "detail": text("detail"),
                "hint": text("hint"),
                "query": text("internal_query"),
                "context": text("context"),
            },
            pid=found.get("pid") if isinstance(found.get("pid"), int) else None,
            user=text("user"),
            database=text("dbname"),
            application=text("application_name"),
            code=text("state_code"),
        ).close()

    def end(self) -> Iterator[Entry]:
        """Yield nothing: each line was whole."""
        return iter(())

    def stamp(self, line: str) -> datetime | None:
        """Return when a line is of."""
        found = _JSON_STAMP.match(line)
        return moment(found[1], self._zone) if found else None


def parser_for(name: str, known: Format) -> Parser:
    """Return what reads a file, by its name's ending, as the server gives it."""
    if name.endswith(".csv"):
        return CsvParser(known)
    return JsonParser(known) if name.endswith(".json") else PlainParser(known)


def _known(value: str | None) -> str:
    return "" if value in {None, "[unknown]"} else str(value)
