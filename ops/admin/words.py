"""Moments, durations, sizes and states as people read them."""

from __future__ import annotations

import datetime as dt

from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ops.models import BackupKind, BackupState, Run, RunKind, RunStatus

# Unfold's colour and a symbol for each; the word stands beside them, for whoever sees neither.
STATES = {
    BackupState.TAKEN: ("info", "inventory_2"),
    BackupState.VERIFIED: ("primary", "task_alt"),
    BackupState.PROVEN: ("success", "verified"),
    BackupState.FAILED: ("danger", "error"),
    BackupState.MISSING: ("danger", "search_off"),
}
# What each is worth, for who meets the words for the first time.
MEANINGS = {
    BackupState.TAKEN: "It was written, and nobody has read it since. Verify reads it; Prove "
    "restores it beside the live database.",
    BackupState.VERIFIED: "Every byte of it was read and is what was written. Whether a restore "
    "brings everything back, Prove finds out.",
    BackupState.PROVEN: "It was brought back beside the live database, and everything its manifest "
    "tells of was found again.",
    BackupState.FAILED: "It is not what its manifest says. Don't rely on it, and take another.",
    BackupState.MISSING: "The storage does not have it any more. Take another.",
}
STATUSES = {
    RunStatus.AWAITING: ("warning", "approval_delegation"),
    RunStatus.QUEUED: ("info", "hourglass_empty"),
    RunStatus.RUNNING: ("warning", "progress_activity"),
    RunStatus.DONE: ("success", "check_circle"),
    RunStatus.FAILED: ("danger", "error"),
    RunStatus.CANCELLED: ("", "block"),
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def moment(when: dt.datetime, now: dt.datetime) -> str:
    """A moment by its day: "today 21:40", "yesterday 02:00", "14 Nov 02:00", with an older year."""
    local, today = timezone.localtime(when), timezone.localtime(now).date()
    days = (today - local.date()).days
    if days == 0:
        return f"today {local:%H:%M}"
    if days == 1:
        return f"yesterday {local:%H:%M}"
    year = "" if local.year == today.year else f" {local.year}"
    return f"{local.day} {local:%b}{year} {local:%H:%M}"


def exactly(when: dt.datetime) -> str:
    """A moment to the second, with its time zone."""
    local = timezone.localtime(when)
    return f"{local:%Y-%m-%d %H:%M:%S %Z}"


def length(seconds: float) -> str:
    """How long something takes: "0.8 s", "42 s", "3 min 20 s", "5 h 12 min", "3 days"."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < 2 * _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} days"


def about(seconds: float) -> str:
    """The same as one would say it: "3 h", "12 min", "5 days"."""
    if seconds < _MINUTE:
        return "a moment"
    if seconds < 2 * _HOUR:
        return f"{int(seconds // _MINUTE)} min"
    if seconds < 2 * _DAY:
        return f"{int(seconds // _HOUR)} h"
    return f"{int(seconds // _DAY)} days"


def ago(when: dt.datetime, now: dt.datetime) -> str:
    """How long ago: "3 h ago"; a clock that was set back makes it "in the future"."""
    seconds = (now - when).total_seconds()
    return "in the future" if seconds < -_MINUTE else f"{about(max(seconds, 0))} ago"


def size(count: int) -> str:
    """A number of bytes: "1.2 GB", in steps of 1,024."""
    return filesizeformat(count).replace("\xa0", " ")


def tag(text: str, colour: str, icon: str, title: str = "") -> SafeString:
    """A coloured label with a symbol in front."""
    context = {"text": text, "type": colour, "icon": icon, "label_title": title}
    return render_to_string("unfold/helpers/label.html", context)


def state_tag(state: str, note: str = "") -> SafeString:
    """A backup's state."""
    known = BackupState(state)
    return tag(str(known.label), *STATES[known], note)


def status_tag(status: str, *, died: bool = False) -> SafeString:
    """A run's status; one whose process died says so, whatever its row still says."""
    if died:
        return tag("Died", "danger", "heart_broken")
    known = RunStatus(status)
    return tag(str(known.label), *STATUSES[known])


def run_title(run: Run) -> str:
    """A run as a page calls it: "Full backup", "Verify srvc-…"."""
    if run.arguments.get("media"):
        what = "Preview of uploaded files" if run.arguments.get("dry_run") else "Restore files"
        return f"{what} from {run.subject}"
    if run.kind == RunKind.IMPORT and run.arguments.get("dry_run"):
        return f"Preview of {run.subject}"
    if run.kind == RunKind.BACKUP and not run.backup_id:
        kind = run.arguments.get("kind", "")
        label = str(BackupKind(kind).label) if kind in BackupKind.values else run.subject
        return kind_title(label)
    return str(run)


def kind_title(label: str) -> str:
    """A kind of backup with the noun: "Full backup", "Base backup"."""
    return f"{label} backup"


def two_lines(first: str, second: str, title: str = "") -> SafeString:
    """A cell with a small line below."""
    return format_html(
        '<span title="{}">{}</span><br><span class="text-subtle text-xs">{}</span>',
        title, first, second,
    )  # fmt: skip
