"""Telling people who are not looking: that a finding became critical, and that it is over.

Once each by each channel. A notice is written in the transaction that records what it tells of,
and sent afterwards, by whoever watches: so nothing is told that was not recorded, and nothing that
was is forgotten by a crash in between.

- Findings that are snoozed or accepted are not told. When that ends and they are still critical,
  they are (`announce_missed`).
- The end of what was not told is not told either.
- A finding that comes and goes is told of once an hour at most; one that stays is told of then.
- In quiet hours notices wait. What was over before they ended is told as one: it was, and is over.
- A try that fails is repeated after 1, 5, 15, 60, 60 … minutes, for about a day; then it is given
  up, which is a finding (`checks/notices.py`).
- All that is due by a channel is one message. A mail is never sent twice, not even when nobody can
  know whether it went out; a webhook may be called twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from ops.health.channels import Channel, UncertainError, channels
from ops.health.errors import HealthError
from ops.health.messages import Told
from ops.health.quiet import QuietHours
from ops.health.recording import Change
from ops.models import EventKind, Finding, FindingEvent, Notice, NoticeState, Severity
from ops.runs import OWNER

log = logging.getLogger(__name__)

# After the first try, the second …; the last one again and again.
PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))
TRIES = 27  # about a day
ONCE_AN = timedelta(hours=1)
_AT_ONCE = 50  # findings in one message

_BEGINNING = Q(
    kind__in=(EventKind.OPENED, EventKind.REOPENED, EventKind.WORSE), severity=Severity.CRITICAL
)
_END = Q(kind=EventKind.RESOLVED) | Q(kind=EventKind.BETTER) & ~Q(severity=Severity.CRITICAL)


@dataclass(frozen=True)
class Delivered:
    """What became of what was due."""

    sent: int = 0
    failures: tuple[str, ...] = ()  # a sentence for each channel that did not take it


def announce(changes: Iterable[Change], now: datetime) -> None:
    """Write notices of what a check's record changed; called in the transaction that records it."""
    wanted = channels()
    if not wanted:
        return
    for change in changes:
        event = change.event
        if event.kind in {EventKind.RESOLVED, EventKind.BETTER}:
            if event.severity != Severity.CRITICAL or event.kind == EventKind.RESOLVED:
                for channel in wanted:
                    _announce_end(event, channel.name, now)
        elif event.severity == Severity.CRITICAL and change.finding.is_loud(now):
            for channel in wanted:
                _announce_beginning(event, channel.name, now)


def announce_missed(now: datetime) -> None:
    """Write notices of critical findings that nobody was told of when they came.

    They were snoozed or accepted then, had just been told of, or there was no channel yet.
    """
    wanted = channels()
    if not wanted:
        return
    beginnings = FindingEvent.objects.using(OWNER).filter(_BEGINNING)
    critical = Finding.objects.using(OWNER).loud(now).filter(severity=Severity.CRITICAL)
    with transaction.atomic(using=OWNER):
        for finding in critical:
            event = beginnings.filter(finding=finding).order_by("-pk").first()
            if event is None:
                continue
            known = set(event.notices.using(OWNER).values_list("channel", flat=True))
            for channel in wanted:
                if channel.name not in known:
                    _announce_beginning(event, channel.name, now)


def deliver(now: datetime) -> Delivered:
    """Send what is due, one message for each channel. Never raises what a channel raises."""
    sent, failures = 0, []
    wanted = channels()
    _drop_without_channel([channel.name for channel in wanted])
    for channel in wanted:
        with transaction.atomic(using=OWNER):
            notices = _due(channel.name, now)
            told = [_told(notice) for notice in notices]
            told.sort(key=lambda each: each.ended is not None)
            _mark_tried(notices, channel, now)
        if not notices:
            continue
        try:
            channel.tell(told)
        except HealthError as error:
            failures.append(str(error))
            _mark_failed(notices, channel, str(error), now, again=not is_final(error))
        except Exception:
            # Whatever it is, the other channels and the next tick are not its affair.
            log.exception("the channel %s crashed", channel.name)
            why = f"Sending by {channel.name} crashed; the log says where."
            failures.append(why)
            _mark_failed(notices, channel, why, now, again=channel.may_come_twice)
        else:
            sent += len(notices)
            _these(notices).update(state=NoticeState.SENT, sent_at=now, error="")
    return Delivered(sent, tuple(failures))


def quiet_hours() -> QuietHours | None:
    """Return the hours of the settings; None when there are none."""
    return QuietHours.parse(settings.HEALTH_QUIET_HOURS, settings.HEALTH_TIME_ZONE)


def not_quiet(moment: datetime) -> datetime:
    """Return the first moment from this one on at which people may be told something."""
    quiet = quiet_hours()
    return quiet.until(moment) if quiet else moment


def is_final(error: HealthError) -> bool:
    """Whether nobody can know if a message went out: what must not come twice is not repeated."""
    return isinstance(error, UncertainError)


# --- writing them ---------------------------------------------------------------------------------


