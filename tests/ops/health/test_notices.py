"""Who is not looking is told once that a finding became critical, and once that it is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from ops.health import channels, look, notices
from ops.health.checks.notices import notices_undelivered
from ops.health.contract import Check, Reported
from ops.health.recording import record
from ops.health.running import Outcome
from ops.models import Area, CheckState, Finding, Notice, Severity
from ops.rls.router import as_owner_by_default
from ops.runs import OWNER
from tests.ops.health.conftest import Patient

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CHECK = Check("disk", Area.STORAGE, "The disk", "", lambda context: [], 1.0, HOUR)
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def page(request: HttpRequest, pk: int) -> HttpResponse:
    """A finding's."""
    raise NotImplementedError


class Addresses:
    """The address of a finding's page and of nothing else."""

    urlpatterns = [
        path(
            "admin/",
            include(
                ([path("ops/finding/<int:pk>/change/", page, name="ops_finding_change")], "admin")
            ),
        )
    ]


class RefusingBackend(BaseEmailBackend):
    """A mail server that is away: nothing goes out, and nobody can doubt it."""

    def open(self) -> bool:
        raise ConnectionRefusedError(111, "Connection refused")

    def send_messages(self, email_messages: Any) -> int:
        raise AssertionError("it was never open")


class LostBackend(BaseEmailBackend):
    """A mail server whose last word never came."""

    def send_messages(self, email_messages: Any) -> int:
        raise TimeoutError("timed out")


@pytest.fixture(autouse=True)
def telling(patient: Patient, settings: Any) -> Iterator[None]:
    settings.HEALTH_NOTIFY_EMAILS = ["ops@example.com"]
    settings.SITE_ADDRESS = "https://srvc.example.com"
    settings.ROOT_URLCONF = Addresses
    with as_owner_by_default():
        yield


def see(at: datetime, *reported: Reported) -> None:
    """Record what a check reports, as looking does."""
    state = CheckState.FOUND if reported else CheckState.WELL
    with transaction.atomic(using=OWNER):
        notices.announce(record([Outcome(CHECK, state, reported, 0.0)], at), at)


def full(severity: Severity = CRITICAL, key: str = "data") -> Reported:
    return Reported(key, severity, f"The disk {key} is full", "1 % left.", "df -h", "disk")


def told(at: datetime) -> list[str]:
    """Deliver what is due, and return the subjects of the mails that went out."""
    before = len(mail.outbox)
    notices.deliver(at)
    return [str(each.subject).removeprefix("[SRVC development] ") for each in mail.outbox[before:]]


def test_the_beginning_and_the_end_are_told_once_each() -> None:
    see(NOON, full())
    assert told(NOON) == ["Critical: The disk data is full"]
    (message,) = mail.outbox
    finding = Finding.objects.get()
    assert message.to == ["ops@example.com"]
    assert str(message.body).splitlines() == [
        "Critical: The disk data is full",
        "1 % left.",
        "Since 2026-11-22 12:00 UTC.",
        "Next step:",
        "df -h",
        f"https://srvc.example.com/admin/ops/finding/{finding.pk}/change/",
    ]
    see(NOON + MINUTE, full())
    assert told(NOON + MINUTE) == []
    see(NOON + 2 * MINUTE)
    assert told(NOON + 2 * MINUTE) == ["Gone: The disk data is full"]
    assert "Critical from 2026-11-22 12:00 UTC to 2026-11-22 12:02 UTC." in mail.outbox[1].body
    assert told(NOON + 3 * MINUTE) == []
    assert {each.state for each in Notice.objects.all()} == {"sent"}


def test_getting_critical_is_a_beginning_and_getting_better_an_end() -> None:
    see(NOON, full(WARNING))
    assert told(NOON) == []
    see(NOON + MINUTE, full())
    assert told(NOON + MINUTE) == ["Critical: The disk data is full"]
    see(NOON + 2 * MINUTE, full(WARNING))
    assert told(NOON + 2 * MINUTE) == ["Better (Warning): The disk data is full"]
    see(NOON + 3 * MINUTE)
    assert told(NOON + 3 * MINUTE) == []


