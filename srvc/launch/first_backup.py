"""The first backup of a development database, taken and proven beside the running site.

`python -m srvc.launch.first_backup`, run once by the launcher. Whatever goes wrong is one line: the
site serves all the same, and the next `make run` tries again.
"""

from __future__ import annotations

import sys
from contextlib import closing

from django.core.management import CommandError
from django.db import connections

from ops.progress import Counter, Progress
from srvc.launch import prepare


def wanted() -> bool:
    """Tell whether nothing was ever proven here. The database has to be migrated."""
    from django.conf import settings

    from ops.models import Backup
    from ops.rls.router import as_owner_by_default

    with as_owner_by_default():
        own = Backup.objects.of_environment(settings.ENVIRONMENT)
        return not own.filter(proven_at__isnull=False).exists()


def main() -> int:
    """Take one unless there is one, prove it and say so; return the exit status."""
    prepare.set_up_django()
    from ops.management.edge import INTERRUPTED, stopped_by_signals, told_plainly
    from ops.rls.router import as_owner_by_default

    progress = Counter()
    try:
        with (
            closing(connections["owner"]),
            as_owner_by_default(),
            told_plainly(),
            stopped_by_signals(progress),
        ):
            print(_taken_and_proven(progress), flush=True)
    except CommandError as error:
        if error.returncode == INTERRUPTED:  # somebody stopped SRVC
            return INTERRUPTED
        print(f"There is no proven backup yet. {error}", flush=True)
        return 1
    return 0


def _taken_and_proven(progress: Progress) -> str:
    from django.conf import settings

    from ops.backups.take import Request, ask_for_backup, take_backup
    from ops.backups.verify import ask_for_verification, verify_backup
    from ops.models import Backup, BackupState
    from ops.runs import Asker
    from ops.words import duration, size

    by = Asker("make run", "launch")
    backup = Backup.objects.newest_full(settings.ENVIRONMENT)
    if backup is None:
        backup = take_backup(ask_for_backup(Request(), by=by), progress)
    checked = verify_backup(ask_for_verification(backup, by=by, deep=True), progress)
    if checked.state != BackupState.PROVEN:
        return f"The first backup is {checked.get_state_display().lower()}: {checked.state_note}"
    return (
        f"✓ first backup taken and proven by a restore ({backup.rows or 0:,} rows, "
        f"{size(backup.size)}, {duration(checked.check_seconds or 0)}); see manage.py backups"
    )


if __name__ == "__main__":
    sys.exit(main())
