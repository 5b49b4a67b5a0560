"""Every check of the settings is named once, explained, documented and tested."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from ops.health.contract import Check
from ops.health.selection import all_checks
from ops.models import Area
from srvc.environment import BASE_DIR

CHECKS = all_checks()
_DOCUMENTATION = BASE_DIR / "docs" / "health.md"
_HARDENING = BASE_DIR / "docs" / "hardening.md"
# What looks at all checks alike tests none of them.
_NOT_TESTS = {Path(__file__), Path(__file__).with_name("test_demo_is_clean.py")}


def words_of_tests() -> set[str]:
    """Every name that a test file mentions."""
    found: set[str] = set()
    for path in (BASE_DIR / "tests").rglob("test_*.py"):
        if path not in _NOT_TESTS:
            found |= set(re.findall(r"\w+", path.read_text()))
    return found


def test_each_check_has_a_name_of_its_own() -> None:
    assert [name for name, times in Counter(c.name for c in CHECKS).items() if times > 1] == []


def test_each_area_has_checks() -> None:
    assert {check.area for check in CHECKS} == set(Area)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.name))
def test_each_check_says_what_it_looks_for_and_why(check: Check) -> None:
    assert re.fullmatch(r"[a-z][a-z_]{2,59}", check.name)
    assert check.title
    assert not check.title.endswith(".")
    assert check.about.endswith(".")
    assert len(check.about) > len(check.title)
    assert 0 < check.limit <= 30
    assert check.every.total_seconds() >= 60


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.name))
def test_each_check_is_explained_where_its_findings_point_to(check: Check) -> None:
    text = _DOCUMENTATION.read_text()
    heading = re.search(rf"^#+ .*\b{check.name}\b", text, re.MULTILINE)
    row = re.search(rf"^\|[^|]*`{check.name}`", text, re.MULTILINE)
    assert heading or row, f"docs/health.md does not explain {check.name}"


def test_each_check_has_a_test() -> None:
    words = words_of_tests()
    assert [check.name for check in CHECKS if check.name not in words] == []


def test_the_hardening_lists_name_checks_that_exist() -> None:
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|", _HARDENING.read_text(), re.MULTILINE)
    named = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}
    assert len(named) > 20
    assert named - {check.name for check in CHECKS} == set()
