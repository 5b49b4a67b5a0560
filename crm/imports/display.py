"""An import's progress and outcome for people at a terminal, or for a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from crm.imports.problems import ImportRefusedError
from crm.imports.run import Summary
from crm.imports.staging import Progress as ProgressCallback

_LINE_EVERY = 5.0


@contextmanager
def shown_progress(out: IO[str]) -> Iterator[ProgressCallback]:
    """A progress bar on a terminal, a line now and then anywhere else."""
    console = Console(file=out)
    if console.is_terminal:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=console,
        ) as bar:
            yield _Bar(bar)
    else:
        yield _Lines(out)


class _Bar:
    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, phase: str, done: int, total: int) -> None:
        if phase not in self.tasks:
            self.tasks[phase] = self.bar.add_task(phase, total=total or None)
        self.bar.update(self.tasks[phase], completed=done, total=total or None)


class _Lines:
    def __init__(self, out: IO[str]) -> None:
        self.out = out
        self.last = time.monotonic()

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if total and now - self.last >= _LINE_EVERY:
            self.last = now
            self.out.write(f"{phase}: {done * 100 // total} %\n")
            self.out.flush()


def summary_lines(summary: Summary) -> Iterator[str]:
    """What became of an import, line by line."""
    for file in summary.files:
        yield f"{file['name']}: {file['encoding']}, separated by {file['delimiter']}"
        if file["ignored"]:
            yield f"  columns left out: {', '.join(file['ignored'])}"
    verb = "would be imported" if summary.dry_run else "imported"
    created = ", ".join(
        f"{count:,} {_noun(name, count)}"
        for name, count in summary.created.items()
        if count or name == summary.kind
    )
    yield f"{created} {verb}, of {summary.rows:,} in the file"
    if summary.skipped:
        reasons = ", ".join(f"{count:,} by {name}" for name, count in summary.duplicates.items())
        yield f"{summary.skipped:,} skipped, there already ({reasons})"
        for duplicate in summary.first_duplicates[:10]:
            yield f"  {duplicate}"
        if summary.skipped > 10:
            yield f"  … and {summary.skipped - 10:,} more"
    if summary.dry_run:
        yield "A dry run: nothing was changed."


def refusal_lines(refusal: ImportRefusedError) -> Iterator[str]:
    """Every problem kept, how many there are beyond, and what that means."""
    for problem in refusal.problems:
        yield str(problem)
    if refusal.count > len(refusal.problems):
        yield f"… and {refusal.count - len(refusal.problems):,} more"
    yield str(refusal)


def _noun(name: str, count: int) -> str:
    return name.removesuffix("s") if count == 1 else name
