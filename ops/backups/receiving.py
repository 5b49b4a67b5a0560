"""Reading an object of a storage to its last byte, with progress and a way to stop."""

from __future__ import annotations

from collections.abc import Callable

from ops.backups.incoming import Sink, receive
from ops.backups.manifest import StoredObject
from ops.backups.vault import Vault
from ops.progress import Progress


def receive_from(vault: Vault, stored: StoredObject, sink: Sink, progress: Progress) -> None:
    """Read an object of a storage into a sink, looking at every byte. Raises as receive() does."""
    with vault.open(stored.name) as source:
        receive(source, stored, sink, on_bytes=_counted(progress))


def pass_by(stored: StoredObject, vault: Vault, progress: Progress) -> None:
    """Hold an object's size and hash against its manifest, which takes no key."""
    with vault.open(stored.name) as source:
        receive(source, stored, None, on_bytes=_counted(progress))


def _counted(progress: Progress) -> Callable[[int], None]:
    def on_bytes(count: int) -> None:
        progress.check()
        progress.advance(count)

    return on_bytes
