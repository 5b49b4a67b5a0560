"""Finding the table that somebody means, by what they typed."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from ops.health.catalogue import NOT_OURS
from ops.health.context import Context
from ops.health.errors import HealthError
from ops.health.quoting import quoted

_NAME = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^".\s][^".]*?))\s*(\.|$)')
_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "m": "materialized view",
    "v": "view",
    "f": "foreign table",
}


@dataclass(frozen=True)
class Relation:
    """A table, a view or the like."""

    oid: int
    schema: str
    name: str
    kind: str  # relkind

    @property
    def title(self) -> str:
        """As SQL wants it."""
        return quoted(self.schema, self.name)

    @property
    def noun(self) -> str:
        """What it is."""
        return _KINDS[self.kind]


def find_relation(context: Context, typed: str) -> Relation:
    """Return the table that `typed` names: TABLE, SCHEMA.TABLE, parts in double quotes or not.

    As in SQL, names without quotes are in lower case; unlike there, one that fits in any case of
    letters is taken when it is the only one. Raises HealthError, with the names that come near.
    """
    parts = _parts(typed)
    everything = [Relation(*row) for row in context.rows(_RELATIONS)]
    schemas = {part for part, _ in parts[:-1]}
    for same in (_exactly, _in_any_case):
        fitting = [
            each
            for each in everything
            if same(each.name, *parts[-1]) and (len(parts) == 1 or same(each.schema, *parts[0]))
        ]
        if len(parts) == 1 and len(fitting) > 1:
            fitting = [each for each in fitting if each.schema == "public"] or fitting
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            names = ", ".join(each.title for each in fitting)
            raise HealthError(f"{typed} may be any of {names}. Nothing was shown; name the schema.")
    near = _near(".".join(name for name, _ in parts), everything)
    where = f" in the schema {next(iter(schemas))}" if schemas else ""
    hint = f" Near it: {', '.join(near)}." if near else " `manage.py inspect` lists all of them."
    raise HealthError(f"There is no table {parts[-1][0]}{where}.{hint}")


def _parts(typed: str) -> list[tuple[str, bool]]:
    """Take a name apart: each part, and whether it stood in quotes."""
    found: list[tuple[str, bool]] = []
    position = 0
    while position < len(typed) or not found:
        match = _NAME.match(typed, position)
        if match is None:
            break
        in_quotes = match[1] is not None
        found.append((match[1].replace('""', '"') if in_quotes else match[2], in_quotes))
        position = match.end()
        if match[3] == "":
            break
    if position < len(typed) or not 1 <= len(found) <= 2 or typed.rstrip().endswith("."):
        raise HealthError(
            f"{typed!r} is no table's name. Nothing was shown. Its forms are TABLE, SCHEMA.TABLE "
            'and "Schema"."Table".'
        )
    return found


def _exactly(name: str, part: str, in_quotes: bool) -> bool:
    return name == (part if in_quotes else part.lower())


def _in_any_case(name: str, part: str, in_quotes: bool) -> bool:
    return name == part if in_quotes else name.lower() == part.lower()


def _near(typed: str, everything: list[Relation]) -> list[str]:
    known = {each.name.lower(): each.title for each in everything}
    known |= {f"{each.schema}.{each.name}".lower(): each.title for each in everything}
    close = difflib.get_close_matches(typed.lower(), known, n=5, cutoff=0.6)
    inside = [name for name in known if typed.lower() in name][:5]
    return list(dict.fromkeys(known[name] for name in (*close, *inside)))[:5]


_RELATIONS = f"""
    SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND c.relpersistence <> 't' AND {NOT_OURS}
    ORDER BY 2, 3
"""  # noqa: S608 (constants)
