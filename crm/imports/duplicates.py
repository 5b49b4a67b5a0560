"""Rows that are there already, in the account or further up in the file: skipped and counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crm.imports.staging import Sheet, StagingTable


@dataclass(frozen=True)
class DuplicateRule:
    """Rows with the same non-empty values are the same thing. `r` is the file's, `e` ours."""

    name: str
    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    when: str = "true"


@dataclass(frozen=True)
class Duplicate:
    """A row that was skipped: why, and like which line of the file; 0 for a row we had."""

    line: int
    reason: str
    like_line: int
    file: str = ""

    def __str__(self) -> str:
        where = f"line {self.like_line}" if self.like_line else "a row that was there before"
        place = f"{self.file}, line {self.line}" if self.file else f"line {self.line}"
        return f"{place}: same {self.reason} as {where}"


def mark_duplicates(
    sheet: Sheet, table: StagingTable, target: str, rules: Iterable[DuplicateRule]
) -> None:
    """Mark what the target table has, then what the file repeats, one rule after the other."""
    for rule in rules:
        given = " AND ".join([f"({rule.when})", *(f"{key} <> ''" for key in rule.theirs)])
        same = " AND ".join(
            f"{ours} = {theirs}" for ours, theirs in zip(rule.ours, rule.theirs, strict=True)
        )
        sheet.execute(
            f"UPDATE {table.name} r SET skip = %(reason)s, skip_line = 0 FROM {target} e "
            f"WHERE r.skip IS NULL AND {given} AND e.user_id = %(account)s AND {same}",
            reason=rule.name,
        )
        keys = ", ".join(rule.theirs)
        sheet.execute(
            f"UPDATE {table.name} r SET skip = %(reason)s, skip_line = seen.line FROM ("
            f"SELECT n, first_value(line) OVER same AS line, row_number() OVER same AS place "
            f"FROM {table.name} r WHERE r.skip IS NULL AND {given} "
            f"WINDOW same AS (PARTITION BY {keys} ORDER BY n)) seen "
            "WHERE r.n = seen.n AND seen.place > 1",
            reason=rule.name,
        )


def count_duplicates(sheet: Sheet, table: StagingTable) -> tuple[dict[str, int], list[Duplicate]]:
    """How many rows are skipped for which reason, and the first hundred of them."""
    counts = dict(
        sheet.fetch(
            f"SELECT skip, count(*) FROM {table.name} WHERE skip IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
    )
    first = [
        Duplicate(line, reason, like, sheet.file_name(file))
        for file, line, reason, like in sheet.fetch(
            f"SELECT file, line, skip, coalesce(skip_line, 0) FROM {table.name} "
            "WHERE skip IS NOT NULL ORDER BY n LIMIT 100"
        )
    ]
    return counts, first
