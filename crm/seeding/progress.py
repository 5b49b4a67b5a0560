"""How a long load says how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Whoever shows it: a bar on a terminal, lines in a log, nothing in a test."""

    def advance(self, rows: int) -> None:
        """So many more rows are written."""


class Silent:
    """Shows nothing."""

    def advance(self, rows: int) -> None:
        """Do nothing."""
