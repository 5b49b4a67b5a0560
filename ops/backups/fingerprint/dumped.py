"""What of a database's definitions no restore of its dump brings back."""

from __future__ import annotations

from dataclasses import replace

from ops.backups.fingerprint.model import Fingerprint

# They hold passwords, so pg_dump brings them to superusers only; and restored beside, a second one
# would compete for the slot of the first. A restored database without them is equal.
_SUBSCRIPTIONS = ("subscription ", "comment on subscription ")


def dumped(found: Fingerprint) -> tuple[Fingerprint, list[str]]:
    """Return what a restore brings of a fingerprint, and what it does not.

    The second are kinds and names ("subscription far").
    """
    left_out = [key for key in found.objects if key.startswith(_SUBSCRIPTIONS)]
    if not left_out:
        return found, []
    brought = {key: value for key, value in found.objects.items() if key not in left_out}
    return replace(found, objects=brought), sorted(left_out)
