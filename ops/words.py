"""Sizes, durations and moments, as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Return bytes in the unit that leaves one to three digits before the point."""
    number, unit = float(count), 0
    while number >= 999.5 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    if unit == 0:
        return "1 byte" if count == 1 else f"{int(count)} bytes"
    return f"{number:.1f} {_UNITS[unit]}" if number < 99.95 else f"{number:.0f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """Return a length of time, in its two largest units."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, seconds_left = divmod(whole, 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days} d {hours_left} h"
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {seconds_left} s" if minutes else f"{whole} s"


def ago(moment: datetime, now: datetime) -> str:
    """Return how long ago something was, roughly; a moment to come is said to be one."""
    gone = now - moment
    if gone < timedelta(seconds=-60):
        return f"in {_roughly(-gone)}"
    return f"{_roughly(gone)} ago" if gone >= timedelta(seconds=60) else "just now"


def _roughly(length: timedelta) -> str:
    if length < timedelta(hours=1):
        return f"{length // timedelta(minutes=1)} min"
    if length < timedelta(days=2):
        return f"{length // timedelta(hours=1)} h"
    return f"{length.days:,} days"
