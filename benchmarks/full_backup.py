"""A full backup with its proof, compressed and encrypted, against dumps that prove nothing.

The peers are `pg_dump -Fc -Z0 | zstd -1`, which neither encrypts nor proves, and django-dbbackup's
own command with its stock connector, `-z` and `-e`. Against the pipe the work alone is timed, as
the worker does it; against the command both are processes of their own, start-up included.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import psutil
import pyrage
from django.conf import settings

from benchmarks.result import Comparison, Result, compare, timed
from benchmarks.server import Bench
from ops.rls.router import OWNER_ALIAS

ROUNDS = 5
_ROUNDS_OF_COMMANDS = 2  # the peer takes half a minute
_ROOT = Path(__file__).resolve().parent.parent
_KEY = "a key for benchmarks"
_PEER = "django-dbbackup -z -e"
_LOOK_EVERY = 0.02  # seconds
_MOST_MEGABYTES = 150


def run(bench: Bench) -> list[Result]:
    """Times as ratios, size as a ratio, peak memory and scratch disk in megabytes."""
    from ops.rls.router import as_owner_by_default

    with (
        bench.pointed_at(bench.large()),
        _files() as files,
        as_owner_by_default(),
        _gnupg() as gnupg,
    ):
        pipe = compare(ROUNDS, lambda: timed(files.take), lambda: timed(files.pipe))
        return [
            pipe.as_result("full backup with proof, time", "pg_dump | zstd -1", at_most=1.25),
            *_commands(files, gnupg),
        ]


@dataclass
class _Files:
    """Where ours and the peers' backups go, one at a time."""

    folder: Path
    recipient: str
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def ours(self) -> Path:
        return self.folder / "var" / "backups"

    def take(self) -> None:
        """Take one of ours, as the worker does."""
        from ops.backups.take import Request, ask_for_backup, take_backup
        from ops.runs import Asker

        shutil.rmtree(self.ours, ignore_errors=True)
        take_backup(ask_for_backup(Request(), by=Asker("benchmark", "benchmark")))

    def pipe(self) -> None:
        """Take one by the pipe."""
        from ops.postgres.endpoint import Endpoint

        endpoint = Endpoint.of(OWNER_ALIAS)
        with (
            (self.folder / "peer.zst").open("wb") as target,
            subprocess.Popen(
                [endpoint.program("pg_dump"), *endpoint.arguments(), "-Fc", "-Z0"],
                env=endpoint.environment(),
                stdout=subprocess.PIPE,
            ) as dump,
            subprocess.Popen(
                ["zstd", "-q", "-1"],  # noqa: S607 (the one that is installed)
                stdin=dump.stdout,
                stdout=target,
            ) as zstd,
        ):
            assert dump.stdout is not None
            dump.stdout.close()
            assert zstd.wait() == 0
        assert dump.returncode == 0
        # Ours is on the disk, not in a cache, when it is taken.
        with (self.folder / "peer.zst").open("rb") as written:
            os.fsync(written.fileno())


def _commands(files: _Files, gnupg: _Gnupg) -> list[Result]:
    """Ours and django-dbbackup's as commands, in turns."""
    ours: list[_Measured] = []
    theirs: list[_Measured] = []
    for _ in range(_ROUNDS_OF_COMMANDS):
        ours.append(_our_command(files))
        theirs.append(_their_command(files, gnupg))
    comparison = Comparison([each.seconds for each in ours], [each.seconds for each in theirs])
    small, large = files.sizes["ours"], files.sizes["theirs"]
    peak = max(each.megabytes for each in ours)
    scratch = max(each.scratch for each in ours)
    return [
        comparison.as_result("full backup with proof, command", _PEER, at_most=0.6),
        Result(
            "full backup with proof, size",
            _PEER,
            f"{small / 1e6:.0f} MB",
            f"{large / 1e6:.0f} MB",
            small / large,
            "<= 1",
        ),
        Result(
            "full backup, peak memory beside pg_dump in MB",
            _PEER,
            f"{peak:.0f} MB",
            f"{statistics.median(each.megabytes for each in theirs):.0f} MB",
            peak,
            f"<= {_MOST_MEGABYTES}",
        ),
        Result(
            "full backup, scratch disk in MB",
            _PEER,
            f"{scratch:.0f} MB",
            f"{max(each.scratch for each in theirs):.0f} MB",
            scratch,
            "<= 0",
        ),
    ]


@dataclass
class _Measured:
    """One command: seconds, the peak of its tree beside pg_dump, the peak of its scratch files."""

    seconds: float = 0.0
    megabytes: float = 0.0
    scratch: float = 0.0


