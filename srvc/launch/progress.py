"""A line for each step: with a spinner on a terminal, plain in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console


class Progress:
    """Tells the person at the terminal, or whoever reads the log, what is going on."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Print one line; a terminal that was closed must not keep anything from being stopped."""
        with suppress(OSError):
            self._console.print(sentence, markup=False)
            sys.stdout.flush()

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Show that this is being done, then that it is done and how long it took."""
        began = time.monotonic()
        if self._console.is_terminal:
            with self._spinner(f"{doing} …"):
                yield
        else:
            self.say(f"{doing} …")
            yield
        self.say(f"✓ {doing} ({time.monotonic() - began:.1f} s)")

    @contextmanager
    def _spinner(self, text: str) -> Iterator[None]:
        spinner = self._console.status(text)
        with suppress(OSError):
            spinner.start()
        try:
            yield
        finally:
            with suppress(OSError):
                spinner.stop()
