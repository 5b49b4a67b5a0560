"""What the server says about a restore before it begins: rights, names, versions, room."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from ops.backups.dump_restore import administrator_needs
from ops.backups.errors import BusyError
from ops.backups.manifest import Manifest
from ops.backups.scratch import FACTOR
from ops.liveness import living
from ops.models import BackupKind, Run, RunKind
from ops.postgres import server, tools
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.roles import template_of
from ops.restores.complete.administrator import (
    VARIABLE,
    administrator,
    may_create_roles,
    missing_roles,
    told_missing,
)
from ops.restores.complete.beside import LONGEST_NAME, name_beside
from ops.restores.requests import RestoreRequest
from ops.words import size

_LOCAL = ("", "localhost", "127.0.0.1", "::1")
_WAL = 0.2  # of a database's bytes, that its WAL takes at a time


def server_refusals(
    request: RestoreRequest, manifest: Manifest | None, session: Connection, live: Endpoint
) -> Iterator[str]:
    """Yield what of the server stands in the way, each in sentences of its own."""
    if not server.database_exists(session, live.database):
        yield (
            f"There is no database {live.database} on this server. Nothing was changed. "
            "`manage.py provision` makes it, with roles and grants; then run this again."
        )
    yield from missing_right(session)
    yield from _names(request, session, live)
    if request.file and manifest is None:
        yield from _older_than_ours(session)
    if not request.as_name:
        yield from _unswappable(session, live)
    if manifest is not None:
        yield from _unfit(manifest, session, live)
        yield from _without_room(request, manifest, session, live)


def server_notes(
    request: RestoreRequest, manifest: Manifest | None, session: Connection, live: Endpoint
) -> Iterator[str]:
    """Yield what an operator should know, and what was looked at."""
    if manifest is None:
        return
    if (missing := missing_roles(session, manifest)) and _may_make_roles(session):
        yield f"The roles {', '.join(missing)} are missing and will be made, without passwords."
    yield from administrator_needs.restore_limits(manifest.details)
    row = session.execute(
        "SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = %s",
        [live.database],
    ).fetchone()
    wanted = manifest.database.get("collation")
    if row is not None and wanted and row[0] != wanted:
        yield f"Text will be sorted by the server's locale {row[0]}; it was {wanted}."
    data = _data_directory(session, live)
    looked = "the folder of restores" + (f" and {data}" if data else "")
    yield (
        f"Room was looked at in {looked}"
        + ("." if data else "; the server's own disk can't be seen from here.")
    )


def require_no_backup_running() -> None:
    """Raise BusyError while a full backup is taken: the one before the swap would meet its lock."""
    taking = Run.objects.running().filter(kind=RunKind.BACKUP, arguments__kind=BackupKind.FULL)
    run = living(taking).newest_first().first()
    if run is not None and run.started_at is not None:
        raise BusyError(
            f"A full backup is being taken since {run.started_at:%H:%M:%S} UTC by {run.asked_by} "
            f"on {run.host}, and a restore takes one of its own. Nothing was done. Wait for it to "
            f"end, or cancel it: manage.py backups cancel {run.pk}"
        )


def missing_right(session: Connection) -> Iterator[str]:
    """Yield what the login may not do and has to."""
    row = session.execute(
        "SELECT rolcreatedb OR rolsuper, rolname FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    if row is None or not row[0]:
        yield (
            f"{row[1] if row else 'This login'} may not make databases (CREATEDB), so nothing can "
            "be restored beside. Nothing was changed. `manage.py provision` gives it the right."
        )


def _names(request: RestoreRequest, session: Connection, live: Endpoint) -> Iterator[str]:
    name = request.as_name
    if not name:
        return
    if len(name.encode()) > LONGEST_NAME or not name.isprintable() or name != name.strip():
        yield f"{name!r} can't be a database's name (63 bytes at most). Nothing was changed."
    elif name == live.database or name.startswith(("template", "postgres")):
        yield f"{name} is the live database or one of the server's own. Nothing was changed."
    elif name == template_of(live.database) or name.startswith(
        tuple(name_beside(live.database, word, "") for word in ("restore", "before", "undone"))
    ):
        yield f"{name} is a name that SRVC gives by itself. Nothing was changed. Choose another."
    elif server.database_exists(session, name):
        yield f"There is a database {name} already. Nothing was changed. Choose another --as NAME."


def _unswappable(session: Connection, live: Endpoint) -> Iterator[str]:
    slots = session.execute(
        "SELECT string_agg(slot_name, ', ') FROM pg_replication_slots WHERE database = %s",
        [live.database],
    ).fetchone()
    if slots and slots[0]:
        yield (
            f"{live.database} has logical replication slots ({slots[0]}), which would stay with "
            "the old database. Nothing was changed. Drop them first (pg_drop_replication_slot)."
        )
    subscribed = session.execute(
        "SELECT string_agg(s.subname, ', ') FROM pg_subscription s JOIN pg_database d"
        " ON d.oid = s.subdbid WHERE d.datname = %s",
        [live.database],
    ).fetchone()
    if subscribed and subscribed[0]:
        yield (
            f"{live.database} has subscriptions ({subscribed[0]}), which would go on writing into "
            "the old database. Nothing was changed. Drop them first (DROP SUBSCRIPTION), and make "
            "them again afterwards."
        )
    prepared = session.execute(
        "SELECT string_agg(gid, ', ') FROM pg_prepared_xacts WHERE database = %s", [live.database]
    ).fetchone()
    if prepared and prepared[0]:
        yield (
            f"{live.database} has prepared transactions ({prepared[0]}), so it can't be renamed. "
            "Nothing was changed. Commit or roll them back first."
        )


def _older_than_ours(session: Connection) -> Iterator[str]:
    """A file is proven on the server that ships with SRVC, whose dumps an older one can't take."""
    shipped = tools.shipped_binaries()
    own = tools.major_of(shipped / "postgres") if shipped else None
    major = session.info.server_version // 10_000
    if own is not None and own > major:
        yield (
            f"A file without a manifest is loaded on a private server of PostgreSQL {own} first, "
            f"and this server is PostgreSQL {major}, which can't take a dump of that. Nothing was "
            f"changed. Upgrade the server to {own}, or restore the file by hand into a new "
            "database."
        )


