"""The reports of `manage.py inspect --report`, by name."""

from __future__ import annotations

from collections.abc import Callable

from ops.health.context import Context
from ops.health.inspection import (
    server_reports,
    session_reports,
    statement_reports,
    storage_reports,
)
from ops.health.inspection.report import Report

REPORTS: dict[str, Callable[[Context], Report]] = {
    "locks": session_reports.locks,
    "blocking": session_reports.blocking,
    "outliers": statement_reports.outliers,
    "calls": statement_reports.calls,
    "indexes": storage_reports.indexes,
    "bloat": storage_reports.bloat,
    "vacuum": storage_reports.vacuum,
    "roles": server_reports.roles,
    "replication": server_reports.replication,
    "traffic": storage_reports.traffic,
}
