"""Which table and which columns of the past are held against which of the live database."""

from __future__ import annotations

from dataclasses import dataclass

TableName = tuple[str, str]  # schema, name


@dataclass(frozen=True)
class Pairing:
    """Columns that mean the same on both sides; those that only one side has are left out."""

    columns: list[tuple[str, str]]  # the past's name, the live one
    past: TableName
    live: TableName
    key: tuple[str, ...] = ()  # live names of what tells rows apart; without one, whole rows do

    def past_name(self, live: str) -> str:
        """Return what a live column is called in the past. Raises KeyError."""
        return {new: old for old, new in self.columns}[live]
