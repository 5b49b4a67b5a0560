"""`.env.example` names every variable, so that a stranger needs no source to configure SRVC."""

import itertools
import re
from pathlib import Path

import pytest

from srvc.environment import BASE_DIR

_READ = re.compile(
    r"""(?:environ(?:\.get\(|\[)|read\.\w+\(|getenv\()\s*["']([A-Z][A-Z0-9_]+)["']"""
)
_NAMED = re.compile(r"^#?([A-Z][A-Z0-9_]+)=", re.MULTILINE)
_SYSTEM = {"PATH", "DJANGO_SETTINGS_MODULE", "PGDATESTYLE"}


def sources() -> list[Path]:
    apps = ("srvc", "billing", "crm", "ops")
    return [path for app in apps for path in (BASE_DIR / app).rglob("*.py")]


def test_every_variable_that_is_read_is_explained() -> None:
    read = {name for path in sources() for name in _READ.findall(path.read_text())}
    named = set(_NAMED.findall((BASE_DIR / ".env.example").read_text()))
    assert read - named - _SYSTEM == set()


def test_every_variable_has_a_sentence_above_it() -> None:
    lines = (BASE_DIR / ".env.example").read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if _NAMED.match(line):
            explained = before.startswith("# ") or _NAMED.match(before)
            assert explained, f"{line} stands without an explanation"


def test_it_holds_no_secret() -> None:
    text = (BASE_DIR / ".env.example").read_text()
    for line in re.findall(
        r"^(?:SECRET_KEY|DEMO_PASSWORD|SRVC_\w+_PASSWORD)=(.*)$", text, re.MULTILINE
    ):
        assert line == ""


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_lock_files_have_hashes_and_no_address(lock: str) -> None:
    text = (BASE_DIR / lock).read_text()
    requirement = r"^[a-z0-9._-]+=="
    requirements = re.findall(requirement, text, re.MULTILINE)
    hashed = re.findall(requirement + r"[^\n]*\\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(requirements) > 20
    assert len(hashed) == len(requirements)
    assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links|@ ", text)
