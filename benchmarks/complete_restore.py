"""A complete restore with everything compared, against `pg_restore -j 2` that compares nothing.

Ours fetches, decrypts and decompresses the backup, restores it beside the live database, holds
every row, sequence and definition against the manifest, asks the invariants and gathers statistics.
The peer restores the same archive, decompressed before its clock runs. The safety backup and the
swap are not in it: benchmarks of their own measure these.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyrage
from django.conf import settings

from benchmarks.result import Result, compare
from benchmarks.server import Bench

if TYPE_CHECKING:
    from ops.models import Backup
    from ops.postgres.endpoint import Connection

_ROUNDS = 3
_AT_MOST = 1.35
_JOBS = 2
_PEER = f"pg_restore -j {_JOBS} of the archive decompressed"


def run(bench: Bench) -> list[Result]:
    """The time by the peer's."""
    from django.test import override_settings

    from ops.rls.router import as_owner_by_default
    from tests.harness import database
    from tests.harness import run as harness

    identity = pyrage.x25519.Identity.generate()
    folder = harness.folder() / "files" / "restore"
    folder.mkdir(parents=True)
    (folder / "identity.txt").write_text(f"{identity}\n")
    (folder / "identity.txt").chmod(0o600)
    storage = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(folder / "backups"), "file_permissions_mode": 0o600},
    }
    large = bench.large()
    database.provide_template(large)
    with (
        bench.pointed_at(large),
        override_settings(
            VAR_DIR=folder / "var",
            STORAGES={**settings.STORAGES, "dbbackup": storage},
            BACKUP_SIGNING_KEY="a key for benchmarks",
            BACKUP_AGE_RECIPIENTS=[str(identity.to_public())],
            BACKUP_AGE_IDENTITY_FILES=[str(folder / "identity.txt")],
        ),
        as_owner_by_default(),
    ):
        return _measure(bench, folder)


def _measure(bench: Bench, folder: Path) -> list[Result]:
    from ops.backups.take import Request, ask_for_backup, take_backup
    from ops.progress import Counter
    from ops.restores.complete.fetching import fetch
    from ops.restores.complete.sources import known_source
    from ops.restores.requests import RestoreRequest
    from ops.runs import Asker

    backup = take_backup(ask_for_backup(Request(), by=Asker("benchmark", "benchmark")))
    source = known_source(RestoreRequest(backup=backup.name))
    assert source is not None
    plain = fetch(source.manifest, source.vault, folder / "plain.dump", Counter())
    told: list[str] = []
    found = compare(_ROUNDS, lambda: _ours(backup, folder, told), lambda: _theirs(plain))
    for line in told[-1:]:
        bench.say(f"complete_restore: {line}")
    return [
        found.as_result(
            f"complete restore of {backup.raw_size / 1e6:,.0f} MB with comparison, time",
            _PEER,
            at_most=_AT_MOST,
        )
    ]


def _ours(backup: Backup, folder: Path, told: list[str]) -> float:
    from ops.postgres.endpoint import Endpoint
    from ops.postgres.roles import MAINTENANCE_DATABASE
    from ops.progress import Counter
    from ops.restores.complete.beside import database_beside
    from ops.restores.complete.job import Job
    from ops.restores.complete.restore import prepare
    from ops.restores.complete.sources import known_source
    from ops.restores.complete.steps import Steps
    from ops.restores.requests import RestoreRequest
    from ops.runs import OWNER, Asker

    live, progress = Endpoint.of(OWNER), Counter()
    request = RestoreRequest(backup=backup.name, jobs=_JOBS)
    work = folder / "work"
    work.mkdir()
    steps = Steps(progress, lambda done: None)
    try:
        with live.at(MAINTENANCE_DATABASE).connect() as session, _clean(session, "bench_ours"):
            began = time.perf_counter()
            source = known_source(request)
            assert source is not None
            asker = Asker("benchmark", "benchmark")
            job = Job(request, live, "benchmark", asker, progress, steps, session)
            with database_beside(session, live, "bench_ours") as beside:
                prepare(job, source, work, beside)
            took = time.perf_counter() - began
    finally:
        shutil.rmtree(work)
    told.append(", ".join(f"{each['name']} {each['seconds']:.1f} s" for each in steps.done))
    return took


def _theirs(plain: Path) -> float:
    from ops.backups.dump_restore.contents import STEPS, contents_of
    from ops.postgres import server
    from ops.postgres.endpoint import Endpoint
    from ops.postgres.roles import MAINTENANCE_DATABASE, template_of
    from ops.runs import OWNER

    live = Endpoint.of(OWNER)
    program = live.program("pg_restore")
    with live.at(MAINTENANCE_DATABASE).connect() as session, _clean(session, "bench_theirs"):
        began = time.perf_counter()
        server.create_from_template(
            session, "bench_theirs", template_of(live.database), owner=live.user
        )
        wanted, _ = contents_of(program, plain).use_list(STEPS)
        subprocess.run(
            [
                program, *live.at("bench_theirs").arguments(), "--exit-on-error",
                f"--jobs={_JOBS}", f"--use-list={wanted}", plain,
            ],
            env=live.environment(),
            check=True,
        )  # fmt: skip
        return time.perf_counter() - began


@contextmanager
def _clean(session: Connection, name: str) -> Iterator[None]:
    from ops.postgres import server

    try:
        yield
    finally:
        server.drop_database(session, name, end_sessions=True)
