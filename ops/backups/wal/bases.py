"""The new base backup that a hole in the archive calls for.

That it is wanted is noted in a file, so that it is not forgotten when the receiver is killed; it is
taken by the receiver itself, which may run where no worker does.
"""

from __future__ import annotations

import contextvars
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import connections

from ops.backups.take import Request, ask_for_backup, take_backup
from ops.backups.wal.names import lsn, position
from ops.errors import OpsError
from ops.models import Backup, BackupKind
from ops.progress import Counter
from ops.runs import Asker

log = logging.getLogger(__name__)
_LONGEST_PAUSE = 3600.0
_SECONDS_TO_STOP = 5.0


class Bases:
    """Sees to it that a base backup is taken when one is wanted."""

    def __init__(self, note: Path, system_identifier: str, say: Callable[[str], None]) -> None:
        self._note, self._system, self._say = note, system_identifier, say
        self._progress = Counter()
        self._thread: threading.Thread | None = None
        self._failures, self._due = 0, 0.0

    def want(self, since: int, why: str) -> None:
        """Note that a base is wanted that begins at this position or later."""
        aside = self._note.with_suffix(".aside")
        aside.write_text(json.dumps({"since": lsn(since), "why": why}))
        aside.replace(self._note)
        self._failures, self._due = 0, 0.0

    def look(self) -> None:
        """Begin to take one when it is wanted and due. Raises Django's DatabaseError."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = None
        if not self._note.exists() or time.monotonic() < self._due:
            return
        since = position(json.loads(self._note.read_text())["since"])
        if self._is_there(since):
            self._note.unlink()
            return
        self._failures += 1
        self._due = time.monotonic() + min(15.0 * 2**self._failures, _LONGEST_PAUSE)
        # The thread inherits by which login the catalogue is written.
        context = contextvars.copy_context()
        self._progress = Counter()
        self._thread = threading.Thread(
            target=context.run, args=(self._take,), name="base-backup", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the one that is being taken; the note stays."""
        self._progress.cancel()
        if self._thread is not None:
            self._thread.join(_SECONDS_TO_STOP)

    def _is_there(self, since: int) -> bool:
        own = Backup.objects.of_environment(settings.ENVIRONMENT).good()
        for backup in own.of_kind(BackupKind.BASE).newest_first()[:20]:
            told = str(backup.manifest["server"].get("system_identifier"))
            if told == self._system and position(backup.start_lsn) >= since:
                return True
        return False

    def _take(self) -> None:
        try:
            by = Asker(f"walreceiver@{socket.gethostname()}, process {os.getpid()}", "walreceiver")
            run = ask_for_backup(Request(kind=BackupKind.BASE), by=by)
            backup = take_backup(run, self._progress)
            self._say(f"took {backup.name}: from there on moments can be restored again")
        except OpsError as error:
            self._say(f"the new base backup failed: {error} It will be tried again")
        except Exception:
            log.exception("the new base backup crashed")
            self._say("the new base backup crashed; the log says where. It will be tried again")
        finally:
            connections.close_all()
