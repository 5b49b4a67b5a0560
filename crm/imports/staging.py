"""Checked rows on their way in: temporary tables, filled by COPY, gone with the transaction.

They belong to the role of whoever imports, so everything that follows is plain SQL under that
role's policies: no row gets past row security, and none waits in Python's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.db import connection

from crm.imports.fields import Context
from crm.imports.problems import Problem, Problems

# Rows written between two looks at whether somebody cancelled.
CHUNK = 5_000
_OWN_COLUMNS = (
    ("n", "int"),
    ("file", "int"),
    ("line", "int"),
    ("skip", "text"),
    ("skip_line", "int"),
)


class Progress(Protocol):
    """Told how far an import is; raises ImportCancelledError when it is to stop."""

    def __call__(self, phase: str, done: int, total: int) -> None: ...


def silent(phase: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class StagingTable:
    """A temporary table: what the kind needs, and where each row came from."""

    name: str
    columns: tuple[tuple[str, str], ...]
    # Filled in later by SQL, not by COPY.
    resolved: tuple[tuple[str, str], ...] = ()

    def create_sql(self) -> str:
        columns = (*_OWN_COLUMNS, *self.columns, *self.resolved)
        definition = ", ".join(f"{name} {kind}" for name, kind in columns)
        # A preview leaves its tables to its savepoint; the rest goes with the transaction.
        return f"CREATE TEMPORARY TABLE {self.name} ({definition}) ON COMMIT DROP"

    def copy_sql(self) -> str:
        names = ", ".join(["n", "file", "line", *(name for name, _ in self.columns)])
        return f"COPY {self.name} ({names}) FROM STDIN"


@dataclass
class Sheet:
    """The import under way: where it goes, what is wrong, what became of it."""

    context: Context
    files: list[str]
    progress: Progress = silent
    problems: Problems = field(default_factory=Problems)
    created: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    # Whether every row was read; a preview reads the first ones.
    complete: bool = True

    def execute(self, sql: str, **values: Any) -> int:
        """Run a statement; how many rows it touched.

        `%(account)s`, `%(currency)s` and `%(including)s` (prices include tax) are the account's.
        """
        with connection.cursor() as cursor:
            cursor.execute(sql, {**self._common, **values})
            touched: int = cursor.rowcount
            return touched

    def fetch(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """Run a query."""
        with connection.cursor() as cursor:
            cursor.execute(sql, {**self._common, **values})
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    @property
    def _common(self) -> dict[str, Any]:
        return {
            "account": self.context.account_id,
            "currency": self.context.currency,
            "including": self.context.prices_include_tax,
        }

    def load(self, table: StagingTable, rows: Iterable[tuple[Any, ...]]) -> None:
        """Make a staging table and COPY the rows into it; they begin with n, file and line."""
        with connection.cursor() as cursor:
            cursor.execute(table.create_sql())
            with cursor.copy(table.copy_sql()) as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(f"ANALYZE {table.name}")

    def in_chunks(self, table: StagingTable, sql: str, *, phase: str = "Writing") -> int:
        """Run an INSERT … SELECT over the rows to keep, a chunk of `n` at a time."""
        written = 0
        ((low, high),) = self.fetch(f"SELECT min(n), max(n) FROM {table.name} WHERE skip IS NULL")
        # `n` counts through all files: invoices and their lines have ranges of their own.
        total = 0 if low is None else high - low + 1
        for first in range(low or 0, (low or 0) + total, CHUNK):
            last = min(first + CHUNK - 1, high)
            self.progress(phase, first - low, total)
            chunk = f"r.skip IS NULL AND r.n BETWEEN {first} AND {last}"
            # Triggers keep the plans they made while the tables were empty: a scan of everything,
            # for every row. Planned anew for each chunk they follow the tables' growth.
            self.execute("DISCARD PLANS")
            written += self.execute(sql.replace("{chunk}", chunk))
        self.progress(phase, total, total)
        return written

    def check(
        self, table: StagingTable, wrong: str, text: Callable[[Any], str], value: str = "NULL"
    ) -> None:
        """Put down every row to keep for which `wrong` is true; `value` is told to `text`."""
        source = f"FROM {table.name} r WHERE r.skip IS NULL AND ({wrong})"
        rows = self.fetch(f"SELECT r.file, r.line, {value} {source} ORDER BY r.n LIMIT 100")
        for file, line, shown in rows:
            self.problems.add(Problem(line, text(shown), file=self.file_name(file)))
        if len(rows) == 100:
            ((count,),) = self.fetch(f"SELECT count(*) {source}")
            self.problems.count += count - len(rows)

    def file_name(self, number: int) -> str:
        """The file's name where there are several; one file needs no naming."""
        return self.files[number] if len(self.files) > 1 else ""
