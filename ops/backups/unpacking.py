"""A physical backup's chain, unpacked and each link held against PostgreSQL's own manifest.

pg_combinebackup launders a damaged link, so every link is verified before anybody combines them.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.backups.chain import PG_MANIFEST
from ops.backups.errors import DamagedError, MissingObjectError
from ops.backups.inspection import read_manifest
from ops.backups.manifest import Manifest, StoredObject
from ops.backups.receiving import receive_from
from ops.backups.scratch import Scratch, scratch
from ops.backups.tarreading import TarReading
from ops.backups.vault import Vault
from ops.backups.watch import watched
from ops.models import BackupKind
from ops.postgres import tools
from ops.postgres.account import Account
from ops.postgres.errors import ToolError
from ops.postgres.processes import StreamingProcess
from ops.progress import Progress

FINISH = 24 * 3600.0  # seconds that one of PostgreSQL's programs may take for a link
_LONGEST_CHAIN = 10_000
_ADDS_TO = re.compile(r"^INCREMENTAL FROM LSN: (?P<lsn>\S+)", re.MULTILINE)
# What pg_verifybackup says of this machine rather than of the backup.
_LACKING = re.compile(r"No space left|could not execute|was not found|out of memory")


@dataclass(frozen=True)
class Unpacked:
    """A chain on the disk, the base first, in a folder that goes away with the block."""

    place: Scratch
    links: list[Path]


def chain_of(manifest: Manifest, vault: Vault) -> list[Manifest]:
    """Return the manifests of what a physical backup stands on, the base first, itself last.

    Raises DamagedError when a link is missing, damaged, or does not belong to it.
    """
    links = [manifest]
    while (link := links[0]).kind == BackupKind.INCREMENTAL:
        if link.parent is None:
            raise DamagedError(f"{link.name} adds to a backup that its manifest does not name.")
        try:
            parent = read_manifest(link.parent, vault)
        except MissingObjectError:
            raise DamagedError(
                f"{link.parent}, which {link.name} adds to, is not in the storage {vault.label}. "
                "Without it nothing can be restored from this one."
            ) from None
        _require_kin(link, parent)
        if len(links) > _LONGEST_CHAIN or any(parent.name == each.name for each in links):
            raise DamagedError(f"The chain of {manifest.name} leads back to itself.")
        links.insert(0, parent)
    if links[0].kind != BackupKind.BASE:
        raise DamagedError(f"{links[0].name}, which {manifest.name} stands on, is no base backup.")
    return links


@contextmanager
def unpacked(
    manifest: Manifest, vault: Vault, progress: Progress, *, more_room: int = 0
) -> Iterator[Unpacked]:
    """Lend a chain's files, every link found whole by the pg_verifybackup of its major version.

    `more_room` is how many bytes the caller needs besides. Raises DamagedError naming the link,
    KeyMissingError, and BackupError when there is no room.
    """
    chain = chain_of(manifest, vault)
    with scratch() as place:
        place.require_room(sum(link.archive.raw_size for link in chain) + more_room)
        folders = []
        for number, link in enumerate(chain):
            folder = place.folder / f"link-{number}"
            folder.mkdir(mode=0o700)
            try:
                _unpack(link, vault, folder, progress)
                _require_beside(link, vault, folder, progress)
                _verify(link, folder, progress)
                _require_adds_to(link, chain[number - 1] if number else None, folder)
            except (DamagedError, MissingObjectError) as error:
                if link is manifest:
                    raise
                raise DamagedError(
                    f"{link.name}, which {manifest.name} stands on, is damaged: {error}"
                ) from None
            folders.append(folder)
        yield Unpacked(place, folders)


def run(program: Path, *arguments: str, progress: Progress, account: Account | None = None) -> None:
    """Run one of PostgreSQL's programs to its end; it is ended when somebody asks to stop.

    Raises ToolError with its last words when it fails.
    """
    with (
        StreamingProcess(
            program, *arguments, environment=_environment(program), account=account
        ) as process,
        watched(progress.check) as watch,
    ):
        watch.stop_by(process.kill)
        try:
            while process.stdout.read(1 << 16):
                pass
            process.finish(FINISH)
        except (ToolError, ValueError):
            progress.check()
            raise


def _environment(program: Path) -> dict[str, str]:
    # It looks for the others beside itself, and for some on PATH.
    return tools.environment(extra={"PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin"})


def _unpack(link: Manifest, vault: Vault, folder: Path, progress: Progress) -> None:
    progress.phase(f"unpacking {link.name}", link.archive.size, "bytes")
    with TarReading(folder) as reading:
        receive_from(vault, link.archive, reading, progress)
        reading.finish(link.archive.name)


def _require_beside(link: Manifest, vault: Vault, folder: Path, progress: Progress) -> None:
    """Hold PostgreSQL's manifest beside the archive against the one inside."""
    stored = _beside(link)
    content = io.BytesIO()
    receive_from(vault, stored, content, progress)
    inside = folder / PG_MANIFEST
    if not inside.is_file() or inside.read_bytes() != content.getvalue():
        raise DamagedError(
            f"{stored.name} is not the manifest that PostgreSQL wrote into {link.archive.name}."
        )
    identifier = str(json.loads(content.getvalue()).get("System-Identifier", ""))
    told = str(link.server.get("system_identifier", ""))
    if identifier and told and identifier != told:
        raise DamagedError(
            f"{link.archive.name} is of another server (system identifier {identifier}) than its "
            f"manifest says ({told})."
        )


def _beside(link: Manifest) -> StoredObject:
    for stored in link.objects:
        if stored.role == PG_MANIFEST:
            return stored
    raise DamagedError(f"{link.name} has no {PG_MANIFEST} beside it.")


def _verify(link: Manifest, folder: Path, progress: Progress) -> None:
    progress.phase(f"verifying {link.name}")
    program = tools.find("pg_verifybackup", int(link.server["major"]))
    try:
        run(program, str(folder), progress=progress)
    except ToolError as error:
        if _LACKING.search(str(error)):
            raise
        said = str(error).replace(f'"{folder}"', "the backup").replace(str(folder), "")
        raise DamagedError(f"{link.archive.name} is not whole: {said}") from None


def _require_kin(link: Manifest, parent: Manifest) -> None:
    for key, what in (("system_identifier", "server"), ("major", "major version")):
        if link.server.get(key) != parent.server.get(key):
            raise DamagedError(
                f"{link.name} adds to {parent.name}, which is of another {what} "
                f"({parent.server.get(key)} instead of {link.server.get(key)})."
            )


def _require_adds_to(link: Manifest, parent: Manifest | None, folder: Path) -> None:
    """Hold the position that a link itself says it adds to against its parent's."""
    label = folder / "backup_label"
    found = _ADDS_TO.search(label.read_text(errors="replace")) if label.is_file() else None
    adds_to = found["lsn"] if found else None
    expected = parent.wal.get("start_lsn") if parent else None
    if adds_to != expected:
        raise DamagedError(
            f"{link.name} adds to a backup that began at {adds_to or 'no position'}, and "
            + (f"{parent.name} began at {expected}." if parent else "it is called a base backup.")
        )
