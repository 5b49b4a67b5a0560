"""The installations that were kept: one backup each, with the digests of the migrations then."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import zstandard

from srvc.environment import BASE_DIR

FOLDER = Path(__file__).with_name("kept")
MIGRATIONS = "migrations.sha256"


@dataclass(frozen=True)
class Installation:
    """A full backup of the demo, taken by an older version: an object and its signed manifest."""

    folder: Path

    @property
    def name(self) -> str:
        """What it is kept as: the commit, or the day, that its schema is of."""
        return self.folder.name

    @property
    def backup(self) -> str:
        """The backup's name."""
        (manifest,) = (self.folder / "manifests").glob("*.json")
        return manifest.stem

    @property
    def migrations(self) -> dict[str, str]:
        """The digest of each migration's file, as it was."""
        lines = (self.folder / MIGRATIONS).read_text().splitlines()
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}

    def unpack(self, target: Path) -> Path:
        """Decompress the dump into a folder, and return the file."""
        file = target / f"{self.name}.dump"
        source = self.folder / f"{self.backup}.dump.zst"
        with source.open("rb") as packed, file.open("wb") as plain:
            zstandard.ZstdDecompressor().copy_stream(packed, plain)
        file.chmod(0o644)
        return file


def kept() -> list[Installation]:
    """Return every one, the oldest first."""
    found = [Installation(path) for path in FOLDER.iterdir() if path.is_dir()]
    return sorted(found, key=lambda each: len(each.migrations))


def migration_digests() -> dict[str, str]:
    """Return the digest of each of the project's migrations, by its path."""
    paths = [path for app in ("ops", "crm", "billing") for path in _files(app)]
    return {
        str(path.relative_to(BASE_DIR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def _files(app: str) -> list[Path]:
    folder = BASE_DIR / app / "migrations"
    return [path for path in folder.glob("*.py") if path.name != "__init__.py"]
