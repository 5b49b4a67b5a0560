"""Whether the static files are collected: without them every page of the site is an error."""

from __future__ import annotations

from typing import cast

from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage, staticfiles_storage

COMMAND = "manage.py collectstatic --noinput"


def are_served() -> bool:
    """Tell whether this process can name its static files.

    The manifest is read when the process starts, so files collected later need a restart.
    """
    storage = _storage()
    return storage is None or bool(storage.hashed_files)


def problem() -> str:
    """Say what `collectstatic` has to do; "" when every file of the source is collected."""
    storage = _storage()
    if storage is None:
        return ""
    # As it is now: this process may have started before the files were collected.
    collected, _ = cast("tuple[dict[str, str], str]", storage.load_manifest())
    if not collected:
        return f"Static files are not collected in {storage.location}: every page is an error"
    if lacking := [name for name in _sources() if name not in collected]:
        return f"{len(lacking)} static files are not collected, such as {lacking[0]}"
    gone = [name for name in collected.values() if not storage.exists(name)]
    if gone:
        return f"{len(gone)} collected static files are gone, such as {gone[0]}"
    return ""


def _storage() -> ManifestStaticFilesStorage | None:
    # Tests serve the source's files and have no manifest.
    storage: object = staticfiles_storage
    return storage if isinstance(storage, ManifestStaticFilesStorage) else None


def _sources() -> list[str]:
    return sorted({path.replace("\\", "/") for each in get_finders() for path, _ in each.list([])})
