"""A table that is gone comes back as it was defined, in the same transaction as its rows.

The definitions are the dump's own statements. Of these, the ones are run that make what is missing
today and hangs on the table: itself, its indexes, constraints, policies, triggers, grants,
comments and statistics, foreign keys of other tables to it and views that went with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from ops.backups.fingerprint import Fingerprint, fingerprint
from ops.backups.proof import SequenceProof
from ops.postgres import tools
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import one_line
from ops.restores.errors import ConflictError, RefusedError
from ops.restores.partial.shape import Reference

_SECONDS = 600.0  # that reading the definitions may take
_HEADER = re.compile(
    r"^--\n-- Name: (?P<name>.*); Type: (?P<type>.*); Schema: (?P<schema>.*); Owner: (?P<owner>.*)"
    r"\n--\n",
    re.MULTILINE,
)
_KEY = re.compile(
    r"ALTER TABLE (?:ONLY )?(?P<table>\S+)\s+ADD CONSTRAINT .* FOREIGN KEY \((?P<columns>[^)]*)\)"
    r" REFERENCES (?P<to_table>[^\s(]+)\((?P<to_columns>[^)]*)\)"
)
_OF_TABLE = {
    "TABLE", "ROW SECURITY", "DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT",
    "TRIGGER", "POLICY", "RULE", "REPLICA IDENTITY",
}  # fmt: skip
# What may hang on a table under a name of its own, and how the fingerprint calls it.
_NAMED = {
    "INDEX": "index", "STATISTICS": "statistics", "SEQUENCE": "sequence",
    "SEQUENCE OWNED BY": "sequence", "VIEW": "view", "MATERIALIZED VIEW": "materialized view",
}  # fmt: skip
# What hangs on another table, speaks of the one that is gone, and went with it.
_BY_OTHERS = {"FK CONSTRAINT": "constraint", "POLICY": "policy", "RULE": "rule"}
_ABOUT = ("COMMENT", "ACL")
_LAST = {"FK CONSTRAINT"}


@dataclass(frozen=True)
class Definition:
    """One object of a dump, and the statements that make it."""

    name: str
    type: str
    schema: str
    sql: str


@dataclass(frozen=True)
class Recreation:
    """What is to be made anew for tables that are gone."""

    titles: tuple[str, ...]
    definitions: tuple[Definition, ...]
    expected: Mapping[str, str]  # of what is missing today: digests by kind and name
    sequences: Sequence[SequenceProof]

    def begin(self, live: Connection) -> None:
        """Make the tables, empty, and all that may be there before their rows.

        Raises RefusedError for what the database does not let the owner make.
        """
        self._run(live, [each for each in self.definitions if each.type not in _LAST])

    def finish(self, live: Connection) -> None:
        """Add foreign keys, now that the rows are there, and compare with how all of it was.

        Raises ConflictError where rows of today don't fit a key, or where something is otherwise.
        """
        self._run(live, [each for each in self.definitions if each.type in _LAST])
        for each in self.definitions:
            if each.type == "MATERIALIZED VIEW":
                live.execute(
                    sql.SQL("REFRESH MATERIALIZED VIEW {}").format(
                        sql.Identifier(each.schema, each.name)
                    )
                )
        self._place_sequences(live)
        made = fingerprint(live).objects
        wrong = [
            key
            for key, digest in self.expected.items()
            if self._concerns(key) and made.get(key) != digest
        ]
        if wrong:
            raise ConflictError(
                f"Made anew, it would not be as it was: {'; '.join(sorted(wrong)[:10])}. Nothing "
                "was changed. Restore the backup beside (`manage.py restore BACKUP --as NAME`) "
                "and take what you need from there."
            )

    def references(self) -> list[Reference]:
        """Return the foreign keys that will be there once the rows are."""
        found = []
        for each in self.definitions:
            match = _KEY.search(each.sql) if each.type == "FK CONSTRAINT" else None
            if match is not None:
                columns, to_columns = (
                    tuple(name.strip().strip('"') for name in match[part].split(","))
                    for part in ("columns", "to_columns")
                )
                name = each.name.rpartition(" ")[2]
                found.append(
                    Reference(name, match["table"], columns, match["to_table"], to_columns)
                )
        return found

    def notes(self) -> list[str]:
        """Return what is made anew, in sentences."""
        tables = ", ".join(self.titles)
        made = f"made anew, with {len(self.definitions):,} definitions"
        return [f"{tables} is gone today and is {made}."]

    def _concerns(self, key: str) -> bool:
        names = {f"{each.schema}.{each.name}" for each in self.definitions}
        parts = re.split(r"[ (]", key)
        return any(
            key.endswith(f" {title}") or f" {title}." in key or title in parts
            for title in {*self.titles, *names}
        )

    def _run(self, live: Connection, definitions: Iterable[Definition]) -> None:
        with live.transaction():
            path = _scalar(live, "SELECT current_setting('search_path')")
            live.execute("SELECT set_config('search_path', '', true)")
            live.execute("SELECT set_config('check_function_bodies', 'off', true)")
            for each in definitions:
                try:
                    live.execute(each.sql.encode())
                except psycopg.errors.ForeignKeyViolation as error:
                    raise ConflictError(
                        f"{each.name} does not fit today's rows: "
                        f"{error.diag.message_detail or one_line(error)} Nothing was changed."
                    ) from None
                except psycopg.Error as error:
                    raise RefusedError(
                        f"{each.type.lower()} {each.name} can't be made anew: {one_line(error)}. "
                        "Nothing was changed. Restore the backup beside (`manage.py restore "
                        "BACKUP --as NAME`) and take what you need from there."
                    ) from None
            live.execute("SELECT set_config('search_path', %s, true)", [path])

    def _place_sequences(self, live: Connection) -> None:
        """Let sequences that came back stand where they stood, or ahead."""
        ours = {(e.schema, e.name) for e in self.definitions if e.type == "SEQUENCE"}
        for each in self.sequences:
            if (each.schema, each.name) not in ours or not each.is_called:
                continue
            name = sql.Identifier(each.schema, each.name)
            live.execute(
                sql.SQL(
                    "SELECT setval({text}::regclass, {value}) FROM {name} AS s WHERE NOT"
                    " s.is_called OR s.last_value {behind} {value}"
                ).format(
                    text=sql.Literal(name.as_string(live)),
                    value=sql.Literal(each.last_value),
                    name=name,
                    behind=sql.SQL("<" if each.increment > 0 else ">"),
                )
            )


def plan_recreation(
    live: Connection,
    titles: Sequence[str],
    script: str,
    expected: Fingerprint,
    sequences: Sequence[SequenceProof],
) -> Recreation:
    """Return what has to be made for tables that are gone; `script` is the dump's definitions.

    Raises RefusedError where the dump does not define one of them.
    """
    here = fingerprint(live).objects
    missing = {key: digest for key, digest in expected.objects.items() if key not in here}
    definitions = split(script)
    chosen = _select(definitions, titles, missing)
    for title in titles:
        if not any(_title(each) == title and each.type == "TABLE" for each in chosen):
            raise RefusedError(
                f"The backup has rows of {title}, and not its definition. Nothing was changed. "
                "Name a full backup or one of the schema."
            )
    return Recreation(tuple(titles), tuple(chosen), missing, sequences)


def script_of_archive(archive: Path, program: Path) -> str:
    """Return the definitions in a dump, as SQL. Raises ToolError."""
    done = tools.run(program, "--schema-only", "--file=-", archive, seconds=_SECONDS)
    return done.stdout


def script_of_database(endpoint: Endpoint) -> str:
    """Return the definitions of a database, as SQL. Raises ToolError."""
    done = tools.run(
        endpoint.program("pg_dump"),
        "--schema-only",
        *endpoint.arguments(),
        seconds=_SECONDS,
        password=endpoint.password,
    )
    return done.stdout


def split(script: str) -> list[Definition]:
    """Return the objects of a dump's definitions, in the order in which they can be made."""
    heads = list(_HEADER.finditer(script))
    ends = [head.start() for head in heads[1:]] + [len(script)]
    return [
        Definition(
            head["name"], head["type"], head["schema"], _statements(script[head.end() : end])
        )
        for head, end in zip(heads, ends, strict=True)
    ]