def _unfit(manifest: Manifest, session: Connection, live: Endpoint) -> Iterator[str]:
    major = session.info.server_version // 10_000
    if int(manifest.server.get("major") or 0) > major:
        yield (
            f"The backup is of PostgreSQL {manifest.server['major']}, and this server is "
            f"PostgreSQL {major}, which can't take it. Nothing was changed. Restore it on a server "
            f"of PostgreSQL {manifest.server['major']}."
        )
    encoding = manifest.database.get("encoding") or "UTF8"
    if encoding != "UTF8":
        yield (
            f"The backup is of a database in {encoding}; SRVC's are in UTF8. Nothing was changed."
        )
    rows = session.execute("SELECT name FROM pg_available_extensions").fetchall()
    if lacking := sorted(manifest.extensions.keys() - {name for (name,) in rows}):
        yield (
            f"The server lacks the extension(s) {', '.join(lacking)} that the backup needs. "
            "Nothing was changed. Install them on the server first (Debian: postgresql-contrib)."
        )
    if (missing := missing_roles(session, manifest)) and not _may_make_roles(session):
        yield told_missing(manifest, missing)
    yield from _without_rights(manifest, session, live)


def _without_rights(manifest: Manifest, session: Connection, live: Endpoint) -> Iterator[str]:
    """Yield what of the backup this login can't make again, and who could."""
    if administrator() is not None or _is_superuser(session):
        return
    if needs := administrator_needs.needs_of(manifest):
        yield (
            f"{live.user} can't make again what is in {manifest.name}: "
            f"{administrator_needs.told(needs)}. Nothing was changed. Set {VARIABLE} to a "
            "superuser's address for this one command."
        )
    elif not server.database_exists(session, template_of(live.database)):
        rows = session.execute(
            "SELECT v.name FROM pg_available_extension_versions v JOIN pg_available_extensions e"
            " ON e.name = v.name AND e.default_version = v.version"
            " WHERE v.superuser AND NOT v.trusted AND v.name = ANY(%s) ORDER BY 1",
            [list(manifest.extensions)],
        ).fetchall()
        if rows:
            yield (
                f"{live.user} can't make the extension(s) {', '.join(name for (name,) in rows)} "
                "that the backup needs. Nothing was changed. `manage.py provision` makes a "
                f"template that has them; or set {VARIABLE} to a superuser's address for this one "
                "command."
            )


def _is_superuser(session: Connection) -> bool:
    row = session.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return bool(row and row[0])


def _may_make_roles(session: Connection) -> bool:
    return administrator() is not None or may_create_roles(session)


def _without_room(
    request: RestoreRequest, manifest: Manifest, session: Connection, live: Endpoint
) -> Iterator[str]:
    raw = manifest.archive.raw_size
    needs: dict[int, tuple[Path, int]] = {}  # by file system: two may share one
    safety = 0 if request.as_name or not request.safety_backup else manifest.archive.size
    places = [(settings.VAR_DIR / "restores", raw), (settings.VAR_DIR / "backups", safety)]
    if data := _data_directory(session, live):
        places.append((data, int(raw * FACTOR * (1 + _WAL))))
    for place, count in places:
        there = place
        while not there.exists():
            there = there.parent
        device = there.stat().st_dev
        first, so_far = needs.get(device, (there, 0))
        needs[device] = (first, so_far + count)
    for place, count in needs.values():
        free = shutil.disk_usage(place).free
        if free < count:
            yield (
                f"The disk of {place} has {size(free)} free, and restoring takes about "
                f"{size(count)} there. Nothing was changed. Free some, and run this again."
            )


def _data_directory(session: Connection, live: Endpoint) -> Path | None:
    """Return the server's folder where it is on this machine and can be seen."""
    if live.host not in _LOCAL and not live.host.startswith("/"):
        return None
    row = session.execute(
        "SELECT setting FROM pg_settings WHERE name = 'data_directory'"
    ).fetchone()
    if row is None:
        return None
    try:
        path = Path(row[0])
        return path if path.is_dir() else None
    except OSError:
        return None
