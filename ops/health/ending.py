"""SQL that ends another session's statement or the session, and never one that came after it.

The system gives the number of a process that ended to another one. Each statement names when the
session began, and what it was doing: when that is over, it ends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from ops.health.quoting import literal
from ops.health.steps import as_superuser


@dataclass(frozen=True)
class Target:
    """A session, as pg_stat_activity tells it; moments are its texts."""

    pid: int
    backend_start: str
    # Who may only be ended by a superuser: superusers, and the server's own processes.
    is_protected: bool = False
    transaction_start: str = ""
    statement_start: str = ""

    @property
    def cancelling(self) -> str:
        """SQL that ends its statement, which rolls its transaction back."""
        return self._ending("pg_cancel_backend")

    @property
    def terminating(self) -> str:
        """SQL that ends the session."""
        return self._ending("pg_terminate_backend")

    def _ending(self, function: str) -> str:
        moments = {
            "backend_start": self.backend_start,
            "xact_start": self.transaction_start,
            "query_start": self.statement_start,
        }
        same = "".join(
            f" AND {name} = {literal(moment)}" for name, moment in moments.items() if moment
        )
        statement = f"SELECT {function}(pid) FROM pg_stat_activity WHERE pid = {self.pid}{same};"  # noqa: S608
        return as_superuser(statement) if self.is_protected else statement


# Of pg_stat_activity as `a`, for a Target.
IS_PROTECTED = (
    "coalesce((SELECT r.rolsuper FROM pg_roles r WHERE r.oid = a.usesysid), true)"
    " AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
)
