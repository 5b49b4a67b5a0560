"""`manage.py dblogs`: what the server wrote into its log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ops.health.serverlog.entries import LEVELS, Entry
from ops.health.serverlog.reading import Log, follow, read
from ops.health.serverlog.sources import server_log
from ops.health.serverlog.summary import summarize
from ops.management.edge import USAGE, describe, require_settings, told_plainly
from ops.management.log_tables import show_entry, summary_report
from ops.management.reporting import as_json, console, dump, show
from ops.rls.router import as_owner_by_default

_HELP = """\
Show what the server wrote into its log: errors, deadlocks, slow statements, waits for locks, big
temporary files; with --level info also autovacuum, checkpoints, connections. Passwords in
statements are masked.

  dblogs                      the last 24 hours, warnings and worse (and what took long)
  dblogs --level error --since 1h
  dblogs --summary --since 7d   equal messages once: how often, since when
  dblogs --follow             as it is written, until Ctrl-C
  dblogs --file old.log       a file from elsewhere: plain, .csv (csvlog) or .json (jsonlog)

With --json a message is a line; with --summary all is one document.

Exit status: 0 shown, 1 the log can't be reached, 2 wrong usage, 130 interrupted.
"""
_SPAN = re.compile(r"(\d{1,6})\s*(s|min|m|h|d|w)")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Command(BaseCommand):
    help = _HELP
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        describe(parser, "dblogs")
        parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
        parser.add_argument("--level", choices=LEVELS, default="warning", help="default: warning")
        parser.add_argument(
            "--since", default="", metavar="TIME", help="30min, 1h, 7d, or a time (default: 24h)"
        )
        parser.add_argument("--file", type=Path, metavar="FILE", help="read this one instead")
        parser.add_argument("--summary", action="store_true", help="equal messages once")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["summary"] and options["follow"]:
            raise CommandError(
                "A summary is of what is there. Nothing was shown; leave out --follow.",
                returncode=USAGE,
            )
        now = timezone.now()
        # A file that somebody names is wanted whole.
        default = datetime.min.replace(tzinfo=now.tzinfo) if options["file"] else (
            now - timedelta(days=1)
        )  # fmt: skip
        since = _since(options["since"], now) if options["since"] else default
        if options["follow"] and not options["since"]:
            since = now - timedelta(minutes=10)
        if options["file"] is None:
            require_settings("DATABASE_")
        with as_owner_by_default(), told_plainly(), server_log(options["file"]) as log:
            for note in log.notes:
                self.stderr.write(note)
            self._show(log, since, now, options)

    def _show(self, log: Log, since: datetime, now: datetime, options: dict[str, Any]) -> None:
        entries: Iterable[Entry] = follow(log, since) if options["follow"] else read(log, since)
        wanted = (entry for entry in entries if entry.is_at_least(options["level"]))
        out = console(cast("IO[str]", self.stdout._out))
        if options["summary"]:
            report = summary_report(summarize(wanted))
            if options["json"]:
                self.stdout.write(dump(as_json([report])[0]))
            else:
                show(out, [report], now)
            return
        is_empty = True
        for entry in wanted:
            is_empty = False
            if options["json"]:
                self.stdout.write(dump(entry.as_json(), indent=None))
            else:
                show_entry(out, entry)
            # Whoever follows through a pipe does not wait for a full buffer.
            self.stdout.flush()
        if is_empty and not options["json"]:
            from_ = f" since {since:%Y-%m-%d %H:%M} UTC" if since.year > 1 else ""
            out.print(
                f"Nothing of level {options['level']} or above{from_} in {log.files.place}.",
                markup=False,
            )


def _since(given: str, now: datetime) -> datetime:
    if found := _SPAN.fullmatch(given.strip()):
        return now - timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise CommandError(
            f"--since {given!r} is no time. Nothing was shown. Write 30min, 1h, 7d, or a time "
            'such as "2026-11-22 14:05".',
            returncode=USAGE,
        ) from None
    return moment if moment.tzinfo else moment.astimezone()