def test_all_that_is_due_is_one_message() -> None:
    see(NOON, full(), full(key="log"), full(key="wal"))
    assert told(NOON) == ["3 critical: Critical: The disk data is full, …"]
    see(NOON + MINUTE, full(key="tmp"))
    assert told(NOON + MINUTE) == ["1 critical, 3 over: Critical: The disk tmp is full, …"]


def test_what_is_snoozed_or_accepted_is_told_when_that_ends(settings: Any) -> None:
    settings.HEALTH_ACCEPTED = {"disk:log": "It is small."}
    see(NOON, full(WARNING), full(key="log"))
    Finding.objects.filter(key="data").update(
        snoozed_until=NOON + HOUR, snooze_reason="a new one is ordered"
    )
    see(NOON + MINUTE, full(), full(key="log"))
    notices.announce_missed(NOON + MINUTE)
    assert told(NOON + MINUTE) == []
    notices.announce_missed(NOON + HOUR)
    assert told(NOON + HOUR) == ["Critical: The disk data is full"]
    # The end of what nobody was told of is not told either.
    see(NOON + HOUR + MINUTE, full())
    assert told(NOON + HOUR + MINUTE) == []
    notices.announce_missed(NOON + 5 * HOUR)
    assert told(NOON + 5 * HOUR) == []


def test_what_comes_and_goes_is_told_once_an_hour_and_told_when_it_stays() -> None:
    for minute in range(0, 20, 2):
        see(NOON + minute * MINUTE, full())
        notices.announce_missed(NOON + minute * MINUTE)
        told(NOON + minute * MINUTE)
        see(NOON + (minute + 1) * MINUTE)
        told(NOON + (minute + 1) * MINUTE)
    subjects = [str(each.subject).split("] ")[1].split(":")[0] for each in mail.outbox]
    assert subjects == ["Critical", "Gone"]
    see(NOON + 20 * MINUTE, full())
    notices.announce_missed(NOON + 59 * MINUTE)
    assert told(NOON + 59 * MINUTE) == []
    notices.announce_missed(NOON + 61 * MINUTE)
    assert told(NOON + 61 * MINUTE) == ["Critical: The disk data is full"]
    see(NOON + 62 * MINUTE)
    assert told(NOON + 62 * MINUTE) == ["Gone: The disk data is full"]


def test_in_quiet_hours_notices_wait_and_what_is_over_by_then_is_told_as_one(
    settings: Any,
) -> None:
    settings.HEALTH_QUIET_HOURS = "22:00-07:00"
    settings.HEALTH_TIME_ZONE = "America/Chicago"  # UTC-6 in November
    night = NOON - 6 * HOUR  # midnight there
    see(night, full(), full(key="log"))
    assert told(night) == []
    see(night + HOUR, full(key="log"))
    assert told(NOON + HOUR - MINUTE) == []
    assert told(NOON + HOUR) == ["1 critical, 1 over: Critical: The disk log is full, …"]
    assert "Critical from 2026-11-22 06:00 UTC to 2026-11-22 07:00 UTC." in mail.outbox[0].body
    see(NOON + 2 * HOUR)
    assert told(NOON + 2 * HOUR) == ["Gone: The disk log is full"]


def test_what_came_back_in_quiet_hours_is_told_as_it_is_then(settings: Any) -> None:
    settings.HEALTH_QUIET_HOURS = "00:00-12:00"
    settings.HEALTH_TIME_ZONE = "UTC"
    for hour in (9, 7, 5):
        see(NOON - hour * HOUR, full())
        see(NOON - (hour - 1) * HOUR, *([full()] if hour == 5 else []))
    assert told(NOON) == ["Critical: The disk data is full"]
    see(NOON + MINUTE)
    assert told(NOON + MINUTE) == ["Gone: The disk data is full"]


