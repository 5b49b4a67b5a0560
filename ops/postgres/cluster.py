"""Making the embedded server's data directory, and telling what is wrong with one."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from ops.postgres import configuration, files, tools
from ops.postgres.account import Account, current_user
from ops.postgres.errors import DiskFullError, ServerError, ToolError
from ops.postgres.places import SYSTEM_HOME, log_directory, socket_directory

# A new cluster takes 40 MB, its first write-ahead log 16 MB, and the first minutes some more.
ROOM_FOR_A_CLUSTER = 150 * 1024 * 1024
_NO_ROOM = "No space left on device"


def binaries(account: Account | None) -> Path:
    """Return the folder of programs that the server's user can run, copying them if need be."""
    shipped = tools.shipped_binaries()
    if shipped is None:
        raise ServerError(
            "The PostgreSQL that ships with SRVC is not installed. No data was touched. "
            "Run `make run`, which installs it, or set DATABASE_URL and DATABASE_OWNER_URL."
        )
    if account is None or _may_run(account, shipped):
        return shipped
    copy = SYSTEM_HOME / f"postgresql-{tools.major_of(shipped / 'postgres')}"
    base, parts = tools.shipped_parts(shipped)
    reachable = copy / shipped.relative_to(base)
    if not (_same_programs(shipped, reachable) and _may_run(account, reachable)):
        _copy(base, parts, copy)
    if not _may_run(account, reachable):
        raise ServerError(
            f"User {account.name} cannot run PostgreSQL's programs, neither in {shipped} nor in "
            f"{reachable}. No data was touched. Run this as an ordinary user."
        )
    return reachable


def is_made(home: Path) -> bool:
    """Tell whether this is a finished data directory; anything else that is in the way is refused.

    A cluster is made aside and renamed, so one that has PG_VERSION under its own name is whole.
    """
    if (home / "PG_VERSION").is_file():
        return True
    if home.exists() and any(home.iterdir()):
        raise ServerError(
            f"{home} is not empty and is no PostgreSQL data directory. Nothing was changed. "
            "Move it out of the way, or restore what is missing from it, and run this again."
        )
    return False


def require_major(home: Path, major: int | None) -> None:
    """Refuse data of another major version, which this server could not read."""
    found = (home / "PG_VERSION").read_text().strip()
    if found != str(major):
        raise ServerError(
            f"The data in {home} was written by PostgreSQL {found}, and SRVC ships {major}. "
            f"Nothing was changed. Dump it with PostgreSQL {found}, move the folder aside, "
            "run this again and restore the dump."
        )


def make(home: Path, programs: Path, account: Account | None, settings: Mapping[str, str]) -> None:
    """Make a new cluster aside and rename it: an interrupted one is never taken for whole."""
    partial = home.with_name(f"{home.name}-partial")
    shutil.rmtree(partial, ignore_errors=True)
    files.make_folder(partial, account)
    try:
        if shutil.disk_usage(partial).free < ROOM_FOR_A_CLUSTER:
            raise disk_full(home)
        _initdb(partial, programs, account, settings)
        include = (partial / "postgresql.conf").read_text() + "\ninclude 'srvc.conf'\n"
        files.write_aside(partial / "postgresql.conf", include, account)
        files.write_aside(
            partial / "pg_hba.conf", configuration.access(configuration.ACCESS), account
        )
        files.write_aside(partial / "srvc.conf", "", account)
        if home.exists():
            home.rmdir()
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def configure(
    data_directory: Path, home: Path, account: Account | None, settings: Mapping[str, str]
) -> None:
    """Write what may differ from one start to the next: addresses, settings, who is superuser."""
    socket, log = socket_directory(data_directory), log_directory(data_directory)
    files.make_folder(socket, account)
    files.make_folder(log, account)
    text = configuration.server_conf(settings, socket, log)
    files.write_aside(home / "srvc.conf", text, account)
    # A cluster of an earlier SRVC does not know the replication login yet.
    present = (home / "pg_hba.conf").read_text()
    if (access := configuration.access(present)) != present:
        files.write_aside(home / "pg_hba.conf", access, account)
    users = {current_user()} | ({account.name} if account else set())
    files.write_aside(home / "pg_ident.conf", configuration.identities(users), account)


def explain(home: Path, said: str) -> ServerError:
    """Turn what a failing server said into one line for the operator."""
    if _NO_ROOM in said:
        return disk_full(home)
    fatal = [line for line in said.splitlines() if "FATAL" in line or "PANIC" in line]
    reason = tools.last_words("\n".join(fatal) or said, lines=1)
    logs = home.with_name(f"{home.name}-log")
    return ServerError(
        f"PostgreSQL did not start on {home}: {reason}. The data was left as it is. "
        f"The whole story is in {logs}; mend what it names and run this again."
    )


def disk_full(home: Path) -> DiskFullError:
    """Return the error for a disk without room."""
    return DiskFullError(
        f"The disk that holds {home.parent} is full. What was saved before is safe, and nothing "
        "new was written. Free some space (a few hundred MB) and run this again."
    )


def _initdb(
    folder: Path, programs: Path, account: Account | None, settings: Mapping[str, str]
) -> None:
    # The builtin locale sorts alike on every system and never changes below an index, which the
    # operating system's locales do when it is upgraded.
    durable = [] if settings.get("fsync", "on") == "on" else ["--no-sync"]
    try:
        tools.run(
            programs / "initdb",
            "--pgdata", folder,
            "--username", configuration.SUPERUSER,
            "--encoding", "UTF8",
            "--locale", "C",
            "--locale-provider", "builtin",
            "--builtin-locale", "C.UTF-8",
            "--data-checksums",
            "--auth-local", "peer",
            "--auth-host", "reject",
            "--no-instructions",
            *durable,
            seconds=10 * tools.MINUTE,
            account=account,
        )  # fmt: skip
    except ToolError as error:
        if _NO_ROOM in str(error):
            raise disk_full(folder) from error
        raise ServerError(
            f"A new PostgreSQL data directory could not be made: {error} Nothing was left behind; "
            "mend that and run this again."
        ) from error


def _same_programs(shipped: Path, copy: Path) -> bool:
    ours, theirs = shipped / "postgres", copy / "postgres"
    try:
        return ours.stat().st_size == theirs.stat().st_size and (
            int(ours.stat().st_mtime) == int(theirs.stat().st_mtime)
        )
    except FileNotFoundError:
        return False


def _may_run(account: Account, programs: Path) -> bool:
    # The server needs no library of the wheel's, the programs that ask it something do.
    return account.may_run(programs / "postgres") and account.may_run(programs / "psql")


def _copy(base: Path, parts: list[Path], target: Path) -> None:
    files.make_parents(target.parent)
    aside = target.with_name(f"{target.name}-partial")
    shutil.rmtree(aside, ignore_errors=True)
    for part in parts:
        shutil.copytree(base / part, aside / part, symlinks=True)
    for path in (aside, *aside.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
