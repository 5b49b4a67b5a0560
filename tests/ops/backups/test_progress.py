"""How far a task is, as a terminal, cron and a program are told."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ops.management.progress import LINE_EVERY, Lines, make_progress, status
from ops.progress import Counter
from tests.ops.backups.terminal import Terminal


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_for_each_phase_and_one_now_and_then() -> None:
    out, clock = io.StringIO(), Clock()
    progress = Lines(out, clock)
    progress.phase("dumping", 4_000_000, "bytes")
    for _ in range(4):
        clock.now += LINE_EVERY / 3
        progress.advance(500_000)
    progress.phase("signing")
    progress.say("Why this is a base.")

    assert out.getvalue() == (
        "dumping …\n"
        "dumping: 1.5 MB of 4.0 MB, 50.0 kB/s, 50 s left\n"
        "signing …\n"
        "Why this is a base.\n"
    )


@pytest.mark.parametrize(
    ("done", "total", "unit", "told"),
    [
        (0, None, "", ""),
        (0, 10, "bytes", "0 bytes of 10 bytes, 0 bytes/s"),
        (2_000_000, None, "bytes", "2.0 MB, 1.0 MB/s"),
        (2_000_000, 8_000_000, "bytes", "2.0 MB of 8.0 MB, 1.0 MB/s, 6.0 s left"),
        (9_000_000, 8_000_000, "bytes", "9.0 MB, 4.5 MB/s"),  # a guess that was too low
        (3, 1200, "tables", "3 of 1,200 tables"),
        (3, None, "files", "3 files"),
    ],
)
def test_it_tells_what_can_be_known(done: int, total: int | None, unit: str, told: str) -> None:
    progress = Counter()
    progress.phase("dumping", total, unit)
    progress.advance(done)
    assert status(progress, progress.phase_began + 2) == told


def test_programs_are_told_nothing() -> None:
    out = io.StringIO()
    with make_progress(out, json=True) as progress:
        progress.phase("dumping", 10, "bytes")
        progress.advance(10)
        progress.say("a sentence")
    assert out.getvalue() == ""


def test_a_terminal_has_a_bar_that_leaves_sentences_behind() -> None:
    with Terminal() as terminal:
        with make_progress(terminal.stream) as progress:
            progress.phase("dumping", 8_000_000, "bytes")
            progress.advance(2_000_000)
            progress.say("Why [this] is a base.")
            progress.phase("waiting")
        shown = terminal.text()
    assert "dumping" in shown
    assert "2.0 MB of 8.0 MB" in shown
    assert "Why [this] is a base." in shown
    assert "waiting" in shown


def test_a_log_that_can_not_be_written_stops_nothing() -> None:
    out = io.StringIO()
    progress = Lines(out)
    out.close()
    progress.phase("dumping")
    assert progress.name == "dumping"


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with Terminal() as terminal, make_progress(terminal.stream) as progress:
        assert Console(file=terminal.stream).is_terminal
        assert isinstance(progress, Lines)
