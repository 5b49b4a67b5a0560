"""Where uploaded files are: a folder of this machine, or any other storage of Django's."""

from __future__ import annotations

from django.core.files.storage import FileSystemStorage, Storage

from ops.backups.media_restore.folder_place import FolderPlace
from ops.backups.media_restore.place import Place
from ops.backups.media_restore.storage_place import StoragePlace


def place_of(storage: Storage) -> Place:
    """Return how files are put into a storage."""
    return FolderPlace(storage) if isinstance(storage, FileSystemStorage) else StoragePlace(storage)
