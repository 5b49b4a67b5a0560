"""Next steps: SQL and commands that can be run as they are, and by whom."""

from __future__ import annotations

# The first line of SQL that the owner's login may not run. psql takes it for a comment, so that a
# step stays one text to copy.
SUPERUSER = "-- As a superuser:"


def as_superuser(statements: str) -> str:
    """Return SQL that takes a superuser's rights, and says so in its first line."""
    return f"{SUPERUSER}\n{statements}"


def needs_superuser(step: str) -> bool:
    """Tell whether a next step says that a superuser has to run it."""
    return step.startswith(SUPERUSER)
