"""Which backups build on which: a base and the incremental ones after it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Self

from ops.models import Backup
from ops.models.backups import PHYSICAL


@dataclass(frozen=True)
class Chain:
    """A backup's place in its chain."""

    parents: list[Backup]  # the base first
    children: list[Backup]  # those that need it, oldest first

    @property
    def words(self) -> str:
        """The place in words, for a cell of the list."""
        if self.parents:
            said = f"link {len(self.parents) + 1}"
            number = len(self.children)
            return f"{said}, {number} need{'s' if number == 1 else ''} it" if number else said
        return f"base of {len(self.children)}" if self.children else ""


class Chains:
    """All physical backups, read at once: hundreds of short rows at most."""

    def __init__(self, rows: list[Backup]) -> None:
        self._rows = {row.pk: row for row in rows}
        self._children: dict[int, list[Backup]] = defaultdict(list)
        for row in rows:
            if row.parent_id is not None:
                self._children[row.parent_id].append(row)

    @classmethod
    def load(cls) -> Self:
        """Read them."""
        rows = Backup.objects.of_kind(*PHYSICAL).order_by("taken_at", "pk")
        return cls(list(rows.only("pk", "name", "kind", "state", "taken_at", "size", "parent_id")))

    def of(self, backup: Backup) -> Chain:
        """Return where a backup stands."""
        parents: list[Backup] = []
        above = self._rows.get(backup.parent_id or 0)
        while above is not None and above not in parents:
            parents.insert(0, above)
            above = self._rows.get(above.parent_id or 0)
        below: list[Backup] = []
        waiting = list(self._children[backup.pk])
        while waiting:
            below.append(waiting.pop(0))
            waiting += self._children[below[-1].pk]
        return Chain(parents, below)
