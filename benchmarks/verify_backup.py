"""Verifying a backup against reading the same dump with PostgreSQL's own program from a file.

Ours reads the encrypted object, hashes it, decrypts, decompresses, lets pg_restore write out every
row, and counts rows and sequences against the manifest. The peer is `zstd -dc FILE | pg_restore
-f /dev/null` on the same dump, neither encrypted nor compared with anything.
"""

from __future__ import annotations

import statistics
import subprocess
from pathlib import Path

import pyrage
from django.conf import settings

from benchmarks.result import Result, compare, timed
from benchmarks.server import Bench

_ROUNDS = 5
_BAR = 300  # MB of dump a second


def run(bench: Bench) -> list[Result]:
    """Megabytes of dump a second, and the time by the peer's."""
    from django.test import override_settings

    from ops.rls.router import as_owner_by_default
    from tests.harness import run as harness

    identity = pyrage.x25519.Identity.generate()
    folder = harness.folder() / "files" / "verify"
    folder.mkdir(parents=True)
    (folder / "identity.txt").write_text(f"{identity}\n")
    storage = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(folder / "backups"), "file_permissions_mode": 0o600},
    }
    with (
        bench.pointed_at(bench.large()),
        override_settings(
            STORAGES={**settings.STORAGES, "dbbackup": storage},
            BACKUP_SIGNING_KEY="a key for benchmarks",
            BACKUP_AGE_RECIPIENTS=[str(identity.to_public())],
            BACKUP_AGE_IDENTITY_FILES=[str(folder / "identity.txt")],
        ),
        as_owner_by_default(),
    ):
        return _measure(bench, folder, identity)


def _measure(bench: Bench, folder: Path, identity: pyrage.x25519.Identity) -> list[Result]:
    from ops.backups.dumpreading import restore_program
    from ops.backups.take import Request, ask_for_backup, take_backup
    from ops.backups.verify import ask_for_verification, verify_backup
    from ops.models import BackupState
    from ops.runs import Asker

    asker = Asker("benchmark", "benchmark")
    backup = take_backup(ask_for_backup(Request(), by=asker))
    plain = folder / "peer.zst"
    stored = folder / "backups" / backup.manifest["objects"][0]["name"]
    with stored.open("rb") as source, plain.open("wb") as target:
        pyrage.decrypt_io(source, target, [identity])
    program = restore_program(int(backup.manifest["programs"]["pg_dump"]))

    def ours() -> None:
        checked = verify_backup(ask_for_verification(backup, by=asker))
        assert checked.state == BackupState.VERIFIED

    def theirs() -> None:
        with subprocess.Popen(
            ["zstd", "-dcq", plain],  # noqa: S607 (the one that is installed)
            stdout=subprocess.PIPE,
        ) as zstd:
            subprocess.run([program, "--file=/dev/null"], stdin=zstd.stdout, check=True)

    found = compare(_ROUNDS, lambda: timed(ours), lambda: timed(theirs))
    mine, peers = statistics.median(found.ours), statistics.median(found.theirs)
    raw, small = backup.raw_size / 1e6, backup.size / 1e6
    what = f"verify of {raw:,.0f} MB ({small:,.0f} stored)"
    bench.say(f"verify_backup: {raw / mine:,.0f} MB/s of dump, {small / mine:,.0f} MB/s stored")
    peer = "zstd -dc | pg_restore -f /dev/null"
    return [
        Result(
            f"{what}, MB/s of dump",
            peer,
            f"{raw / mine:,.0f} MB/s",
            f"{raw / peers:,.0f} MB/s",
            raw / mine,
            f">= {_BAR}",
        ),
        Result(
            f"{what}, MB/s stored",
            peer,
            f"{small / mine:,.0f} MB/s",
            f"{small / peers:,.0f} MB/s",
            small / mine,
            ">= 0",
        ),
        found.as_result(f"{what}, time", peer, at_most=3),
    ]
