"""A complete production environment, and Python run in it."""

import os
import runpy
import subprocess
import sys
from typing import Any

import pytest

from srvc.environment import BASE_DIR

KEY = "k3y-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
COMPLETE = {
    "SRVC_ENV": "production",
    "SRVC_ENV_FILE": os.devnull,
    "SECRET_KEY": KEY,
    "ALLOWED_HOSTS": "srvc.example.com",
    "SITE_ADDRESS": "https://srvc.example.com",
    "CSRF_TRUSTED_ORIGINS": "https://srvc.example.com",
    "DATABASE_URL": "postgres://srvc_app:pa%24s@db.example.com:5432/srvc?sslmode=require",
    "DATABASE_OWNER_URL": "postgres://srvc_owner:pass@db.example.com:5432/srvc?sslmode=require",
    "EMAIL_URL": "smtp+tls://srvc:secret@smtp.example.com:587",
    "DEFAULT_FROM_EMAIL": "SRVC <srvc@example.com>",
    "TRUSTED_PROXIES": "1",
    "BACKUP_SIGNING_KEY": f"backups-{KEY}",
    "BACKUP_AGE_RECIPIENTS": "age1ay4cgd5t936zeqd7kh74r5lmxfhrgukahvhm88vdu2szr88m8fuq2ghpua",
}


def python(*arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """Run Python in the complete environment, with some variables changed or (None) left out."""
    wanted = {"PYTHONWARNINGS": "ignore"} | COMPLETE | variables | {"PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=BASE_DIR,
        env={name: value for name, value in wanted.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str | None) -> dict[str, Any]:
    """The settings as this environment makes them, without a process of their own."""
    for name, value in (COMPLETE | variables).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    return runpy.run_path(str(BASE_DIR / "srvc" / "settings.py"))


def problems(monkeypatch: pytest.MonkeyPatch, **variables: str | None) -> list[str]:
    """What is wrong with this environment, as `kind variable what`."""
    found = settings(monkeypatch, **variables)["CONFIGURATION_ERRORS"]
    assert all(problem.fix.endswith((".", ")")) for problem in found), found
    return [f"{problem.kind} {problem.variable} {problem.wrong}" for problem in found]
