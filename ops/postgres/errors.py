"""What can go wrong with servers and their tools, as an operator is told it."""

from ops.errors import OpsError


class ToolError(OpsError):
    """A PostgreSQL program is missing, failed or took too long."""


class ServerError(OpsError):
    """A PostgreSQL server cannot be started, reached or used."""


class PoolerError(ServerError):
    """Work that needs PostgreSQL itself was given the address of a connection pooler."""


class DiskFullError(ServerError):
    """The disk that holds the server's files has no room left."""


class ProvisionError(OpsError):
    """Roles, database or grants could not be made."""


def one_line(error: BaseException) -> str:
    """Return what an error says, as one line; libpq speaks in paragraphs."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
