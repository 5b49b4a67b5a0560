"""Which column is which field, by the names that other systems give their columns."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from crm.imports.fields import Field
from crm.imports.problems import Problem, refuse

IGNORE = "-"


def simplify(name: str) -> str:
    """A column's name as it is compared: `Zip Code` is `zip_code` is `zipCode`."""
    name = name.replace("#", " number ").replace("%", " percent ").casefold()
    return "".join(
        character for character in unicodedata.normalize("NFKD", name) if character.isalnum()
    )


@dataclass(frozen=True)
class Columns:
    """Where each field stands in a row; several columns are tried in order until one has text."""

    header: tuple[str, ...]
    places: Mapping[str, tuple[int, ...]]
    ignored: tuple[str, ...]

    def __contains__(self, field: str) -> bool:
        return field in self.places

    def name_of(self, field: str) -> str:
        """What the file calls the field's first column."""
        return self.header[self.places[field][0]]

    def mapping(self) -> dict[str, str]:
        """Column to field, for people to look at and change."""
        found = {}
        for field, places in self.places.items():
            for place in places:
                found[self.header[place]] = field
        return {name: found[name] for name in self.header if name in found}


def recognise(
    header: Sequence[str],
    fields: Iterable[Field],
    mapping: Mapping[str, str],
    *,
    line: int,
    file: str,
) -> Columns:
    """Find the fields among a file's columns. `mapping` overrides: column to field, or to `-`.

    Raises ImportRefusedError for a column that is there twice.
    """
    names = [simplify(name) for name in header]
    _refuse_repeated(header, names, line=line, file=file)
    chosen = {simplify(theirs): ours for theirs, ours in mapping.items()}
    ranks: dict[str, tuple[str, int]] = {}
    for field in fields:
        for rank, name in enumerate(field.known_names):
            ranks.setdefault(name, (field.name, rank))
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    ignored = []
    for place, name in enumerate(names):
        if name in chosen:
            field_name, rank = chosen[name], -1
        else:
            field_name, rank = ranks.get(name, (IGNORE, 0))
        if field_name == IGNORE:
            ignored.append(header[place] or f"column {place + 1} (without a name)")
        else:
            places[field_name].append((rank, place))
    return Columns(
        tuple(header),
        {name: tuple(place for _, place in sorted(found)) for name, found in places.items()},
        tuple(ignored),
    )


def _refuse_repeated(header: Sequence[str], names: Sequence[str], *, line: int, file: str) -> None:
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        if name and name in seen:
            raise refuse(
                f"The column “{header[place]}” is there twice, as columns {seen[name] + 1} and "
                f"{place + 1}. Rename or remove one.",
                line=line,
                file=file,
            )
        seen[name] = place


def check_mapping(
    mapping: Mapping[str, str], fields: Iterable[Field], headers: Iterable[Sequence[str]]
) -> dict[str, str]:
    """A mapping with fields by their own names. Raises ImportRefusedError for unknown ones."""
    by_name = {}
    for field in fields:
        by_name[simplify(field.name)] = field.name
        by_name.setdefault(simplify(field.label), field.name)
    there = {simplify(name): name for header in headers for name in header}
    checked = {}
    for theirs, ours in mapping.items():
        if simplify(theirs) not in there:
            columns = ", ".join(filter(None, there.values()))
            raise refuse(f"There is no column “{theirs}” to map. The columns are: {columns}.")
        if ours in {"", IGNORE}:
            checked[theirs] = IGNORE
        elif simplify(ours) in by_name:
            checked[theirs] = by_name[simplify(ours)]
        else:
            known = ", ".join(sorted(set(by_name.values())))
            raise refuse(f"There is no field “{ours}” to map “{theirs}” to. Fields: {known}.")
    return checked


def missing(
    columns: Columns,
    fields: Iterable[Field],
    wanted: Sequence[str],
    what: str,
    *,
    line: int,
    file: str,
) -> Problem | None:
    """The problem of a file in which none of the wanted fields was recognised; None if one was."""
    if any(name in columns for name in wanted):
        return None
    labels = {field.name: field.label for field in fields}
    choices = " or ".join(f"“{labels[name]}”" for name in wanted)
    return Problem(
        line,
        f"No column holds {what}. Name one {choices}, or map it (theirs={wanted[0]}). "
        f"The columns are: {', '.join(filter(None, columns.header))}.",
        file=file,
    )