def _statements(text: str) -> str:
    """Return an object's statements without psql's own commands, which only end a script."""
    lines = text.splitlines()
    while lines and (not lines[-1].strip() or lines[-1].startswith(("--", "\\unrestrict"))):
        lines.pop()
    return "\n".join(lines)


def _select(
    definitions: Sequence[Definition], titles: Sequence[str], missing: Mapping[str, str]
) -> list[Definition]:
    chosen: set[int] = set()
    bases = set(titles)  # what others may hang on: the tables, and views of them
    grown = True
    while grown:
        grown = False
        for number, each in enumerate(definitions):
            if number in chosen or not _belongs(each, bases, missing):
                continue
            chosen.add(number)
            grown = True
            if each.type in _NAMED:
                bases.add(_title(each))
    return [each for number, each in enumerate(definitions) if number in chosen]


def _belongs(each: Definition, bases: set[str], missing: Mapping[str, str]) -> bool:
    if each.type in _ABOUT:
        return any(base in _about(each) for base in bases)
    if each.type in _OF_TABLE:
        own = any(
            _title(each) == base or f"{_title(each)} ".startswith(f"{base} ") for base in bases
        )
        return own or (_is_gone(each, missing) and _mentions(each.sql, bases))
    kind = _NAMED.get(each.type)
    return kind is not None and f"{kind} {_title(each)}" in missing and _mentions(each.sql, bases)


def _is_gone(each: Definition, missing: Mapping[str, str]) -> bool:
    """Whether what hangs on a table that is still there went with the one that is not."""
    kind = _BY_OTHERS.get(each.type)
    table, _, name = each.name.rpartition(" ")
    return kind is not None and f"{kind} {name} on {_quoted(each.schema, table)}" in missing


def _about(each: Definition) -> set[str]:
    """Return what a comment or grant may be about, by its name in the dump."""
    kind, _, rest = each.name.partition(" ")
    if kind == "COLUMN":
        rest = rest.rpartition(".")[0]
    elif " ON " in rest:
        rest = rest.rpartition(" ON ")[2]
    return {_quoted(each.schema, rest.strip('"')), f"{each.schema}.{rest}"} if kind else set()


def _title(each: Definition) -> str:
    return _quoted(each.schema, each.name)


def _quoted(schema: str, name: str) -> str:
    return ".".join(
        part if re.fullmatch(r"[a-z_][a-z0-9_$]*( .*)?", part) else '"' + part + '"'
        for part in (schema, name)
    )


def _mentions(text: str, bases: set[str]) -> bool:
    return any(
        re.search(rf"(?<![\w\".]){re.escape(base)}(?![\w\"])", text) is not None for base in bases
    )


def _scalar(live: Connection, query: str) -> str:
    row = live.execute(query.encode()).fetchone()
    return str(row[0]) if row else ""
