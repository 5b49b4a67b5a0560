"""What a media backup has that the uploaded files of today have not, or have otherwise."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from ops.backups.media_restore.place import Place, Version
from ops.backups.media_restore.reading import Member
from ops.progress import Progress


@dataclass(frozen=True)
class Choices:
    """Which files come back."""

    names: tuple[str, ...] = ()  # names, folders or patterns; none: every file
    listed: frozenset[str] | None = None  # or exactly these, as rows name them
    only_missing: bool = False  # a file that is there stays as it is
    exact: bool = False  # files that are not in the backup are removed

    def choose(self, name: str) -> bool:
        """Tell whether a file was asked for."""
        if self.listed is not None:
            return name in self.listed
        return not self.names or any(_fits(name, each) for each in self.names)


@dataclass(frozen=True)
class Differences:
    """Names of files, sorted; `versions` is what was there of the changed and the extra ones."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    extra: tuple[str, ...]  # there, and not in the backup
    same: int
    unknown: tuple[str, ...]  # asked for by name, and not in the backup
    versions: dict[str, Version | None]

    def to_write(self, choices: Choices) -> tuple[str, ...]:
        """Return the names of those to bring back."""
        return self.missing if choices.only_missing else (*self.missing, *self.changed)

    def to_remove(self, choices: Choices) -> tuple[str, ...]:
        """Return the names of those to remove."""
        return self.extra if choices.exact else ()


def compare(
    members: dict[str, Member], place: Place, choices: Choices, progress: Progress
) -> Differences:
    """Hold the files of a backup against those that are there, by size and content.

    Raises BackupError when something can't be read, or stands where a file has to go.
    """
    chosen = sorted(filter(choices.choose, members))
    progress.phase("comparing with the uploaded files", len(chosen), "files")
    missing, changed, same = [], [], 0
    versions: dict[str, Version | None] = {}
    for name in chosen:
        progress.check()
        version = place.version(name)
        if version is None:
            missing.append(name)
        elif version.size == members[name].size and place.digest(name) == members[name].sha256:
            same += 1
        else:
            changed.append(name)
            versions[name] = version
        progress.advance(1)
    extra = _extra(members, place, choices)
    versions.update((name, place.version(name)) for name in extra if choices.exact)
    unknown = tuple(each for each in choices.names if not any(_fits(name, each) for name in chosen))
    return Differences(tuple(missing), tuple(changed), tuple(extra), same, unknown, versions)


def _extra(members: dict[str, Member], place: Place, choices: Choices) -> list[str]:
    if choices.listed is not None:  # nobody asks, and there may be millions
        return []
    return sorted(name for name in place.names() if choices.choose(name) and name not in members)


def _fits(name: str, wanted: str) -> bool:
    folder = wanted.rstrip("/") + "/"
    return name == wanted or name.startswith(folder) or fnmatch.fnmatchcase(name, wanted)


def some(names: Iterable[str], most: int = 3) -> str:
    """Return the first of some names in a sentence."""
    names = [name if name.isprintable() else repr(name) for name in names]
    more = f", and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
