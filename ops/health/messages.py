"""What people are told about findings, as plain text and as a chat shows it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from ops.models import Finding, Severity

log = logging.getLogger(__name__)

_LONGEST = 2_000  # characters of one finding; a chat refuses longer blocks
_MOST_BLOCKS = 40  # … and more blocks


@dataclass(frozen=True)
class Told:
    """One thing to tell: that a finding is critical, that it is no more, or that it was."""

    finding: Finding
    began: datetime
    ended: datetime | None = None
    # What it was resolved to; None: it is gone.
    now: Severity | None = None
    # The beginning waited for so long that it is told together with the end.
    is_both: bool = False

    @property
    def headline(self) -> str:
        """One line."""
        title = " ".join(self.finding.title.split())
        if self.ended is None:
            return f"Critical: {title}"
        if self.is_both:
            return f"It is over: {title}"
        return f"Gone: {title}" if self.now is None else f"Better ({self.now.label}): {title}"

    @property
    def lines(self) -> list[str]:
        """What is worth knowing, below the headline."""
        if self.ended is None:
            lines = [self.finding.detail, f"Since {_moment(self.began)}."]
            if self.finding.next_step:
                lines.append(f"Next step:\n{self.finding.next_step}")
        else:
            lines = [f"Critical from {_moment(self.began)} to {_moment(self.ended)}."]
            if self.now is not None:
                lines.append(self.finding.detail)
        return [line for line in [*lines, link(self.finding)] if line]


def subject(told: Sequence[Told]) -> str:
    """Return the line above a message."""
    if len(told) == 1:
        text = told[0].headline
    else:
        begun = sum(each.ended is None for each in told)
        parts = [f"{begun} critical"] if begun else []
        parts += [f"{len(told) - begun} over"] if len(told) > begun else []
        text = f"{', '.join(parts)}: {told[0].headline}, …"
    return f"[{_site()}] {text}"[:200]


def plain(told: Sequence[Told]) -> str:
    """Return the text of a mail."""
    parts = ["\n".join([each.headline, *each.lines]) for each in told]
    return "\n\n".join(part[:_LONGEST] for part in parts) + "\n"


def chat(told: Sequence[Told]) -> dict[str, Any]:
    """Return what a Slack-compatible webhook takes."""
    sections = ["\n".join([f"*{_escaped(each.headline)}*", *map(_shown, each.lines)])
                for each in told]  # fmt: skip
    if more := len(sections) - _MOST_BLOCKS:
        sections = [*sections[:_MOST_BLOCKS], f"… and {more:,} more"] if more > 0 else sections
    return {
        "text": _escaped(subject(told)),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": section[:_LONGEST]}}
            for section in sections
        ],
    }


def sentence(text: str) -> dict[str, Any]:
    """Return what a Slack-compatible webhook takes, for a text that is about no finding."""
    block = {"type": "section", "text": {"type": "mrkdwn", "text": _escaped(text)}}
    return {"text": _escaped(text), "blocks": [block]}


def title(text: str) -> str:
    """Return the line above a mail that is about no finding."""
    return f"[{_site()}] {text}"


def link(finding: Finding) -> str:
    """Return where a finding is in the admin: an address, or its path when nobody said where."""
    try:
        path = reverse("admin:ops_finding_change", args=[finding.pk])
    except Exception:
        # It loads every page; one that can't be loaded must not keep the message from people.
        log.exception("the link to a finding could not be made")
        return ""
    return f"{settings.SITE_ADDRESS}{path}"


def _site() -> str:
    return f"SRVC {settings.ENVIRONMENT}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shown(line: str) -> str:
    head, newline, code = line.partition("\n")
    if newline and head.endswith(":"):
        return f"{_escaped(head)}\n```{_escaped(code)}```"
    return _escaped(line)