def _announce_beginning(event: FindingEvent, channel: str, now: datetime) -> None:
    told = Notice.objects.using(OWNER).filter(
        _of_beginning(), channel=channel, event__finding=event.finding_id
    )
    waiting = (
        told.select_for_update(of=("self",))
        .filter(state=NoticeState.WAITING, attempts=0)
        .order_by("event_id")
        .last()
    )
    if waiting is not None:
        # It was over meanwhile, and nobody heard of it yet: then this time is what is told.
        Notice.objects.using(OWNER).filter(pk=waiting.pk).update(event=event)
        return
    lately = Q(sent_at__gt=now - ONCE_AN) | Q(event__at__gt=now - ONCE_AN)
    if not told.filter(lately).exclude(event=event).exists():
        _write(event, channel, now)


def _announce_end(event: FindingEvent, channel: str, now: datetime) -> None:
    beginning = (
        Notice.objects.using(OWNER)
        .select_for_update(of=("self",))
        .filter(_of_beginning(), channel=channel, event__finding=event.finding_id)
        .filter(event__lt=event.pk)
        .select_related("event")
        .order_by("-event_id")
        .first()
    )
    # Not told at all, or given up, or over before: then there is nothing whose end this would be.
    if beginning is None or beginning.state == NoticeState.FAILED:
        return
    if _end_of(beginning.event, before=event.pk) is not None:
        return
    if beginning.state == NoticeState.WAITING and not beginning.attempts:
        return  # it waits through quiet hours, and tells of both
    _write(event, channel, now)


def _write(event: FindingEvent, channel: str, now: datetime) -> None:
    Notice.objects.using(OWNER).get_or_create(
        event=event, channel=channel, defaults={"due_at": not_quiet(now)}
    )


def _of_beginning() -> Q:
    return Q(
        event__kind__in=(EventKind.OPENED, EventKind.REOPENED, EventKind.WORSE),
        event__severity=Severity.CRITICAL,
    )


def _end_of(beginning: FindingEvent, *, before: int | None = None) -> FindingEvent | None:
    """Return the event by which what began then was over."""
    later = FindingEvent.objects.using(OWNER).filter(
        _END, finding=beginning.finding_id, pk__gt=beginning.pk
    )
    return (later.filter(pk__lt=before) if before else later).order_by("pk").first()


# --- sending them ---------------------------------------------------------------------------------


def _due(channel: str, now: datetime) -> list[Notice]:
    """Take what is due; somebody else who delivers at the same time takes other ones.

    The end of something is not told before its beginning, which may be waiting for another try.
    """
    waiting = Notice.objects.using(OWNER).filter(channel=channel, state=NoticeState.WAITING)
    earlier = waiting.filter(
        event__finding=OuterRef("event__finding"), event__lt=OuterRef("event"), due_at__gt=now
    )
    return list(
        waiting.filter(~Exists(earlier), due_at__lte=now)
        .select_for_update(skip_locked=True, of=("self",))
        .select_related("event__finding")
        .order_by("event_id")[:_AT_ONCE]
    )


def _drop_without_channel(names: Sequence[str]) -> None:
    """Give up what waits for a channel that settings no longer name."""
    Notice.objects.using(OWNER).filter(state=NoticeState.WAITING).exclude(channel__in=names).update(
        state=NoticeState.FAILED, error="The settings no longer name this channel."
    )


def _told(notice: Notice) -> Told:
    event = notice.event
    if event.severity == Severity.CRITICAL and event.kind != EventKind.RESOLVED:
        end = None if notice.attempts else _end_of(event)
        if end is None:
            return Told(event.finding, event.at)
        return Told(event.finding, event.at, end.at, _left(end), is_both=True)
    beginning = (
        FindingEvent.objects.using(OWNER)
        .filter(_BEGINNING, finding=event.finding_id, pk__lt=event.pk)
        .filter(notices__channel=notice.channel)
        .order_by("-pk")
        .first()
    )
    return Told(event.finding, beginning.at if beginning else event.at, event.at, _left(event))


def _left(end: FindingEvent) -> Severity | None:
    return None if end.kind == EventKind.RESOLVED else Severity(end.severity)


def _mark_tried(notices: Sequence[Notice], channel: Channel, now: datetime) -> None:
    """Write down that it is tried before it is: a crash in between must not send it again."""
    for notice in notices:
        notice.attempts += 1
        notice.due_at = not_quiet(now + PAUSES[min(notice.attempts, len(PAUSES)) - 1])
        if not channel.may_come_twice:
            notice.state = NoticeState.FAILED
            notice.error = "It ended while it was being sent; whether it went out is not known."
        notice.save(using=OWNER, update_fields=["attempts", "due_at", "state", "error"])


def _mark_failed(
    notices: Sequence[Notice], channel: Channel, why: str, now: datetime, *, again: bool
) -> None:
    with transaction.atomic(using=OWNER):
        retried = _these([each for each in notices if again and each.attempts < TRIES])
        retried.update(state=NoticeState.WAITING, error=why)
        given_up = [each for each in notices if not again or each.attempts >= TRIES]
        _these(given_up).update(state=NoticeState.FAILED, error=why)
        # An end whose beginning nobody heard of.
        Notice.objects.using(OWNER).filter(
            channel=channel.name,
            state=NoticeState.WAITING,
            event__finding__in=[each.event.finding_id for each in given_up],
        ).exclude(_of_beginning()).update(
            state=NoticeState.FAILED, error="That it began could not be told, so neither is this."
        )


def _these(notices: Sequence[Notice]) -> QuerySet[Notice]:
    return Notice.objects.using(OWNER).filter(pk__in=[each.pk for each in notices])