def _our_command(files: _Files) -> _Measured:
    shutil.rmtree(files.ours, ignore_errors=True)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "srvc.settings",
        "DEBUG": "false",
        "SRVC_VAR": str(files.folder / "var"),
        "BACKUP_SIGNING_KEY": _KEY,
        "BACKUP_AGE_RECIPIENTS": files.recipient,
    }
    command = [sys.executable, str(_ROOT / "manage.py"), "backup"]
    measured = _measure(command, environment, files.folder / "scratch")
    files.sizes["ours"] = sum(each.stat().st_size for each in files.ours.glob("*.age"))
    return measured


def _their_command(files: _Files, gnupg: _Gnupg) -> _Measured:
    from ops.postgres.endpoint import Endpoint

    target = files.folder / "theirs"
    target.mkdir()
    programs = Endpoint.of(OWNER_ALIAS).program("pg_dump").parent
    environment = {
        **os.environ,
        **gnupg.environment,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "DJANGO_SETTINGS_MODULE": "benchmarks.dbbackup_settings",
        "BENCHMARK_DATABASE_URL": os.environ["DATABASE_OWNER_URL"],
        "BENCHMARK_RECIPIENT": gnupg.recipient,
        "BENCHMARK_FOLDER": str(target),
    }
    command = [sys.executable, "-m", "django", "dbbackup", "-z", "-e"]
    measured = _measure(command, environment, files.folder / "scratch")
    (stored,) = (each for each in target.iterdir() if each.suffix == ".gpg")
    files.sizes["theirs"] = stored.stat().st_size
    shutil.rmtree(target)
    return measured


def _measure(command: list[str], environment: dict[str, str], scratch: Path) -> _Measured:
    """Run a command whose temporary files go into a folder of their own, and look at its tree."""
    scratch.mkdir(exist_ok=True)
    measured = _Measured()
    ended = Event()
    began = time.perf_counter()
    process = psutil.Popen(
        command,
        cwd=_ROOT,
        env={**environment, "TMPDIR": str(scratch)},
        stdout=subprocess.DEVNULL,
    )
    watcher = Thread(target=_watch, args=(process, scratch, measured, ended))
    watcher.start()
    try:
        code = process.wait()
        measured.seconds = time.perf_counter() - began
    finally:
        ended.set()
        watcher.join()
    assert code == 0, f"{command} failed"
    return measured


def _watch(process: psutil.Process, scratch: Path, measured: _Measured, ended: Event) -> None:
    while not ended.wait(_LOOK_EVERY):
        with contextlib.suppress(psutil.Error, OSError):
            tree = [process, *process.children(recursive=True)]
            ours = [each for each in tree if each.name() != "pg_dump" and _is_itself(each)]
            memory = sum(each.memory_info().rss for each in ours)
            held = sum(_open_files(each, scratch) for each in tree)
            measured.megabytes = max(measured.megabytes, memory / 1e6)
            measured.scratch = max(measured.scratch, held / 1e6)


def _is_itself(process: psutil.Process) -> bool:
    """Whether it has memory of its own: between fork and exec a child shows its parent's again."""
    parent = process.parent()
    return parent is None or process.cmdline() != parent.cmdline()


def _open_files(process: psutil.Process, scratch: Path) -> int:
    """Bytes of a process's open files in a folder; temporary ones have no name there any more."""
    found = 0
    for handle in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(handle.readlink()).startswith(str(scratch)):
                found += handle.stat().st_size
    return found


@contextmanager
def _files() -> Iterator[_Files]:
    from django.test import override_settings

    from tests.harness import run as harness

    identity = pyrage.x25519.Identity.generate()
    files = _Files(harness.folder() / "files" / "full", str(identity.to_public()))
    storage = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(files.ours), "file_permissions_mode": 0o600},
    }
    files.folder.mkdir(parents=True)
    try:
        with override_settings(
            STORAGES={**settings.STORAGES, "dbbackup": storage},
            BACKUP_SIGNING_KEY=_KEY,
            BACKUP_AGE_RECIPIENTS=[files.recipient],
        ):
            yield files
    finally:
        shutil.rmtree(files.folder, ignore_errors=True)


@dataclass(frozen=True)
class _Gnupg:
    recipient: str
    environment: dict[str, str]


@contextmanager
def _gnupg() -> Iterator[_Gnupg]:
    """A keyring with one key; its agent is ended with it."""
    # Not in the run's folder: the agent's socket needs a short path.
    with tempfile.TemporaryDirectory(prefix="gpg-", dir="/tmp") as folder:
        environment = {**os.environ, "GNUPGHOME": folder}
        recipient = "benchmark@example.com"
        making = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key"]
        subprocess.run(
            [*making, recipient, "default", "default", "never"],
            env=environment,
            check=True,
            capture_output=True,
        )
        try:
            yield _Gnupg(recipient, {"GNUPGHOME": folder})
        finally:
            subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)  # noqa: S607
