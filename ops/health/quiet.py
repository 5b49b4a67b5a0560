"""Hours in which nobody is to be told anything: a daily stretch, in a time zone of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from ops.health.errors import HealthError

_FORM = re.compile(r"(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)")


@dataclass(frozen=True)
class QuietHours:
    """From one time of day to another, over midnight when the second is the earlier one."""

    begin: time
    end: time
    zone: tzinfo

    @classmethod
    def parse(cls, text: str, zone: str) -> QuietHours | None:
        """Read hours such as "22:00-07:00"; None for an empty text.

        Raises HealthError for anything else, and for a time zone that there is not.
        """
        if not text.strip():
            return None
        try:
            match = _FORM.fullmatch(text.strip())
            hours, minutes, to_hours, to_minutes = map(int, match.groups() if match else ())
            begin, end = time(hours, minutes), time(to_hours, to_minutes)
            found = cls(begin, end, ZoneInfo(zone))
        except (ValueError, OSError, KeyError) as error:  # KeyError: ZoneInfoNotFoundError
            raise HealthError(f"{text!r} in {zone!r} are no hours such as 22:00-07:00.") from error
        if begin == end:
            raise HealthError(f"{text!r} would leave no time in which anybody is told anything.")
        return found

    def until(self, moment: datetime) -> datetime:
        """Return the first moment from this one on that is not quiet."""
        local = moment.astimezone(self.zone)
        clock = local.time()
        over_midnight = self.begin > self.end
        after, before = clock >= self.begin, clock < self.end
        if not (after or before if over_midnight else after and before):
            return moment
        day = local.date() + timedelta(days=1 if over_midnight and after else 0)
        return datetime.combine(day, self.end, tzinfo=self.zone).astimezone(moment.tzinfo)
