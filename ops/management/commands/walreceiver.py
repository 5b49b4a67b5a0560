"""Keeps the WAL archive: with a base backup before it, any moment can be restored."""

from __future__ import annotations

import json
import signal
import threading
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.backups.errors import BusyError
from ops.backups.wal.receiver import Receiver
from ops.management.edge import BUSY, mention_environment, require_settings, told_plainly
from ops.rls.router import as_owner_by_default

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Command(BaseCommand):
    help = (
        "Fetches the server's WAL as it is written and stores each segment, compressed and "
        "encrypted, as it closes; runs until it is stopped. `make run` and the systemd unit in "
        "docs/walreceiver.service start it."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        mention_environment(parser, "walreceiver")
        parser.add_argument(
            "--once", action="store_true", help="store what was written so far, then end"
        )
        parser.add_argument(
            "--stop-after", type=_count, metavar="N", help="end when N segments are stored"
        )
        parser.add_argument("--json", action="store_true", help="log a line of JSON for each event")

    def handle(self, *args: Any, **options: Any) -> None:
        require_settings("BACKUP_", "DATABASE_")
        self._json: bool = options["json"]
        stop = threading.Event()
        _stop_by_signals(stop)
        note = self._say if options["verbosity"] else _silent
        receiver = Receiver(
            say=self._say, note=note, stop=stop, once=options["once"], after=options["stop_after"]
        )
        with as_owner_by_default(), told_plainly():
            try:
                stored = receiver.run()
            except BusyError as error:
                raise CommandError(str(error), returncode=BUSY) from None
        note(f"ended in order; segments stored: {stored:,}")

    def _say(self, sentence: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = f"{now} walreceiver: {sentence}"
        if self._json:
            line = json.dumps({"at": now, "message": sentence}, ensure_ascii=False)
        self.stdout.write(line)
        self.stdout.flush()


def _stop_by_signals(stop: threading.Event) -> None:
    """Let Ctrl-C and SIGTERM end it in order; a second one does not wait for that."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        for each in _SIGNALS:
            signal.signal(each, signal.default_int_handler)

    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)


def _silent(sentence: str) -> None:
    """With --verbosity 0 only what somebody may want to act upon is told."""


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ValueError
    return int(text)
