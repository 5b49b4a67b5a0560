"""What settings hand to django-dbbackup. It is imported with them, so it needs none of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

CONNECTOR = "ops.dbbackup_edge.Connector"
_OURS = re.compile(
    r"srvc-[a-z][a-z0-9_-]*-\d{4}-\d\d-\d\d-\d{6}-[a-z]+(-[a-z0-9_]+)?-[0-9a-f]{6}\."
)


def database_file(parts: dict[str, Any] | None = None, **given: Any) -> str:
    """Return the name of what `dbbackup` makes: one of ours, so that the catalogue knows it."""
    return _named("full", {**(parts or {}), **given})


def media_file(parts: dict[str, Any] | None = None, **given: Any) -> str:
    """Return the name of what `mediabackup` makes."""
    return _named("media", {**(parts or {}), **given})


def keep(name: str) -> bool:
    """Tell `dbbackup --clean` to leave our objects alone: retention goes by the plan."""
    return _OURS.match(name) is not None


def _named(kind: str, parts: dict[str, Any]) -> str:
    from django.conf import settings

    from ops.backups.naming import new_name

    name = new_name(environment=settings.ENVIRONMENT, taken_at=datetime.now(UTC), kind=kind)
    return f"{name}.{parts['extension']}"
