"""Which SRVC this is: its version, and the commit of its source."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from srvc.environment import BASE_DIR

NAME = "SRVC"


def version() -> str:
    """Return the product's version, of pyproject.toml."""
    return str(settings.VERSION)


def commit(folder: Path = BASE_DIR) -> str:
    """Return the commit that is checked out; "" where the source is no clone.

    Read from git's files: git itself need not be installed, and refuses another user's clone.
    """
    try:
        own = _git_folder(folder / ".git")
        head = (own / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head
        return _of_ref(own, head.removeprefix("ref: "))
    except (OSError, UnicodeDecodeError):
        return ""


def _git_folder(place: Path) -> Path:
    if place.is_dir():
        return place
    return place.parent / place.read_text(encoding="utf-8").strip().removeprefix("gitdir: ")


def _of_ref(own: Path, ref: str) -> str:
    # A worktree has a HEAD of its own, and its branches in the clone's folder.
    common = own / "commondir"
    shared = own / common.read_text(encoding="utf-8").strip() if common.is_file() else own
    for folder in (own, shared):
        if (folder / ref).is_file():
            return (folder / ref).read_text(encoding="ascii").strip()
    packed = shared / "packed-refs"
    for line in packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else ():
        if line.endswith(f" {ref}"):
            return line.partition(" ")[0]
    return ""
