"""What an SQL script of pg_dump holds, and which of its statements a private server is given.

Looked at once, it tells whether it is whole, who made it, and what it speaks of; then it is passed
on. Left out is what a private server does not need or what only a superuser may do: it is told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from ops.restores.errors import RefusedError
from ops.restores.files.lexing import Kind, Lexer, Part

_NAME = rb'(?:"(?:[^"]|"")+"|[^\s;,()."]+)'
_QUALIFIED = _NAME + rb"(?:\." + _NAME + rb")?"
_DONE = b"-- PostgreSQL database dump complete"
_BEGUN = b"-- PostgreSQL database dump"
_CLUSTER = b"-- PostgreSQL database cluster dump"
_VERSION = re.compile(rb"-- Dumped (?P<what>from database|by pg_dump) version (?P<major>\d+)")
_RESTRICT = re.compile(rb"\\restrict [A-Za-z0-9]+\s*")
_UNRESTRICT = re.compile(rb"\\unrestrict [A-Za-z0-9]+\s*")
# What may come behind the end.
_HARMLESS = re.compile(rb"(?:RESET|SET|SELECT pg_catalog\.set_config)\b", re.IGNORECASE)
_OF_SESSION = re.compile(
    rb"(?:RESET|SET|SELECT pg_catalog\.set_config|BEGIN|START TRANSACTION)\b", re.IGNORECASE
)


def _re(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


_OWNER = _re(rb"ALTER\b.*\bOWNER TO (?P<role>" + _NAME + rb")\s*;")
_GRANT = _re(
    rb"(?:ALTER DEFAULT PRIVILEGES\b.*\b)?(?:GRANT|REVOKE)\b.*\b(?:TO|FROM) (?P<roles>.+);"
)
_DEFAULTS = _re(rb"ALTER DEFAULT PRIVILEGES FOR ROLE (?P<role>" + _NAME + rb")")
_POLICY = _re(
    rb"CREATE POLICY\b.+?\bON " + _QUALIFIED + rb"(?: AS \w+)?(?: FOR \w+)? TO (?P<roles>.+?)"
    rb"(?: USING\b| WITH CHECK\b|;)"
)
_AUTHORIZATION = _re(rb"SET SESSION AUTHORIZATION (?P<role>.+?)\s*;")
_ROLE_MADE = _re(rb"CREATE (?:ROLE|USER) (?P<role>" + _NAME + rb")")
_EXTENSION = _re(
    rb"CREATE EXTENSION (?:IF NOT EXISTS )?(?P<name>" + _NAME + rb")"
    rb"(?:\s+WITH)?(?:\s+SCHEMA (?P<schema>" + _NAME + rb"))?"
)
_BACKSLASHES = _re(rb"SET standard_conforming_strings\s*(?:=|TO)\s*'?(?:off|false|0)'?\s*;")
_SCHEMA = _re(rb"CREATE SCHEMA (?:IF NOT EXISTS )?(?P<name>" + _NAME + rb")\s*;")
_TABLE = _re(rb"(?:COPY|INSERT INTO) (?P<table>" + _QUALIFIED + rb")")
_CREATED = _re(rb"CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?(?P<table>" + _QUALIFIED + rb")")
_MAKES = _re(rb"(?:CREATE|COPY|INSERT)\b")
_CLEARS = _re(rb"(?:DROP\b|ALTER TABLE\b.*\bDROP (?:CONSTRAINT|EXPRESSION|IDENTITY)\b)")
_SETVAL = _re(rb"SELECT pg_catalog\.setval\('(?P<sequence>(?:[^']|'')+)'")

# What is left out, and what it is called when that is told.
_LEFT_OUT = {
    "roles": _re(rb"(?:CREATE|ALTER|DROP|COMMENT ON) (?:ROLE|USER)\b"),
    "memberships of roles": _re(rb"(?:GRANT|REVOKE)\b(?!.*\bON\b)"),
    "settings of the database": _re(
        rb"(?:CREATE|ALTER|DROP|COMMENT ON) (?:DATABASE|TABLESPACE)\b"
        rb"|SET default_tablespace = (?:[^';\s]|'[^'])"
    ),
    "event triggers": _re(rb"(?:CREATE|ALTER|COMMENT ON) EVENT TRIGGER\b"),
    "publications and subscriptions": _re(
        rb"(?:CREATE|ALTER|COMMENT ON) (?:PUBLICATION|SUBSCRIPTION)\b"
    ),
    "security labels": _re(rb"SECURITY LABEL\b"),
}
# Nobody misses these: they are made otherwise, or there already.
_NEEDLESS = _re(
    rb"(?:ALTER|COMMENT ON) EXTENSION\b|ALTER TABLE\b.*\b(?:DISABLE|ENABLE) TRIGGER ALL\s*;"
    rb"|RESET SESSION AUTHORIZATION\s*;"
)


@dataclass
class Survey:
    """What a script turned out to hold."""

    name: str  # of its file, for people
    is_cluster: bool = False
    is_begun: bool = False
    is_complete: bool = False
    server_major: int | None = None  # of the server it was taken of
    dump_major: int | None = None  # of the pg_dump that wrote it
    size: int = 0  # bytes of SQL
    roles: set[str] = field(default_factory=set)  # it speaks of
    extensions: dict[str, str] = field(default_factory=dict)  # and the schema each is in, or ""
    created: set[str] = field(default_factory=set)  # tables, as "schema.name"
    filled: set[str] = field(default_factory=set)  # that rows come for
    is_between: bool = True

    @property
    def holds_rows_alone(self) -> bool:
        """Whether it fills tables and makes none."""
        return bool(self.filled) and not self.created


def survey(name: str, pieces: Iterator[bytes]) -> Survey:
    """Read a script to its end and return what it holds.

    Raises RefusedError for commands of psql, and for a script that psql would read otherwise.
    """
    found, lexer = Survey(name), Lexer()
    begun = False  # statements of its own have come, not only settings of the session
    for piece in chain(pieces, [b""]):
        found.size += len(piece)
        for part in lexer.feed(piece):
            if part.kind is Kind.COMMAND:
                _require_restriction(found, part, begun=begun)
            elif part.kind is Kind.COMMENT:
                _comment(found, part.text)
            elif part.kind in {Kind.STATEMENT, Kind.BEGINNING}:
                begun = begun or not _OF_SESSION.match(part.text)
                _statement(found, part)
    found.is_between = lexer.is_between
    return found


def _require_restriction(found: Survey, part: Part, *, begun: bool) -> None:
    """Accept the pair of commands that pg_dump itself writes around everything, and no other."""
    if (_RESTRICT.fullmatch(part.text) and not begun) or (
        _UNRESTRICT.fullmatch(part.text) and found.is_complete
    ):
        return
    at = part.text.rfind(b"\\")
    command = part.text[at : at + 40].split(b"\n")[0].decode(errors="replace")
    hint = " Make it without --create." if command.startswith("\\connect") else ""
    raise RefusedError(
        f"Line {part.line:,} of {found.name} holds a command of psql ({command}), which no dump of "
        f"a database needs and which could do anything on this machine. Nothing was begun.{hint}"
    )


def _comment(found: Survey, text: bytes) -> None:
    if text.startswith(_CLUSTER):
        found.is_cluster = True
    elif text.startswith(_DONE):
        found.is_complete = True
    elif text.startswith(_BEGUN):
        found.is_begun = True
    elif version := _VERSION.match(text):
        major = int(version["major"])
        if version["what"] == b"by pg_dump":
            found.dump_major = major
        else:
            found.server_major = major


def _statement(found: Survey, part: Part) -> None:
    text = part.text
    if found.is_complete and not _HARMLESS.match(text):
        found.is_complete = False  # something was added behind the end
    if table := _TABLE.match(text):
        found.filled.add(plain(table["table"]))
        return
    if part.kind is Kind.BEGINNING:
        return
    if _BACKSLASHES.match(text):
        raise RefusedError(
            f"{found.name} writes its texts as servers did before PostgreSQL 9.1 "
            "(standard_conforming_strings is off). Nothing was begun. Dump with that setting on."
        )
    if created := _CREATED.match(text):
        found.created.add(plain(created["table"]))
    elif extension := _EXTENSION.match(text):
        found.extensions[plain(extension["name"])] = plain(extension["schema"] or b"")
    found.roles |= roles_of(text)


def roles_of(text: bytes) -> set[str]:
    """Return the roles that a statement gives something to."""
    found: set[str] = set()
    for pattern in (_OWNER, _DEFAULTS, _AUTHORIZATION, _ROLE_MADE):
        if match := pattern.match(text):
            found.add(plain(match["role"]))
    for pattern in (_GRANT, _POLICY):
        if match := pattern.match(text):
            listed = re.split(rb" (?:WITH|GRANTED BY)\b", match["roles"])[0]
            found |= {plain(each) for each in re.findall(_NAME, listed)}
    return found - {"PUBLIC", "public", "CURRENT_USER", "SESSION_USER", "DEFAULT", ""}


def plain(written: bytes) -> str:
    """Return a name, and "schema.name" for a qualified one, without its quotes."""
    text = written.decode(errors="replace").strip()
    if text.startswith("'"):
        return text.strip("'")
    parts = re.findall(r'"(?:[^"]|"")*"|[^."]+', text)
    return ".".join(
        part[1:-1].replace('""', '"') if part.startswith('"') else part for part in parts
    )


class Passing:
    """Decides, statement by statement, what a private server is given; counts what it is not."""

    def __init__(
        self, *, reserved: set[str], schemas: set[str], tables: set[str] | None = None
    ) -> None:
        # Roles of the private server that no script may give anything to; schemas that are there;
        # and for rows alone, the tables and sequences that are there to take them.
        self._reserved, self._schemas, self._tables = reserved, schemas, tables
        self.left_out: Counter[str] = Counter()
        self._has_made = self._is_dropping = False

    def passed(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield what is to be executed, in pieces."""
        lexer = Lexer()
        for piece in chain(pieces, [b""]):
            for part in lexer.feed(piece):
                if given := self._given(part):
                    yield given

    def _given(self, part: Part) -> bytes:
        match part.kind:
            case Kind.STATEMENT | Kind.BEGINNING:
                given = self._decide(part.text)
                self._is_dropping = not given
                return given
            case Kind.ROWS | Kind.REST:
                return b"" if self._is_dropping else part.text
            case Kind.BLANK:
                return part.text
            case _:
                return b""  # comments; and psql's own commands, of which the survey let one pair by

    def _decide(self, text: bytes) -> bytes:
        table = _TABLE.match(text)
        if table is not None:
            self._has_made = True
            name = plain(table["table"])
            if self._tables is None or name in self._tables:
                return text
            self.left_out[f"rows of {name}, a table that is not in the schema"] += 1
            return b""
        if self._tables is not None and (setval := _SETVAL.match(text)):
            name = plain(setval["sequence"].replace(b"''", b"'"))
            return text if name in self._tables else b""
        if not self._has_made and _CLEARS.match(text):
            return b""  # what it would clear away is not there
        self._has_made = self._has_made or _MAKES.match(text) is not None
        if _NEEDLESS.match(text) or _EXTENSION.match(text):
            return b"RESET ROLE;" if text[:5].upper() == b"RESET" else b""
        if (schema := _SCHEMA.match(text)) and plain(schema["name"]) in self._schemas:
            return b""
        for what, pattern in _LEFT_OUT.items():
            if pattern.match(text):
                self.left_out[what] += 1
                return b""
        return self._with_roles(text)

    def _with_roles(self, text: bytes) -> bytes:
        if authorization := _AUTHORIZATION.match(text):
            role = authorization["role"]
            keep = plain(role) not in self._reserved and role.upper() != b"DEFAULT"
            return b"SET ROLE " + role + b";" if keep else b"RESET ROLE;"
        for pattern in (_OWNER, _DEFAULTS):
            match = pattern.match(text)
            if match is not None and plain(match["role"]) in self._reserved:
                self.left_out[
                    f"what belongs to {plain(match['role'])} here belongs to the owner"
                ] += 1
                return b""
        return text


def told(left_out: Counter[str]) -> list[str]:
    """Return what was left out, a sentence for each kind."""
    return [
        f"Left out: {what}." if count == 1 else f"Left out: {what} ({count:,})."
        for what, count in left_out.items()
    ]
