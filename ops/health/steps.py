"""Next steps: SQL and commands that can be run as they are, and by whom."""

from __future__ import annotations

from collections.abc import Iterable

from ops.health.quoting import quoted
from ops.postgres.roles import MAINTENANCE_DATABASE

# The first line of SQL that the owner's login may not run. psql takes it for a comment, so that a
# step stays one text to copy.
SUPERUSER = "-- As a superuser:"


def as_superuser(statements: str) -> str:
    """Return SQL that takes a superuser's rights, and says so in its first line."""
    return f"{SUPERUSER}\n{statements}"


def granting(role: str, *rights: str) -> str:
    """Return the SQL by which a superuser lets a role see more: predefined roles it becomes a
    member of."""
    return as_superuser("\n".join(f"GRANT {each} TO {quoted(role)};" for each in rights))


def reading(role: str, *objects: tuple[str, str], kind: str = "TABLE") -> str:
    """Return the SQL by which a superuser lets a role read tables, each a schema and a name, of
    other owners."""
    names = dict.fromkeys(quoted(*each) for each in objects)
    schemas = dict.fromkeys(quoted(schema) for schema, _ in objects)
    return as_superuser(
        f"GRANT USAGE ON SCHEMA {', '.join(schemas)} TO {quoted(role)};\n"
        f"GRANT SELECT ON {kind} {', '.join(names)} TO {quoted(role)};"
    )


def together(steps: Iterable[str]) -> str:
    """Return several steps as one, each line once, by the login that may run all of them."""
    given = list(steps)
    lines = dict.fromkeys(line for each in given for line in each.split("\n") if line != SUPERUSER)
    step = "\n".join(lines)
    return as_superuser(step) if any(map(needs_superuser, given)) else step


def in_a_sentence(step: str, database: str = MAINTENANCE_DATABASE) -> str:
    """Return a next step for a sentence: who has to run it, where, and what."""
    if not needs_superuser(step):
        return step
    statements = " ".join(step.removeprefix(SUPERUSER).split("\n")).strip()
    return f"As a superuser (on the server: sudo -u postgres psql {database}): {statements}"


def needs_superuser(step: str) -> bool:
    """Tell whether a next step says that a superuser has to run it."""
    return step.startswith(SUPERUSER)
