"""What can go wrong with backups, as an operator is told it."""

from ops.errors import OpsError


class BackupError(OpsError):
    """A backup can't be taken, read, checked or deleted."""


class BusyError(BackupError):
    """Another backup of this kind is being taken."""


class StorageError(BackupError):
    """The storage is full, out of reach, or refuses."""


class MissingObjectError(StorageError):
    """The storage has no such object."""


class DamagedError(BackupError):
    """A backup is not what its manifest says."""


class KeyMissingError(BackupError):
    """Nothing here can decrypt it, so nothing can be said about what is inside."""


class UnsupportedError(BackupError):
    """The server can't do this; the message says what it can."""


class CannotProveError(BackupError):
    """It is whole and readable, and could not be restored here, through no fault of its own."""


class DisprovenError(DamagedError):
    """It was restored, or should have been, and is not what its manifest says."""
