"""Programs that run while we read what they write, or write what they read.

Each runs in a session of its own, so that Ctrl-C in a terminal is for us to act upon. Nothing here
can act when this process is killed by kill -9, and nothing needs to: the kernel closes the pipe, a
program that writes gets SIGPIPE with its next write, and one that reads meets the end of its input.
For pg_restore that end is an error; psql takes it for the end of the script and would commit, so
a script for psql ends with the COMMIT it needs.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from ops.postgres import tools
from ops.postgres.account import Account
from ops.postgres.errors import ToolError

logger = logging.getLogger(__name__)

PIPE_BYTES = 1024 * 1024  # the most an ordinary user may ask the kernel for
_BUFFER_BYTES = 256 * 1024
_KEPT_LINES = 50
_LONGEST_LINE = 4096  # bytes; a longer one is kept in pieces
_SECONDS_TO_END = 5.0


class _Process:
    """What both have in common: starting, watching the error output, ending."""

    _process: subprocess.Popen[bytes]

    def __init__(
        self,
        program: Path,
        *arguments: str | os.PathLike[str],
        environment: Mapping[str, str],
        account: Account | None,
        on_line: Callable[[str], None] | None,
        stdin: int | IO[Any],
        stdout: int,
    ) -> None:
        self.program = program
        options: dict[str, Any] = account.subprocess_options() if account else {}
        try:
            self._process = subprocess.Popen(
                [program, *arguments],
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                bufsize=_BUFFER_BYTES,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
                **options,
            )
        except OSError as error:
            raise ToolError(f"{program} could not be run: {error.strerror}.") from error
        assert self._process.stderr is not None
        self._said = Listener(self._process.stderr, on_line)

    @property
    def pid(self) -> int:
        """The process id, which is its group's and its session's as well."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, or None while it runs."""
        return self._process.poll()

    def last_words(self) -> str:
        """Return the end of its error output, as one line."""
        return tools.last_words("\n".join(self._said.lines))

    def finish(self, seconds: float) -> None:
        """Wait for the end. Raises ToolError with its last words when it failed or took too long.

        A program whose output nobody has read to the end cannot finish.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ToolError(
                f"{self.program.name} did not finish within {seconds:.0f} seconds and was stopped."
            ) from None
        self._close()
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            raise ToolError(f"{self.program.name} was ended by {name}: {self.last_words()}")
        if code:
            raise ToolError(f"{self.program.name} failed ({code}): {self.last_words()}")

    def kill(self) -> None:
        """End it and its children: asked first, forced after five seconds. Twice does no harm."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_SECONDS_TO_END)
            # Children that outlived it are still in its group, so the number is nobody else's.
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _close(self) -> None:
        """Let go of the pipes once the program has ended."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what it did not take is of no use any more
                    pipe.close()
        self._said.join()


class StreamingProcess(_Process):
    """A program whose standard output is read as a stream while it runs.

    `on_line` gets each line of its error output, from a thread of its own.
    """

    def __init__(
        self,
        program: Path,
        *arguments: str | os.PathLike[str],
        environment: Mapping[str, str],
        account: Account | None = None,
        stdin: int | IO[Any] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(
            program,
            *arguments,
            environment=environment,
            account=account,
            on_line=on_line,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.stdout: IO[bytes] = self._process.stdout
        _widen(self.stdout)


class WritingProcess(_Process):
    """A program that is fed through its standard input while it runs.

    Its output is dropped, unless `on_output` gets it line by line. When it dies early, writing
    raises BrokenPipeError; `finish` then tells why.
    """

    def __init__(
        self,
        program: Path,
        *arguments: str | os.PathLike[str],
        environment: Mapping[str, str],
        account: Account | None = None,
        on_line: Callable[[str], None] | None = None,
        on_output: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(
            program,
            *arguments,
            environment=environment,
            account=account,
            on_line=on_line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if on_output else subprocess.DEVNULL,
        )
        assert self._process.stdin is not None
        self.stdin: IO[bytes] = self._process.stdin
        _widen(self.stdin)
        self._output: Listener | None = None
        if self._process.stdout is not None:
            self._output = Listener(self._process.stdout, on_output)

    def finish(self, seconds: float) -> None:
        """Close its input and wait for the end. Raises ToolError as StreamingProcess does."""
        with contextlib.suppress(BrokenPipeError):  # it died: its exit status says more
            self.stdin.close()
        super().finish(seconds)

    def _close(self) -> None:
        if self._output is not None:
            self._output.join()
        super()._close()


class Listener:
    """Reads a pipe to its end in a thread, so that the program never waits for us to listen.

    It keeps the last lines only: a program may say as much as it likes.
    """

    def __init__(self, pipe: IO[bytes], on_line: Callable[[str], None] | None) -> None:
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._pipe = pipe
        self._on_line = on_line
        self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until everything is heard; a grandchild that holds the pipe is not waited for."""
        self._thread.join(_SECONDS_TO_END)
        if not self._thread.is_alive():
            self._pipe.close()

    def _listen(self) -> None:
        while raw := self._pipe.readline(_LONGEST_LINE):
            line = raw.decode(errors="replace").rstrip("\r\n")
            self.lines.append(line)
            if self._on_line is not None:
                self._tell(line)

    def _tell(self, line: str) -> None:
        try:
            assert self._on_line is not None
            self._on_line(line)
        except Exception:
            # Whoever shows progress must not stop the backup by failing at it.
            logger.exception("progress could not be shown; it is left out from here on")
            self._on_line = None


def _widen(pipe: IO[bytes]) -> None:
    """Give the pipe a large buffer where the system has it: fewer switches between processes."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # the user's share of pipe memory is used up
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
