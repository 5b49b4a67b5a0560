"""What of a database only an administrator of the server can make again.

Asked when a backup is taken, of the catalogue and for the owner's login, so that its manifest says
so, and a restore is refused before it begins and not after an hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops.backups.dump_restore.administrator_queries import QUERY
from ops.backups.dump_restore.extensions import (
    COMMENTS_DETAIL,
    SCHEMAS_DETAIL,
    extension_schemas,
    fits_template,
    own_comments,
)
from ops.backups.manifest import Manifest
from ops.postgres.endpoint import Connection
from ops.postgres.roles import OUR_EXTENSIONS

# In a manifest's details; absent from older ones.
DETAIL = "needs_administrator"
LEFT_OUT_DETAIL = "left_out"  # what is in the database, and no restore of its dump brings back
_SHOWN = 5  # objects named in a sentence


@dataclass(frozen=True)
class Need:
    """Objects that the owner's login can't make again, and why not."""

    reason: str
    objects: tuple[str, ...]

    def __str__(self) -> str:
        more = len(self.objects) - _SHOWN
        listed = ", ".join(self.objects[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
        return f"{listed} ({self.reason})"


def restore_details(connection: Connection, login: str) -> dict[str, Any]:
    """Return what a manifest says about how its database can be restored by `login`."""
    found: dict[str, Any] = {SCHEMAS_DETAIL: extension_schemas(connection)}
    if comments := own_comments(connection):
        found[COMMENTS_DETAIL] = comments
    if needs := administrator_needs(connection, login):
        found[DETAIL] = as_json(needs)
    return found


def needs_of(manifest: Manifest) -> list[Need]:
    """Return what a manifest says that only an administrator can make again."""
    return _needs(manifest.details)


def restore_limits(details: dict[str, Any]) -> list[str]:
    """Return what a restore takes besides the backup and what it leaves out, in sentences."""
    found = []
    if needs := _needs(details):
        found.append(
            "A restore of it needs an administrator's login (DATABASE_ADMIN_URL) for what the "
            f"owner's can't make again: {told(needs)}."
        )
    if left_out := details.get(LEFT_OUT_DETAIL):
        found.append(f"Not in it, to be made again by hand: {', '.join(left_out)}.")
    return found


def _needs(details: dict[str, Any]) -> list[Need]:
    return [
        Need(str(each["reason"]), tuple(map(str, each["objects"])))
        for each in details.get(DETAIL, ())
    ]


def as_json(needs: list[Need]) -> list[dict[str, Any]]:
    """Return them for a manifest."""
    return [{"reason": each.reason, "objects": list(each.objects)} for each in needs]


def told(needs: list[Need]) -> str:
    """Return the needs as half a sentence."""
    return "; ".join(map(str, needs))


def administrator_needs(connection: Connection, login: str) -> list[Need]:
    """Return what of a database `login` could not make again in an empty one.

    Where the server has no such login, the one of the connection is asked about.
    """
    row = connection.execute(
        "SELECT oid::int8, rolsuper FROM pg_catalog.pg_roles"
        " WHERE rolname IN (%s, current_user) ORDER BY rolname = %s DESC LIMIT 1",
        [login, login],
    ).fetchone()
    if row is None or row[1]:
        return []
    # SET ROLE became a right of its own in PostgreSQL 16.
    member = "SET" if connection.info.server_version >= 160_000 else "MEMBER"
    values = {
        "login": row[0],
        "member": member,
        "provided": list(OUR_EXTENSIONS) if fits_template(extension_schemas(connection)) else [],
    }
    found: dict[str, list[str]] = {}
    for reason, described in connection.execute(QUERY.encode(), values).fetchall():
        found.setdefault(reason, []).append(described)
    return [Need(reason, tuple(objects)) for reason, objects in found.items()]
