"""A report: rows under columns that say how to write them; for terminals, pages and programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any


class Form(Enum):
    """What the values of a column are. None is written as nothing in each."""

    TEXT = auto()  # also a list of them
    STATEMENT = auto()  # SQL; a terminal shows its beginning
    NUMBER = auto()
    BYTES = auto()
    SHARE = auto()  # 0 to 1
    MILLISECONDS = auto()
    SECONDS = auto()
    MOMENT = auto()
    FLAG = auto()


@dataclass(frozen=True)
class Column:
    """One column of a report."""

    name: str  # for programs
    title: str  # for people
    form: Form = Form.TEXT
    # The colour of a value, as rich names them; for those that should stand out.
    style: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Report:
    """Rows, and what could not be seen or should be known about them."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...] = ()
    notes: tuple[str, ...] = ()
