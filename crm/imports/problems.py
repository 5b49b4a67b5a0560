"""What is wrong with a file, line by line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from crm.errors import CrmError

# People fix a handful and try again; the rest is counted.
KEPT = 100


@dataclass(frozen=True)
class Problem:
    """One thing that keeps a file out. `line` counts from 1; 0 speaks of the whole file."""

    line: int
    text: str
    column: str = ""
    file: str = ""

    def __str__(self) -> str:
        where = [self.file] if self.file else []
        if self.line:
            where.append(f"line {self.line}")
        if self.column:
            where.append(f"column {self.column}")
        return f"{', '.join(where)}: {self.text}" if where else self.text

    def as_dict(self) -> dict[str, str | int]:
        """The problem as JSON has it."""
        return asdict(self)


class Problems:
    """The first problems of an import and the count of all."""

    def __init__(self) -> None:
        self.first: list[Problem] = []
        self.count = 0

    def add(self, problem: Problem) -> None:
        """Put a problem down, once: a flat file of invoices is read twice."""
        if problem in self.first:
            return
        self.count += 1
        if len(self.first) < KEPT:
            self.first.append(problem)

    def extend(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.add(problem)

    def __bool__(self) -> bool:
        return self.count > 0

    def refuse(self) -> None:
        """Raise ImportRefusedError when there is any problem."""
        if self:
            raise ImportRefusedError(self.first, self.count)


class ImportRefusedError(CrmError):
    """The file can't come in as it is. Nothing was imported."""

    def __init__(self, problems: Iterable[Problem], count: int | None = None) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line))
        self.count = len(self.problems) if count is None else count
        things = "1 problem" if self.count == 1 else f"{self.count:,} problems"
        super().__init__(f"{things} found. Nothing was imported; correct the file and try again.")


class ImportCancelledError(CrmError):
    """Somebody stopped the import. Nothing was imported."""

    def __init__(self) -> None:
        super().__init__("Cancelled. Nothing was imported.")


def refuse(text: str, *, line: int = 0, column: str = "", file: str = "") -> ImportRefusedError:
    """An ImportRefusedError with a single problem, to be raised."""
    return ImportRefusedError([Problem(line, text, column, file)])