def test_a_try_that_fails_is_repeated_with_growing_pauses_and_given_up(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = channels.get_connection
    monkeypatch.setattr(channels, "get_connection", RefusingBackend)
    see(NOON, full())
    tries, now = [], NOON
    while (waiting := Notice.objects.filter(state="waiting").first()) is not None:
        now = waiting.due_at
        (failure,) = notices.deliver(now).failures
        assert failure == "The mail server could not be used ([Errno 111] Connection refused)."
        tries.append(now - NOON)
    assert [each // MINUTE for each in tries[:6]] == [0, 1, 6, 21, 81, 141]
    assert (len(tries), tries[-1] // HOUR) == (27, 23)
    see(now + MINUTE)
    assert notices.deliver(now + MINUTE) == notices.Delivered()
    found = patient.found(notices_undelivered)["email"]
    assert found.severity == Severity.WARNING
    assert found.title == "Messages about findings don't go out by email"
    assert "1 message was given up" in found.detail
    assert found.next_step == "manage.py watch --try-channels"
    # It works again: the next one goes out, and the finding with it.
    monkeypatch.setattr(channels, "get_connection", working)
    see(now + 2 * HOUR, full())
    assert told(now + 2 * HOUR) == ["Critical: The disk data is full"]
    assert patient.found(notices_undelivered) == {}


def test_an_end_waits_until_its_beginning_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as away:
        away.setattr(channels, "get_connection", RefusingBackend)
        see(NOON, full())
        notices.deliver(NOON)
    see(NOON + MINUTE / 4)  # it is over before the next try
    assert Notice.objects.filter(state="waiting").count() == 2
    assert told(NOON + MINUTE / 2) == []
    assert len(told(NOON + MINUTE)) == 1  # both in one message
    assert {each.state for each in Notice.objects.all()} == {"sent"}


def test_a_mail_of_which_nobody_knows_whether_it_went_out_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channels, "get_connection", LostBackend)
    see(NOON, full())
    (failure,) = notices.deliver(NOON).failures
    assert failure.startswith("Whether the mail went out is not known (timed out)")
    assert told(NOON + HOUR) == []
    assert Notice.objects.get().state == "failed"


def test_a_crash_while_sending_sends_no_second_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(channels.Email, "tell", dies)
        see(NOON, full())
        with pytest.raises(KeyboardInterrupt):
            notices.deliver(NOON)
    assert told(NOON + HOUR) == []
    assert "whether it went out is not known" in Notice.objects.get().error


def test_a_page_or_a_channel_that_crashes_keeps_nobody_from_being_told(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    settings.ROOT_URLCONF = "no.such.module"
    see(NOON, full())
    assert told(NOON) == ["Critical: The disk data is full"]
    assert "the link to a finding could not be made" in caplog.text

    def crashes(*arguments: Any) -> None:
        raise ZeroDivisionError

    settings.HEALTH_NOTIFY_WEBHOOK_URL = "https://hooks.example.com/x"
    monkeypatch.setattr(channels.Webhook, "tell", crashes)
    see(NOON + MINUTE)
    see(NOON + 2 * HOUR, full())
    assert notices.deliver(NOON + 2 * HOUR) == notices.Delivered(
        2, ("Sending by webhook crashed; the log says where.",)
    )
    assert Notice.objects.filter(channel="webhook", state="waiting").count() == 1


def test_looking_by_hand_announces_and_settings_that_drop_a_check_end_what_it_told(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    check = Check("disk", Area.STORAGE, "The disk", "", lambda context: [full()], 1.0, HOUR)
    found = look.look_at([check])
    assert told(found.at) == ["Critical: The disk data is full"]
    settings.HEALTH_CHECKS = []
    look.tidy(found.at + MINUTE)
    assert told(found.at + MINUTE) == ["Gone: The disk data is full"]


def test_without_channels_nothing_is_written_and_what_waited_for_one_is_dropped(
    settings: Any,
) -> None:
    see(NOON, full())
    settings.HEALTH_NOTIFY_EMAILS = []
    see(NOON, full(), full(key="log"))
    notices.announce_missed(NOON + MINUTE)
    assert notices.deliver(NOON + MINUTE) == notices.Delivered()
    (left,) = Notice.objects.all()
    assert (left.state, left.error) == ("failed", "The settings no longer name this channel.")
