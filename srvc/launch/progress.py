"""A line for each step: with a spinner on a terminal, plain in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Progress:
    """Tells the person at the terminal, or whoever reads the log, what is going on."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Print one line."""
        self._console.print(sentence, markup=False)
        sys.stdout.flush()

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Show that this is being done, then that it is done and how long it took."""
        began = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(f"{doing} …"):
                yield
        else:
            self.say(f"{doing} …")
            yield
        self.say(f"✓ {doing} ({time.monotonic() - began:.1f} s)")
