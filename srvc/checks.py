"""System checks of the settings: each problem names its variable and the next step."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004

from ops.backups import plan
from srvc import environment, environment_names, static_files
from srvc.configuration import Kind

IDS: dict[Kind, str] = {
    "invalid": "srvc.E001",
    "missing": "srvc.E002",
    "unsafe": "srvc.E003",
    "file": "srvc.E004",
    "misspelt": "srvc.E007",
}
EXPOSED_FILE = "srvc.W001"
NO_TWO_FACTOR = "srvc.W002"
NO_BACKUP_KEYS = ("srvc.W003", "srvc.E005")
BACKUP_PLAN = "srvc.E006"
STATIC_FILES = "srvc.E008"
UNKNOWN_NAME = "srvc.W004"


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


@register(Tags.security)
def check_names(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A variable of another name than SRVC reads has no effect, and nobody would notice."""
    file = environment.environment_file(settings.ENVIRONMENT)
    # Those that nearly are one of ours are errors already (environment_names.report_names).
    found = [
        (each.label, f"in {file} (line {each.line})", f"Remove it from {file}; .env.example names")
        for each in environment_names.unknown_in(file)
        if not each.meant
    ] + [
        (each.label, "in the process's environment", f"Rename it to {each.meant}; .env.example has")
        for each in environment_names.unknown_in_process()
    ]
    return [
        Warning(
            f"{name} {where} is no variable of SRVC, so its value has no effect.",
            hint=f"{hint} every variable there is.",
            id=UNKNOWN_NAME,
        )
        for name, where, hint in found
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


@register(Tags.staticfiles, deploy=True)
def check_static_files(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Pages name their static files by the manifest that collectstatic writes."""
    if not settings.PRODUCTION_LIKE or not (problem := static_files.problem()):
        return []
    hint = f"Run: {static_files.COMMAND} (in the environment {settings.ENVIRONMENT}), then restart "
    return [Error(f"{problem}.", hint=f"{hint}the web process.", id=STATIC_FILES)]


@register(Tags.security)
def check_backup_keys(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Backups of a real environment are encrypted and signed, or refused.

    A warning, because a site that can take no backup still has to serve its visitors; before a
    deployment it is an error (check_backup_keys_before_deployment).
    """
    return [Warning(message, hint=hint, id=NO_BACKUP_KEYS[0]) for message, hint in _lacking_keys()]


@register(Tags.security, deploy=True)
def check_backup_keys_before_deployment(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Nothing is deployed that can take no backup."""
    return [Error(message, hint=hint, id=NO_BACKUP_KEYS[1]) for message, hint in _lacking_keys()]


@register()
def check_backup_plan(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What the plan of backups says must be possible: by it, backups are deleted."""
    plans = {"BACKUP_PLAN": settings.BACKUP_PLAN}
    if settings.BACKUP_COPY_PLAN is not None:
        plans["BACKUP_COPY_PLAN"] = settings.BACKUP_COPY_PLAN
    return [
        Error(
            f"{name} {problem}.",
            hint=f"Correct {name} in srvc/settings.py; until then no backup is deleted.",
            id=BACKUP_PLAN,
        )
        for name, given in plans.items()
        for problem in plan.problems(given)
    ]


def _lacking_keys() -> list[tuple[str, str]]:
    if not settings.PRODUCTION_LIKE:
        return []
    found = []
    if not (settings.BACKUP_AGE_RECIPIENTS or settings.DBBACKUP_GPG_RECIPIENT):
        hint = (
            f"Run: manage.py backupkeys {settings.ENVIRONMENT} --new; it says what to set here and "
            "what to keep elsewhere."
        )
        found.append(("BACKUP_AGE_RECIPIENTS is not set: no backup can be taken.", hint))
    if not settings.BACKUP_SIGNING_KEY:
        hint = (
            "Set it to a long random value: python3 -c 'import secrets; "
            "print(secrets.token_urlsafe(64))' prints one. Keep a copy with the key of the backups."
        )
        found.append(
            ("BACKUP_SIGNING_KEY is not set: no backup can be taken, and none be trusted.", hint)
        )
    return found
