"""Checks of telling: whether messages about findings go out."""

from __future__ import annotations

from collections.abc import Iterator

from ops.health.channels import channels
from ops.health.context import Context
from ops.health.contract import Reported, check
from ops.models import Area, Severity

# A channel that took nothing for so many tries (about 80 minutes) is told before it is given up.
_TRIES = 4
_TROUBLE = """
    SELECT n.channel, count(*) FILTER (WHERE n.state = 'failed'),
        count(*) FILTER (WHERE n.state = 'waiting'),
        (array_agg(n.error ORDER BY n.due_at DESC))[1]
    FROM ops_notice n
    WHERE n.channel = ANY(%s) AND (n.state = 'failed' OR n.state = 'waiting' AND n.attempts >= %s)
      AND n.due_at > coalesce((SELECT max(s.sent_at) FROM ops_notice s
        WHERE s.channel = n.channel AND s.state = 'sent'), '-infinity')
    GROUP BY n.channel ORDER BY n.channel
"""


@check(Area.SCHEDULE, "Messages about findings that don't go out")
def notices_undelivered(context: Context) -> Iterator[Reported]:
    """Nobody looks at this page all day. When mails or the chat don't take what is to be told, the
    next critical finding is known to nobody.
    """
    names = [channel.name for channel in channels()]
    for channel, failed, waiting, error in context.rows(_TROUBLE, [names, _TRIES]):
        parts = [f"{failed:,} {_messages(failed)} given up"] if failed else []
        parts += [f"{waiting:,} {_messages(waiting)} tried again and again"] if waiting else []
        yield Reported(
            channel,
            Severity.WARNING,
            f"Messages about findings don't go out by {channel}",
            f"{', '.join(parts)} since one went out last. The last reason: {error}",
            "manage.py watch --try-channels",
            f"channel {channel}",
        )


def _messages(count: int) -> str:
    return "message was" if count == 1 else "messages were"


CHECKS = (notices_undelivered,)
