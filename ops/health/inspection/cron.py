"""When a line of a crontab runs next."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

_FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
# The rarest line a crontab can hold is of a 29th of February.
_FARTHEST = 8 * 366


def next_time(fields: str, after: datetime) -> datetime:
    """Return the first moment later than `after` at which a line with these five fields runs.

    Numbers, lists, ranges, steps and stars are understood, in the machine's own time zone, as
    crontab(5) has them. Raises ValueError for anything else.
    """
    minutes, hours, days, months, weekdays = (
        _numbers(field, *limits) for field, limits in zip(fields.split(), _FIELDS, strict=True)
    )
    # Sunday is 0 and 7.
    weekdays = {number % 7 for number in weekdays}
    days_are_given, weekdays_are_given = (
        not field.startswith("*") for field in (fields.split()[2], fields.split()[4])
    )
    # The machine's own clock, as cron looks at it.
    local = after.astimezone()

    def runs_on(day: date) -> bool:
        by_number, by_weekday = day.day in days, day.isoweekday() % 7 in weekdays
        either = days_are_given and weekdays_are_given
        fits = by_number or by_weekday if either else by_number and by_weekday
        return day.month in months and fits

    for ahead in range(_FARTHEST):
        day = local.date() + timedelta(days=ahead)
        if not runs_on(day):
            continue
        for hour in sorted(hours):
            for minute in sorted(minutes):
                found = datetime.combine(day, time(hour, minute)).astimezone()
                if found > after:
                    return found.astimezone(after.tzinfo)
    raise ValueError(f"{fields!r} never comes")


def _numbers(field: str, first: int, last: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            low, high = first, last
        else:
            low_text, dash, high_text = span.partition("-")
            low = int(low_text)
            high = int(high_text) if dash else (last if step else low)
        if not first <= low <= high <= last:
            raise ValueError(f"{field!r} is no field of a crontab")
        found.update(range(low, high + 1, int(step or 1)))
    return found
