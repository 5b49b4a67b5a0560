"""System checks of the database (`manage.py check --database default`, web start-up) and health."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.db import DEFAULT_DB_ALIAS
from django.db.utils import Error as DatabaseError

from ops.health.thresholds import Thresholds
from ops.rls import audit


@register(Tags.database)
def check_row_security(
    app_configs: Sequence[AppConfig] | None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """The web process's login must not see past row security, and every table be covered."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    try:
        findings = [*audit.audit_login(), *audit.audit_tables()]
    except DatabaseError:
        return [
            Error(
                "The database could not be asked whether row security is in force.",
                hint="Check that the server runs and that DATABASE_URL is right; nothing was "
                "changed.",
                id="ops.E100",
            )
        ]
    return [
        (Warning if finding.id.startswith("ops.W") else Error)(
            finding.message, hint=finding.hint, id=finding.id
        )
        for finding in findings
    ]


@register()
def check_health_thresholds(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """A threshold of another name would change nothing, and nobody would notice."""
    known = {each.name for each in fields(Thresholds)}
    return [
        Error(
            f"HEALTH_THRESHOLDS names {name!r}, which is no threshold.",
            hint="Take a name of ops/health/thresholds.py; until then nothing is changed by it.",
            id="ops.E110",
        )
        for name in sorted(set(settings.HEALTH_THRESHOLDS) - known)
    ]
