"""The processes beside the launcher: started, watched, stopped, and found again after kill -9."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from srvc.environment import BASE_DIR

_CALM = 60.0  # after a minute alive a crash counts as the first one again
_LONGEST_PAUSE = 60.0


class Child:
    """One long-running process, started again when it dies."""

    def __init__(
        self, name: str, command: list[str], folder: Path, *, seconds_to_stop: float
    ) -> None:
        self.name = name
        self._command = command
        self._pid_file = folder / f"{name}.pid"
        self._seconds_to_stop = seconds_to_stop
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._crashes = 0
        self._due: float | None = None
        self._asked: float | None = None

    def start(self) -> None:
        """Start the process, in a session of its own: Ctrl-C reaches the launcher alone."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "srvc.launch.child", str(os.getpid()), *self._command],
            cwd=BASE_DIR,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._started, self._due, self._asked = time.monotonic(), None, None
        _record(self._pid_file, self._process.pid)

    @property
    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def watch(self, say: Callable[[str], None]) -> None:
        """Start the process again when it died, waiting longer after each crash in a row."""
        if self._process is None or self.is_alive:
            return
        now = time.monotonic()
        if self._due is None:
            _kill_group(self._process.pid, signal.SIGKILL)
            self._crashes = 1 if now - self._started > _CALM else self._crashes + 1
            pause = min(2.0 ** (self._crashes - 1), _LONGEST_PAUSE)
            self._due = now + pause
            code = self._process.returncode
            say(
                f"the {self.name} stopped unexpectedly ({code}); starting it again in {pause:.0f} s"
            )
        elif now >= self._due:
            self.start()

    def forget(self) -> None:
        """Let go of a process that was to run once, when it has ended."""
        if self._process is not None and not self.is_alive:
            _kill_group(self._process.pid, signal.SIGKILL)
            self._process = None
            self._pid_file.unlink(missing_ok=True)

    def ask_to_stop(self) -> None:
        """Ask the process to finish, and don't wait. Once: a second time means at once to many."""
        if self._process is not None and self.is_alive and self._asked is None:
            self._asked = time.monotonic()
            self._process.terminate()

    def stop(self) -> None:
        """Ask the process to finish, and end it when it takes too long."""
        if self._process is None:
            return
        self.ask_to_stop()
        if self._asked is not None:
            left = self._asked + self._seconds_to_stop - time.monotonic()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(left, 0))
        _kill_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        self._pid_file.unlink(missing_ok=True)


def stop_orphans(folder: Path, say: Callable[[str], None]) -> None:
    """Stop what a killed launcher left running, and nothing else."""
    for file in folder.glob("*.pid"):
        group = _orphan_group(file)
        if group is not None and _kill_group(group, signal.SIGTERM):
            say(f"stopping the {file.stem} that a killed run left behind (process {group})")
            _wait_for_group(group, seconds=10)
            _kill_group(group, signal.SIGKILL)
        file.unlink(missing_ok=True)


def _record(file: Path, pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        began = psutil.Process(pid).create_time()
        file.write_text(json.dumps({"pid": pid, "began": began}))


def _orphan_group(file: Path) -> int | None:
    """Return the process group named by a pid file, if it is still the one that was recorded."""
    try:
        recorded = json.loads(file.read_text())
        pid, began = int(recorded["pid"]), float(recorded["began"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        # The kernel's clock may have been set since; a reused number is younger by far more.
        return pid if abs(psutil.Process(pid).create_time() - began) < 5 else None
    except psutil.NoSuchProcess:
        # While members of its group live, the system does not give the number to anybody else.
        return pid


def _kill_group(group: int, number: int) -> bool:
    """Send a signal to the living members of a group, and tell whether there were any."""
    if not _members(group):
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
    return True


def _members(group: int) -> bool:
    """Tell whether a group has members other than the dead, whom a container may never bury."""
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if process.info["status"] != psutil.STATUS_ZOMBIE and os.getpgid(process.pid) == group:
                return True
    return False


def _wait_for_group(group: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _members(group):
        time.sleep(0.1)
