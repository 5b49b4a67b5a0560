"""Keeps looking: checks when they are due, numbers over time, messages, and tidying up."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from ops.health.channels import channels
from ops.health.errors import HealthError
from ops.health.watch import BOUNDED, EVERY, Stop, Watcher
from ops.management.edge import (
    BUSY,
    FAILED,
    USAGE,
    mention_environment,
    require_settings,
    told_plainly,
)
from ops.rls.router import as_owner_by_default
from ops.runs import OWNER

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NICE = 5  # whoever serves people goes first


class Command(BaseCommand):
    help = (
        "Runs health checks when they are due, takes numbers, sends messages about findings and "
        "removes what is old; until it is stopped. `make run` and the systemd unit in "
        "docs/watch.service start it; with --once, cron may."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        mention_environment(parser, "watch")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--once", action="store_true", help="do what is due now, then end")
        what.add_argument(
            "--try-channels", action="store_true", help="send a message by each channel, then end"
        )
        parser.add_argument(
            "--every",
            type=_seconds,
            default=EVERY,
            metavar="SECONDS",
            help=f"look for what is due this often (default: {EVERY:.0f})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        mail = ("EMAIL_", "DEFAULT_FROM_") if settings.HEALTH_NOTIFY_EMAILS else ()
        require_settings("HEALTH_", "DATABASE_", "SITE_", *mail)
        if options["try_channels"]:
            self._try_channels()
            return
        connections[OWNER].settings_dict["OPTIONS"].update(BOUNDED)
        note = self._say if options["verbosity"] else _silent
        watcher = Watcher(say=self._say, note=note, every=options["every"])
        with as_owner_by_default(), told_plainly():
            if options["once"]:
                self._once(watcher)
                return
            os.nice(_NICE)
            _stop_by_signals(watcher.stop)
            note(f"watching {settings.ENVIRONMENT}")
            watcher.run()
            note("ended in order")

    def _once(self, watcher: Watcher) -> None:
        try:
            ticked = watcher.once()
        finally:
            watcher.close()
        if ticked is None:
            raise CommandError(
                "Another watcher is at work on this database. Nothing was done; it does what is "
                "due.",
                returncode=BUSY,
            )
        if ticked.troubles:
            raise CommandError("\n".join(ticked.troubles), returncode=FAILED)

    def _try_channels(self) -> None:
        failed = False
        if not (wanted := channels()):
            raise CommandError(
                "Nobody is told about findings. Nothing was sent. Set HEALTH_NOTIFY_EMAILS or "
                "HEALTH_NOTIFY_WEBHOOK_URL (docs/health.md, Notices).",
                returncode=USAGE,
            )
        for channel in wanted:
            try:
                channel.say("This is a test: messages about findings arrive here.")
            except HealthError as error:
                failed = True
                self.stderr.write(f"{channel.name}: {error}")
            else:
                self.stdout.write(f"{channel.name}: sent")
        if failed:
            raise CommandError("Not every channel works.", returncode=FAILED)

    def _say(self, sentence: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.stdout.write(f"{now} watch: {sentence}")
        self.stdout.flush()


def _stop_by_signals(stop: Stop) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.default_int_handler)
        stop.ask()

    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def _silent(sentence: str) -> None:
    """With --verbosity 0 only what somebody may want to act upon is told."""


def _seconds(text: str) -> float:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 3600:
        raise ValueError
    return float(text)
