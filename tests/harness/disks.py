"""Small disks of their own, for tests of what happens when one is full or closed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """Mount a memory file system there (`size=2m`, …), where this machine allows it."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    place.mkdir()
    done = subprocess.run(
        ["/usr/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk could not be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["/usr/bin/umount", "--lazy", place], check=True)
