"""What can go wrong with looking, as an operator is told it."""

from ops.errors import OpsError


class HealthError(OpsError):
    """Checks can't be run, chosen or recorded."""


class NotRecordedError(HealthError):
    """Checks ran, and what they found can't be recorded."""
