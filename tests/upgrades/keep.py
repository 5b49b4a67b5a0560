"""Keep an installation of today's schema, so that later versions are tested on it.

Run by `scripts/keep-installation NAME` whenever a migration is added. It is no test: pytest lends
it a server and a database, into which it loads the demo of a fixed day.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.ops.backups.conftest import Backups, backups  # noqa: F401 (a fixture)
from tests.upgrades.installations import FOLDER, MIGRATIONS, migration_digests

_SEED = ("seed", "--scale", "demo", "--today", "2026-11-30")


def test_keep(backups: Backups) -> None:  # noqa: F811
    seeding = backups.manage(*_SEED, DEMO_PASSWORD="of nobody at all")
    output = seeding.communicate()
    assert seeding.returncode == 0, output
    backup = backups.take(encrypt=False)
    target = FOLDER / os.environ["KEEP_AS"]
    shutil.copytree(backups.folder, target, ignore=shutil.ignore_patterns("unfinished"))
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    lines = (f"{digest}  {name}\n" for name, digest in sorted(migration_digests().items()))
    Path(target / MIGRATIONS).write_text("".join(lines))
    assert backup.name in {path.stem for path in (target / "manifests").iterdir()}
