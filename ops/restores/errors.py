"""What can go wrong with restores, as an operator is told it."""

from ops.errors import OpsError
from ops.rls.closed import ClosedError as ClosedError  # noqa: PLC0414 (raised by every transaction)


class RestoreError(OpsError):
    """Something can't be restored or recovered; the live database is as it was."""


class RefusedError(RestoreError):
    """It was not begun, because of what was asked or of what it would be restored from."""


class UnreachableError(RefusedError):
    """No backup and no WAL lead to that moment; the message names the nearest one that is."""


class UnequalError(RestoreError):
    """Restored beside, it is not what it should be. The live database was not touched."""


class ConflictError(RestoreError):
    """Rows of today stand in the way of recovered ones. Nothing was changed."""
