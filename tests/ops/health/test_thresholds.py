"""Settings change single thresholds, and a name that is none is told before anything starts."""

from __future__ import annotations

import pytest
from django.conf import settings

from ops.checks import check_health_thresholds
from ops.health.thresholds import Thresholds


def test_settings_change_one_and_leave_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "HEALTH_THRESHOLDS", {"connections": 7})
    found = Thresholds.of_settings()
    assert (found.connections, found.sequence_share) == (7, Thresholds().sequence_share)
    assert check_health_thresholds(None) == []


def test_a_name_that_is_none_is_an_error_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "HEALTH_THRESHOLDS", {"conections": 7})
    (told,) = check_health_thresholds(None)
    assert told.id == "ops.E110"
    assert told.msg == "HEALTH_THRESHOLDS names 'conections', which is no threshold."
    assert Thresholds.of_settings() == Thresholds()
