"""Programs read and written as streams: they end when told to, and never hang on what they say."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ops.postgres import processes, tools
from ops.postgres.errors import ToolError
from ops.postgres.processes import StreamingProcess, WritingProcess
from srvc.environment import BASE_DIR

SHELL = Path("/bin/sh")
ENVIRONMENT = tools.environment()


def reading(script: str, **options: object) -> StreamingProcess:
    return StreamingProcess(SHELL, "-c", script, environment=ENVIRONMENT, **options)  # type: ignore[arg-type]


def writing(script: str, **options: object) -> WritingProcess:
    return WritingProcess(SHELL, "-c", script, environment=ENVIRONMENT, **options)  # type: ignore[arg-type]


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended within a generous moment."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_what_it_writes_is_read_while_it_runs() -> None:
    with reading("echo one; read line; echo two", stdin=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"one\n"
        assert process.poll() is None
        process.kill()
    with reading("head -c 3000000 /dev/zero") as process:
        assert len(process.stdout.read()) == 3_000_000
        process.finish(20)
        assert process.poll() == 0


def test_a_program_that_talks_without_end_is_not_held_up_and_keeps_its_last_words() -> None:
    chatter = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done >&2; "
    with reading(
        chatter + "head -c 300000 /dev/zero | tr '\\0' x >&2; echo >&2; exit 3"
    ) as process:
        assert process.stdout.read() == b""
        with pytest.raises(ToolError) as refusal:
            process.finish(60)
    assert str(refusal.value).startswith("sh failed (3): xxxx")
    assert len(str(refusal.value)) < 20_000


def test_no_more_than_the_last_lines_are_kept() -> None:
    with subprocess.Popen(["/usr/bin/seq", "1", "1000"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        heard = processes.Listener(process.stdout, None)
        heard.join()
    assert list(heard.lines) == [str(number) for number in range(951, 1001)]


def test_its_progress_can_be_watched() -> None:
    lines: list[str] = []
    with reading("echo one >&2; printf 'tw\\377o\\n' >&2", on_line=lines.append) as process:
        process.finish(20)
    assert lines == ["one", "tw\ufffdo"]


def test_a_watcher_that_fails_stops_neither_the_program_nor_the_listening(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(line: str) -> None:
        raise RuntimeError("the terminal is gone")

    with reading("echo one >&2; echo two >&2; echo done", on_line=fail) as process:
        assert process.stdout.read() == b"done\n"
        process.finish(20)
    assert process.last_words() == "one / two"
    assert [record.message for record in caplog.records] == [
        "progress could not be shown; it is left out from here on"
    ]


def test_leaving_ends_it_with_its_children_even_when_they_will_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "_SECONDS_TO_END", 0.2)
    with reading("trap '' TERM; (trap '' TERM; echo $$; exec sleep 1000) & wait; wait") as process:
        process.stdout.readline()
        group = psutil.Process(process.pid).children(recursive=True)
        assert group
    assert process.poll() == -signal.SIGKILL
    assert all(is_gone(child.pid) for child in group)
    process.kill()


def test_a_program_that_takes_too_long_is_stopped() -> None:
    with (
        reading("exec sleep 1000") as process,
        pytest.raises(ToolError, match=r"^sh did not finish within 0 seconds and was stopped\.$"),
    ):
        process.finish(0.1)
    assert process.poll() == -signal.SIGTERM


def test_a_program_that_was_killed_is_told_apart_from_one_that_failed() -> None:
    with (
        reading("echo so far >&2; kill -KILL $$") as process,
        pytest.raises(ToolError, match=r"^sh was ended by SIGKILL: so far$"),
    ):
        process.finish(20)


def test_a_missing_program_is_told() -> None:
    nowhere = Path("/nonexistent/pg_dump")
    with pytest.raises(ToolError, match=r"^/nonexistent/pg_dump could not be run: No such file"):
        StreamingProcess(nowhere, environment=ENVIRONMENT)


def test_what_is_written_arrives_whole() -> None:
    lines: list[str] = []
    with writing("wc -c", on_output=lines.append) as process:
        for _ in range(30):
            process.stdin.write(b"x" * 100_000)
        process.finish(20)
    assert [line.strip() for line in lines] == ["3000000"]


def test_a_reader_that_died_breaks_the_pipe_and_then_tells_why() -> None:
    with writing("echo cannot go on >&2; exit 4") as process:
        with pytest.raises(BrokenPipeError):
            process.stdin.write(b"x" * 10_000_000)
        with pytest.raises(ToolError, match=r"^sh failed \(4\): cannot go on$"):
            process.finish(20)


def test_a_writer_ends_when_we_are_killed() -> None:
    script = (
        "from tests.ops.postgres.test_processes import *\n"
        "process = reading('exec yes')\n"
        "process.stdout.read(10)\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=BASE_DIR, stdout=subprocess.PIPE, text=True
    ) as ours:
        assert ours.stdout is not None
        pid = int(ours.stdout.readline())
        assert psutil.pid_exists(pid)
        os.kill(ours.pid, signal.SIGKILL)
    assert is_gone(pid)
