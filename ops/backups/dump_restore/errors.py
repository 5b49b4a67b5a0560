"""What can go wrong while a dump is restored; whoever restores says what it means."""

from __future__ import annotations

import re

from ops.backups.errors import BackupError

# What pg_restore says when it is this machine that lacks something, not the backup.
LACKING = re.compile(
    r"extension .* is not available|extension control file|could not access file|tablespace .* does"
    r" not exist|No space left on device|ICU is not supported|could not create locale|collation .*"
    r" for encoding|shared_preload_libraries|terminat|server closed the connection|could not resize"
    r" shared memory|out of (?:shared )?memory"
)
_NO_RIGHT = re.compile(
    r"permission denied|must be (?:superuser|owner|member|able)|[Oo]nly superusers?|[Oo]nly roles "
    r"with|only a superuser"
)


class LoadError(BackupError):
    """pg_restore ended at an object; `what` names it as `pg_restore --list` does."""

    def __init__(self, reason: str, *, what: str = "") -> None:
        self.reason = reason.rstrip(".")
        self.what = what
        super().__init__(f"{what}: {self.reason}" if what else self.reason)

    @property
    def is_for_lack_of_rights(self) -> bool:
        """Whether a login with more rights could have gone on."""
        return _NO_RIGHT.search(self.reason) is not None

    @property
    def is_of_this_machine(self) -> bool:
        """Whether this server lacks something, so that nothing is known about the backup."""
        return LACKING.search(self.reason) is not None


class ExtensionError(LoadError):
    """An extension could not be made."""


class TooNewError(BackupError):
    """The dump is of a newer pg_dump than this server's."""
