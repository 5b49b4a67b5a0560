"""System checks of the settings: each problem names its variable and the next step."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004

from srvc import environment
from srvc.configuration import Kind

IDS: dict[Kind, str] = {
    "invalid": "srvc.E001",
    "missing": "srvc.E002",
    "unsafe": "srvc.E003",
    "file": "srvc.E004",
}
EXPOSED_FILE = "srvc.W001"
NO_TWO_FACTOR = "srvc.W002"


@register(Tags.security)
def check_configuration(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Every variable that is missing or wrong."""
    return [
        Error(f"{problem.variable} {problem.wrong}.", hint=problem.fix, id=IDS[problem.kind])
        for problem in settings.CONFIGURATION_ERRORS
    ]


@register(Tags.security)
def check_file_is_private(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """The environment's file holds passwords: nobody else on the machine may read it."""
    file = environment.environment_file(settings.ENVIRONMENT)
    if not settings.PRODUCTION_LIKE or not file.is_file():
        return []
    if not stat.S_IMODE(file.stat().st_mode) & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWOTH):
        return []
    owner = "" if file.stat().st_uid == os.geteuid() else " as its owner"
    return [
        Warning(
            f"{file} can be read by other users of this machine, and holds passwords.",
            hint=f"Run{owner}: chmod 600 {file}",
            id=EXPOSED_FILE,
        )
    ]


@register(Tags.security, deploy=True)
def check_two_factor(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Platform administrators see every account."""
    if settings.REQUIRE_TWO_FACTOR:
        return []
    return [
        Warning(
            "REQUIRE_TWO_FACTOR is off: a password alone opens every account.",
            hint="Remove REQUIRE_TWO_FACTOR, or set REQUIRE_TWO_FACTOR=true.",
            id=NO_TWO_FACTOR,
        )
    ]
