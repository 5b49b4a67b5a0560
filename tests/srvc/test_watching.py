"""Settings of telling and of /metrics: what is half right is told and left out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import environ
import pytest

from ops.health.errors import HealthError
from ops.health.quiet import QuietHours
from srvc import watching
from srvc.configuration import Configuration, Problem


def reading(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Configuration:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    problems: list[Problem] = []
    return Configuration(environ.Env(), problems)


@pytest.mark.parametrize(
    ("variable", "read", "value", "found"),
    [
        ("SITE_ADDRESS", watching.site_address, "https://a.example/", "https://a.example"),
        ("HEALTH_NOTIFY_EMAILS", watching.recipients, "a@b.example, c@d.example",
         ["a@b.example", "c@d.example"]),
        ("HEALTH_NOTIFY_WEBHOOK_URL", watching.webhook, "https://a.example/x", "https://a.example/x"),
        ("METRICS_TOKEN", watching.metrics_token, "x" * 24, "x" * 24),
        ("METRICS_ALLOW", watching.metrics_networks, "10.0.0.1,10.1.0.0/16",
         ["10.0.0.1", "10.1.0.0/16"]),
        ("HEALTH_TIME_ZONE", lambda read: watching.time_zone(read, "UTC"), "Asia/Tokyo",
         "Asia/Tokyo"),
        ("HEALTH_QUIET_HOURS", lambda read: watching.quiet_hours(read, "UTC"), "22:00-7:30",
         "22:00-7:30"),
    ],
)  # fmt: skip
def test_good_values_are_taken(
    variable: str,
    read: Callable[[Configuration], Any],
    value: str,
    found: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configuration = reading(monkeypatch, **{variable: value})
    assert read(configuration) == found
    assert configuration.problems == []


@pytest.mark.parametrize(
    ("variable", "read", "value", "wrong"),
    [
        ("SITE_ADDRESS", watching.site_address, "a.example", "is no address"),
        ("HEALTH_NOTIFY_EMAILS", watching.recipients, "a@b.example,ops",
         "holds something that is no e-mail address"),
        ("HEALTH_NOTIFY_WEBHOOK_URL", watching.webhook, "http://a.example/secret",
         "would send its secret address in clear"),
        ("METRICS_TOKEN", watching.metrics_token, "short",
         "can be guessed (it needs 24 plain characters or more)"),
        ("METRICS_ALLOW", watching.metrics_networks, "10.0.0.0/8,office",
         "holds something that is no network"),
        ("METRICS_ALLOW", watching.metrics_networks, "0.0.0.0/0", "lets everybody read /metrics"),
        ("HEALTH_TIME_ZONE", lambda read: watching.time_zone(read, ""), "Mars/Olympus",
         "is no time zone"),
        ("HEALTH_QUIET_HOURS", lambda read: watching.quiet_hours(read, "UTC"), "22-7",
         "are no hours of a day"),
    ],
)  # fmt: skip
def test_bad_values_are_told_without_being_shown_and_left_out(
    variable: str,
    read: Callable[[Configuration], Any],
    value: str,
    wrong: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configuration = reading(monkeypatch, **{variable: value})
    assert not read(configuration)
    (problem,) = configuration.problems
    assert (problem.variable, problem.wrong) == (variable, wrong)
    assert value not in problem.wrong + problem.fix


@pytest.mark.parametrize(
    ("hours", "zone", "moment", "until"),
    [
        ("22:00-07:00", "UTC", "2026-11-22 21:59", "2026-11-22 21:59"),
        ("22:00-07:00", "UTC", "2026-11-22 22:00", "2026-11-23 07:00"),
        ("22:00-07:00", "UTC", "2026-11-23 06:59", "2026-11-23 07:00"),
        ("22:00-07:00", "UTC", "2026-11-23 07:00", "2026-11-23 07:00"),
        ("12:00-13:30", "UTC", "2026-11-23 12:30", "2026-11-23 13:30"),
        ("12:00-13:30", "UTC", "2026-11-23 13:30", "2026-11-23 13:30"),
        ("22:00-07:00", "America/Chicago", "2026-11-23 04:00", "2026-11-23 13:00"),
        # The night in which clocks go back is an hour longer.
        ("22:00-07:00", "Europe/Berlin", "2026-10-24 21:00", "2026-10-25 06:00"),
    ],
)
def test_quiet_hours_end_when_they_do_there(hours: str, zone: str, moment: str, until: str) -> None:
    quiet = QuietHours.parse(hours, zone)
    assert quiet is not None
    given = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert quiet.until(given) == datetime.fromisoformat(until).replace(tzinfo=UTC)
    assert quiet.until(given).utcoffset() == timedelta(0)


def test_hours_that_leave_no_time_to_tell_are_refused() -> None:
    with pytest.raises(HealthError, match="leave no time"):
        QuietHours.parse("7:00-07:00", "UTC")
    assert QuietHours.parse(" ", "UTC") is None
