"""One message of the server's log, and what it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ops.health.serverlog.masking import masked, masked_values

LEVELS = ("debug", "info", "notice", "warning", "error", "fatal")
_LEVEL_OF = {
    "DEBUG": "debug",
    "INFO": "info",
    "LOG": "info",
    "NOTICE": "notice",
    "WARNING": "warning",
    "ERROR": "error",
    "FATAL": "fatal",
    "PANIC": "fatal",
}
# What people are shown of a LOG message without asking: it cost somebody time.
_WORTH_A_WARNING = {"slow statement", "lock wait", "temporary file"}
_TOPICS = (
    ("slow statement", re.compile(r"duration: (?P<milliseconds>[\d.]+) ms")),
    ("deadlock", re.compile(r"deadlock detected")),
    (
        "lock wait",
        re.compile(
            r"process \d+ (?:still waiting|acquired|avoided deadlock|detected deadlock)"
            r"|canceling statement due to lock timeout|could not obtain lock"
        ),
    ),
    ("temporary file", re.compile(r'temporary file: path ".*", size (?P<bytes>\d+)')),
    ("autovacuum", re.compile(r"automatic (?:aggressive )?(?:vacuum|analyze)")),
    ("checkpoint", re.compile(r"(?:checkpoint|restartpoint)s? ")),
    ("connection", re.compile(r"connection (?:received|authorized|authenticated)|disconnection:")),
)
# What follows a duration: how the statement was sent, then the statement.
_SENT = re.compile(
    r"duration: [\d.]+ ms(?:  (?:(?:statement|(?:execute|bind|parse)[^:]*): |plan:\n)(?P<sql>.*))?",
    re.DOTALL,
)


@dataclass
class Entry:
    """A message with what belongs to it; secrets are out of it already."""

    at: datetime | None  # None: the log does not say
    severity: str  # as the server wrote it
    message: str
    statement: str = ""
    extra: dict[str, str] = field(default_factory=dict)  # detail, hint, context, query
    pid: int | None = None
    user: str = ""
    database: str = ""
    application: str = ""
    code: str = ""  # SQLSTATE
    topic: str = ""
    level: str = "info"
    milliseconds: float | None = None
    bytes: int | None = None

    def close(self) -> Entry:
        """Say what it is about, and take secrets out, when all of it is there."""
        self.topic, found = _topic(self.message)
        if found and found.groupdict().get("milliseconds"):
            self.milliseconds = float(found["milliseconds"])
            if (sent := _SENT.match(self.message)) and sent["sql"]:
                self.statement = self.statement or sent["sql"]
                self.message = f"duration: {self.milliseconds:.3f} ms"
        if found and found.groupdict().get("bytes"):
            self.bytes = int(found["bytes"])
        level = _LEVEL_OF.get(self.severity.rstrip("12345"), "info")
        if not self.topic:
            self.topic = "error" if level in {"error", "fatal"} else "other"
        if level == "info" and self.topic in _WORTH_A_WARNING:
            level = "warning"
        self.level = level
        self.extra = {
            name: masked_values(text, self.statement) for name, text in self.extra.items() if text
        }
        self.message = masked(self.message)
        self.statement = self.statement and masked(self.statement)
        return self

    def is_at_least(self, level: str) -> bool:
        """Whether it is of this level or above."""
        return LEVELS.index(self.level) >= LEVELS.index(level)

    def as_json(self) -> dict[str, Any]:
        """Return what programs are told of it."""
        return {
            "at": self.at,
            "level": self.level,
            "severity": self.severity,
            "topic": self.topic,
            "message": self.message,
            "statement": self.statement or None,
            **({"extra": self.extra} if self.extra else {}),
            "pid": self.pid,
            "user": self.user or None,
            "database": self.database or None,
            "application": self.application or None,
            "code": self.code or None,
            "milliseconds": self.milliseconds,
            "bytes": self.bytes,
        }


def _topic(message: str) -> tuple[str, re.Match[str] | None]:
    for topic, pattern in _TOPICS:
        if found := pattern.match(message):
            return topic, found
    return "", None
