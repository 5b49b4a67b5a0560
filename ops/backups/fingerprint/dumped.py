"""What pg_dump leaves out of a database's definitions, by the rights of who runs it."""

from __future__ import annotations

from dataclasses import replace

from ops.backups.fingerprint.model import Fingerprint
from ops.backups.pinned import Connection

# Subscriptions hold passwords, so pg_dump brings them to superusers only. What it leaves out can't
# come back, and a restored database without it is equal.
_FOR_SUPERUSERS = ("subscription ", "comment on subscription ")


def dumped(found: Fingerprint, connection: Connection) -> tuple[Fingerprint, list[str]]:
    """Return what a dump by this connection's login brings of a fingerprint, and what it does not.

    The second are kinds and names ("subscription far").
    """
    row = connection.execute("SELECT current_setting('is_superuser') = 'on'").fetchone()
    if row and row[0]:
        return found, []
    left_out = [key for key in found.objects if key.startswith(_FOR_SUPERUSERS)]
    if not left_out:
        return found, []
    brought = {key: value for key, value in found.objects.items() if key not in left_out}
    return replace(found, objects=brought), sorted(left_out)
