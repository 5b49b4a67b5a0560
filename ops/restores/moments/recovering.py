"""A moment of the past, recovered on a private server from a base backup and the WAL after it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from ops.backups.errors import BackupError
from ops.backups.inspection import read_manifest
from ops.backups.manifest import Manifest
from ops.backups.running import combine, make_ready
from ops.backups.scratch import Scratch
from ops.backups.unpacking import unpacked
from ops.backups.vault import PRIMARY, Vault
from ops.backups.wal.gaps import Piece
from ops.backups.wal.names import ObjectName, lsn, position
from ops.backups.wal.shipping import open_segment
from ops.backups.watch import watched
from ops.models import WalSegment
from ops.postgres import cluster, files, tools
from ops.postgres.account import Account
from ops.postgres.errors import ServerError, one_line
from ops.postgres.places import log_directory
from ops.progress import Progress
from ops.restores.errors import RefusedError, RestoreError
from ops.restores.moments.reach import Reach, reach
from ops.restores.moments.targets import Target, TargetKind
from ops.restores.private import PrivateDatabase, Reached

__all__ = ["Reach", "Target", "TargetKind", "reach", "recovered"]

# Within the data directory, so that it goes with it, whatever happens.
_ARCHIVE = "srvc-wal"
_EVERY = 0.05  # seconds
_ENDED_BEFORE = "recovery ended before configured recovery target was reached"
_TOO_EARLY = "before consistent recovery point"


@contextmanager
def recovered(wanted: Target | Reach, progress: Progress) -> Iterator[PrivateDatabase]:
    """Lend the live database as it was at a moment, on a server of its own.

    Raises UnreachableError before anything is begun; RefusedError where the server that SRVC can
    start is of another version; RestoreError when recovery fell short; and what reading a backup
    raises: DamagedError, KeyMissingError, StorageError.
    """
    way = wanted if isinstance(wanted, Reach) else reach(wanted, progress)
    vault = Vault.of(way.backup.storage)
    manifest = read_manifest(way.backup.name, vault)
    _require_same_major(manifest)
    databases = sum(int(size) for size in manifest.details.get("databases", {}).values())
    room = databases + way.segment_bytes
    with unpacked(manifest, vault, progress, more_room=room) as found:
        home = combine(manifest, found, progress)
        account = found.place.account
        make_ready(home, account)
        archive = home / _ARCHIVE
        files.make_folder(archive, account)
        _fetch(way.pieces, archive, account, progress)
        reached = _recover(way, found.place, home, archive, account, progress)
        shutil.rmtree(archive, ignore_errors=True)
        progress.say(str(reached))
        yield _lent(way, manifest, found.place, reached)


def _require_same_major(manifest: Manifest) -> None:
    shipped = tools.shipped_binaries()
    own = tools.major_of(shipped / "postgres") if shipped else None
    if own != manifest.server.get("major"):
        raise RefusedError(
            f"{manifest.name} is of PostgreSQL {manifest.server.get('major')}, and the server that "
            f"SRVC can start is {own}. Nothing was begun. Restore this moment with the version of "
            "SRVC that took it, or restore a full backup."
        )


# --- the WAL -----------------------------------------------------------------------------------


def _fetch(
    pieces: Sequence[Piece], archive: Path, account: Account | None, progress: Progress
) -> None:
    progress.phase("fetching WAL", len(pieces), "segments")
    for piece in pieces:
        progress.check()
        content = _content(piece)
        place = archive / piece.file
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            # A segment that the server can't read would be passed over without a word.
            if account is not None:
                os.fchown(file.fileno(), account.uid, account.gid)
        progress.advance(1)


def _content(piece: Piece) -> bytes:
    """Return a segment from the first storage that has it whole. Raises BackupError."""
    rows = WalSegment.objects.filter(system_identifier=piece.system_identifier, segment=piece.file)
    failure: BackupError | None = None
    for row in sorted(rows, key=lambda row: row.storage != PRIMARY):
        name = ObjectName.parse(row.object_name)
        try:
            if name is not None and name.file == piece.file:
                return open_segment(name, Vault.of(row.storage))
        except BackupError as error:
            failure = failure or error
    raise failure or RestoreError(
        f"The WAL segment {piece.file} went from the archive meanwhile. Nothing was restored. "
        "Run this again."
    )


# --- recovery ----------------------------------------------------------------------------------


def _recover(
    way: Reach,
    place: Scratch,
    home: Path,
    archive: Path,
    account: Account | None,
    progress: Progress,
) -> Reached:
    used, more, at_end = list(way.pieces), list(way.more), False
    while True:
        progress.phase(f"recovering {way.target}")
        try:
            _start(place, home, _settings(way, archive, to_the_end=at_end), account, progress)
            break
        except ServerError as error:
            if _ENDED_BEFORE not in str(error) or at_end:
                raise _failed(way, error) from None
            # It goes on where it ended, with as much again of the WAL that follows.
            fetched, more = more[: len(used) + 1], more[len(used) + 1 :]
            if not fetched and way.target.kind == TargetKind.POINT:
                raise _failed(way, error) from None
            # All that was written by then is here, and nothing later: its end is that moment.
            at_end = not fetched
        if fetched:
            place.require_room(sum(piece.end - piece.start for piece in fetched))
            _fetch(fetched, archive, account, progress)
            used += fetched
    progress.check()  # it may have been too quick for whoever watched
    with place.connect() as connection:
        row = connection.execute(
            "SELECT coalesce(pg_last_wal_replay_lsn(), pg_current_wal_lsn())::text,"
            " pg_last_xact_replay_timestamp()"
        ).fetchone()
    assert row is not None
    transaction_at = row[1].astimezone(UTC) if row[1] else None
    segments = [piece for piece in used if piece.is_segment]
    _require_reached(way, position(row[0]), transaction_at, segments if at_end else [])
    return Reached(
        target=str(way.target),
        lsn=row[0],
        transaction_at=transaction_at,
        backup=way.backup.name,
        segments=len(segments),
        complete_at_end=at_end,
        note=way.note,
    )


def _start(
    place: Scratch,
    home: Path,
    settings: dict[str, str],
    account: Account | None,
    progress: Progress,
) -> None:
    """Start recovery and wait for its end. Raises ServerError with what the server said last."""
    lines = [f"{name} = '{value}'" for name, value in _escaped(settings).items()]
    files.write_aside(home / "postgresql.auto.conf", "\n".join([*lines, ""]), account)
    files.write_aside(home / "recovery.signal", "", account)
    logs = log_directory(place.data)
    before = {path: path.stat().st_size for path in logs.glob("*.log")}
    with watched(progress.check) as watch:
        # While it starts nobody else can end it.
        watch.stop_by(lambda: _end_server(home))
        try:
            server = place.adopt()
        except FileNotFoundError:  # it had ended before its process id was read
            raise _explained(home, logs, before) from None
        while not _is_ready(home):
            if not server.is_running():
                progress.check()
                raise _explained(home, logs, before)
            time.sleep(_EVERY)


def _is_ready(home: Path) -> bool:
    """Tell whether recovery has ended: until then a server without hot standby lets nobody in."""
    try:
        lines = (home / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def _explained(home: Path, logs: Path, before: dict[Path, int]) -> ServerError:
    said = []
    for path in logs.glob("*.log"):
        with path.open("rb") as file:
            file.seek(before.get(path, 0))
            said.append(file.read().decode(errors="replace"))
    return cluster.explain(home, "\n".join(said))


def _settings(way: Reach, archive: Path, *, to_the_end: bool = False) -> dict[str, str]:
    folder = shlex.quote(str(archive)).replace("%", "%%")
    found = {
        "restore_command": f"cp {folder}/%f %p",
        "recovery_target_timeline": str(way.timeline),
        "recovery_target_action": "promote",
        # Nobody reads before it has ended, and a copied server may have had more connections.
        "hot_standby": "off",
    }
    if to_the_end:
        return found
    target = way.target
    if target.time is not None:
        return {**found, "recovery_target_time": target.time.isoformat()}
    if target.position is not None:
        # A position told after a commit is where the next record begins: that one is not meant.
        return {
            **found,
            "recovery_target_lsn": lsn(target.position),
            "recovery_target_inclusive": "off",
        }
    return {**found, "recovery_target_name": target.text}


def _escaped(settings: dict[str, str]) -> dict[str, str]:
    return {
        name: value.replace("\\", "\\\\").replace("'", "''") for name, value in settings.items()
    }


def _end_server(home: Path) -> None:
    """End a server that is still starting, for which nobody else can."""
    with suppress(OSError, ValueError):
        os.kill(int((home / "postmaster.pid").read_text().split("\n", 1)[0]), signal.SIGQUIT)


def _failed(way: Reach, error: ServerError) -> RestoreError:
    said = str(error)
    if _ENDED_BEFORE in said:
        return RestoreError(
            f"The WAL was replayed to its end, and {way.target} did not come. Nothing of the live "
            "database was touched. Choose a time or a WAL position instead."
        )
    if _TOO_EARLY in said:
        return RestoreError(
            f"{way.backup.name} was not whole yet at {way.target}. Nothing of the live database "
            "was touched. Choose a later moment."
        )
    return RestoreError(
        f"Recovering {way.target} from {way.backup.name} failed: {said} Nothing of the live "
        "database was touched."
    )


def _require_reached(
    way: Reach, replayed: int, transaction_at: datetime | None, all_of: list[Piece]
) -> None:
    """Refuse what fell short: WAL that can't be read ends a recovery without a word."""
    least = position(way.backup.stop_lsn)
    if all_of:
        least = max(least, all_of[-1].start + 1)
    if way.point is not None:
        least = max(least, position(way.point.lsn))
    if replayed < least:
        raise RestoreError(
            f"Recovery ended at {lsn(replayed)}, before {lsn(least)}, where it would have reached "
            f"{way.target}: WAL is missing or could not be read. Nothing of the live database was "
            "touched. Look at the WAL archive (`manage.py backups`) and run this again."
        )
    target = way.target.time
    if target is not None and transaction_at is not None and transaction_at > target:
        raise RestoreError(
            f"Recovery went on to {transaction_at:%Y-%m-%d %H:%M:%S.%f} UTC, past {way.target}. "
            "Nothing of the live database was touched."
        )


def _lent(way: Reach, manifest: Manifest, place: Scratch, reached: Reached) -> PrivateDatabase:
    name = str(manifest.database["name"])
    found = PrivateDatabase(
        place=place,
        name=name,
        origin=str(way.target),
        holds=way.target.time or reached.transaction_at,
        manifest=manifest,
        reached=reached,
    )
    try:
        found.connect().close()
    except psycopg.OperationalError as error:
        raise RestoreError(
            f"The server of {way.target} was recovered, and its database {name} can't be entered: "
            f"{one_line(error)}. Nothing of the live database was touched."
        ) from None
    return found
