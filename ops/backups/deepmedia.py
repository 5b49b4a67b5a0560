"""The proof of a media backup: brought back into a folder of ours by the restore procedure."""

from __future__ import annotations

from django.core.files.storage import FileSystemStorage

from ops.backups.errors import DisprovenError
from ops.backups.manifest import Manifest
from ops.backups.media import MediaTally
from ops.backups.media_restore.differences import Choices
from ops.backups.media_restore.places import place_of
from ops.backups.media_restore.procedure import Folders, restore_media
from ops.backups.scratch import scratch
from ops.backups.vault import Vault
from ops.progress import Progress


def prove_media(manifest: Manifest, vault: Vault, progress: Progress) -> str:
    """Restore uploaded files beside, compare each; return a sentence about what was compared.

    Raises DisprovenError, what reading a backup raises, and BackupError when the disk is too small.
    """
    with scratch() as lent:
        folders = Folders(lent.folder / "unpacked", lent.folder / "kept")
        for folder in (folders.unpacked, folders.kept, lent.folder / "files"):
            folder.mkdir(mode=0o700)
        place = place_of(FileSystemStorage(str(lent.folder / "files")))
        restored = restore_media(manifest, vault, place, Choices(), folders, progress)
        progress.phase("comparing", len(restored.members), "files")
        tally = MediaTally()
        names = set(place.names())
        for name, member in restored.members.items():
            progress.check()
            if name in names:
                tally.add(name, member.size, place.digest(name).hex())
            progress.advance(1)
    found = tally.contents(0).as_json()
    if found["digest"] != manifest.details["digest"] or len(names) != manifest.details["files"]:
        raise DisprovenError(
            f"Restored, it is not what its manifest says: {len(names):,} of "
            f"{manifest.details['files']:,} files are there, or others than it tells of."
        )
    return f"Restored and equal: {found['files']:,} files, {found['bytes']:,} bytes."
