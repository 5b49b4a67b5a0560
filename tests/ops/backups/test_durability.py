"""What is called stored is on the disk: the file before it gets its name, then its folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.files.storage import FileSystemStorage

from ops.backups.keymaking import make_identity
from ops.backups.vault import Vault
from ops.postgres import files


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return what is flushed to the disk from now on, in this order."""
    seen: list[Path] = []
    fsync: Callable[[int], None] = os.fsync

    def keep(descriptor: int) -> None:
        seen.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", keep)
    return seen


def test_an_object_of_a_backup(synced: list[Path], tmp_path: Path) -> None:
    vault = Vault(FileSystemStorage(str(tmp_path)), "dbbackup")
    vault.write("deep/object.dump", b"content")
    aside, folder = synced
    assert aside.name.endswith(".aside")
    assert folder == tmp_path / "deep"
    assert (folder / "object.dump").read_bytes() == b"content"


def test_a_setting_of_the_embedded_server(synced: list[Path], tmp_path: Path) -> None:
    files.write_aside(tmp_path / "postgresql.conf", "x = 1\n", None)
    assert [path.name for path in synced] == ["postgresql.conf.new", tmp_path.name]


def test_a_key(synced: list[Path], tmp_path: Path) -> None:
    make_identity(tmp_path / "identity.txt")
    assert synced[0].parent == tmp_path
    assert synced[-1] == tmp_path
