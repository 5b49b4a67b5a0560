"""What migrations make, as recorded with the code: recorded.json.

`make schema` writes the file from a database that was just migrated; a test fails until it is
current. Nothing of it comes from the database that is looked at, so whoever can change definitions
there can't change what they are compared with (docs/adr/0022).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ops.health.schema.definitions import Definition

FILE = Path(__file__).with_name("recorded.json")
Name = tuple[str, str]  # the app's label, the migration


@dataclass(frozen=True)
class Recorded:
    """The definitions that a number of migrations make."""

    migrations: frozenset[Name]
    definitions: dict[str, Definition]

    @functools.cached_property
    def tables(self) -> list[str]:
        """The tables' names, without their schema."""
        return sorted({
            each.table.removeprefix("public.").strip('"')
            for each in self.definitions.values()
            if each.kind == "owner" and each.table
        })  # fmt: skip

    def as_json(self) -> str:
        """Return the file's content: an object a line, so that changes can be read and merged."""
        names = ",\n".join(_line(each) for each in sorted(self.migrations))
        rows = ",\n".join(_line(each) for _, each in sorted(self.definitions.items()))
        return f'{{"migrations": [\n{names}\n],\n"definitions": [\n{rows}\n]}}\n'


@functools.cache
def recorded() -> Recorded:
    """Return what is recorded, read once: the file stays as long as the code does."""
    document = json.loads(FILE.read_text())
    definitions = [Definition(*row) for row in document["definitions"]]
    return Recorded(
        frozenset((app, name) for app, name in document["migrations"]),
        {each.key: each for each in definitions},
    )


def _line(row: Iterable[str]) -> str:
    return json.dumps(list(row), ensure_ascii=False)
