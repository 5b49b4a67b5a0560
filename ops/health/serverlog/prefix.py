"""What stands before each line of a log, as log_line_prefix says (documentation, 19.8)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
# Anything but what ends a severity: names may hold blanks.
_WORDS = r"(?:(?!:  ).)*?"
_ZONE = r"(?:[A-Za-z]+|[+-]\d\d(?::?\d\d)?)"
# Escapes: the name under which a line's part is kept ("" for none), and what it looks like.
_ESCAPES = {
    "a": ("application", _WORDS),
    "u": ("user", _WORDS),
    "d": ("database", _WORDS),
    "r": ("", r"\S*?(?:\(\d+\))?"),
    "h": ("", r"\S*?"),
    "L": ("", r"\S*?"),
    "b": ("", _WORDS),
    "p": ("pid", r"\d+"),
    "P": ("", r"\d*"),
    "t": ("at", rf"{_STAMP} {_ZONE}"),
    "m": ("at", rf"{_STAMP}\.\d+ {_ZONE}"),
    "n": ("epoch", r"\d+\.\d+"),
    "Q": ("", r"-?\d+"),
    "i": ("", _WORDS),
    "e": ("code", r"[0-9A-Z]{5}"),
    "c": ("", r"[0-9a-f]+\.[0-9a-f]+"),
    "l": ("", r"\d+"),
    "s": ("", rf"{_STAMP} {_ZONE}"),
    "v": ("", r"\S*?"),
    "x": ("", r"\d+"),
}
# "LOG:  " with two blanks, in whatever language the server speaks.
_MESSAGE = r"(?P<severity>[^\W\d_]{3,}\d?):  (?P<message>.*)"
_ANY = re.compile(
    r"(?P<before>.*?)(?:DEBUG\d?|INFO|NOTICE|WARNING|ERROR|LOG|FATAL|PANIC|STATEMENT|DETAIL|HINT"
    r"|CONTEXT|QUERY|LOCATION|BACKTRACE):  "
)
_AT = re.compile(rf"(?P<at>{_STAMP}(?:\.\d+)? {_ZONE})")
_PID = re.compile(r"\[(?P<pid>\d+)\]")
_SEVERITY = re.compile(_MESSAGE, re.DOTALL)


def pattern_of(prefix: str) -> re.Pattern[str]:
    """Return what finds the parts of a line that begins with this log_line_prefix."""
    parts: list[str] = []
    named: set[str] = set()
    optional = 0
    position = 0
    escape = re.compile(r"%(-?\d+)?(.)")
    while position < len(prefix):
        found = escape.match(prefix, position)
        if found is None:
            parts.append(re.escape(prefix[position]))
            position += 1
            continue
        position = found.end()
        padded, letter = bool(found[1]), found[2]
        if letter == "q":
            # The server's own processes stop here.
            parts.append("(?:")
            optional += 1
        elif letter in _ESCAPES:
            name, looks = _ESCAPES[letter]
            part = f"(?P<{name}>{looks})" if name and name not in named else f"(?:{looks})"
            named.add(name)
            parts.append(f" *{part} *" if padded else part)
        else:
            parts.append(re.escape(letter) if letter == "%" else "")
    return re.compile("".join(parts) + ")?" * optional + _MESSAGE, re.DOTALL)


def parts_of(line: str, pattern: re.Pattern[str] | None) -> dict[str, str] | None:
    """Return the parts of a line that begins a message; None when it does not.

    A line that the pattern does not fit (the setting was another one then) is taken apart by what
    every prefix tends to have: a time, and a process in brackets.
    """
    if pattern is not None and (found := pattern.match(line)):
        return {name: value for name, value in found.groupdict().items() if value is not None}
    general = _ANY.match(line)
    if general is None:
        return None
    before = general["before"]
    message = _SEVERITY.match(line, len(before))
    assert message is not None
    parts = dict(message.groupdict())
    for looked_for in (_AT, _PID):
        if inside := looked_for.search(before):
            parts |= inside.groupdict()
    return parts


def moment(text: str, zone: str = "UTC") -> datetime | None:
    """Return the moment that a log means, which is in the server's log_timezone; None for none."""
    stamp, _, abbreviation = text.strip().rpartition(" ")
    try:
        naive = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    if abbreviation in {"UTC", "GMT"}:
        return naive.replace(tzinfo=UTC)
    if abbreviation[:1] in "+-":
        try:
            return datetime.fromisoformat(f"{stamp}{abbreviation}")
        except ValueError:
            return None
    try:
        local = naive.replace(tzinfo=ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        return naive.replace(tzinfo=UTC)
    # An hour that comes twice is told by its abbreviation.
    return (local if local.tzname() == abbreviation else local.replace(fold=1)).astimezone(UTC)


def of_epoch(text: str) -> datetime:
    """Return the moment of seconds since 1970."""
    return datetime.fromtimestamp(float(text), UTC)
