"""Where the server's log is, and how it can be reached from here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings

from ops.health.disk import is_here
from ops.health.errors import HealthError
from ops.health.quoting import quoted
from ops.health.serverlog.files import Files, LocalFiles, ServersFiles, fitting
from ops.health.serverlog.parsing import Format
from ops.health.serverlog.reading import Log
from ops.health.steps import as_superuser, in_a_sentence
from ops.postgres import configuration
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import ServerError
from ops.postgres.places import log_directory
from ops.postgres.roles import MAINTENANCE_DATABASE
from ops.runs import OWNER

_READ = "pg_read_binary_file(text, bigint, bigint, boolean)"
_DEBIAN = Path("/var/log/postgresql")


@dataclass(frozen=True)
class _Told:
    """What the server says about its log; "" for what it does not."""

    collects: bool
    destinations: tuple[str, ...]
    filename: str
    folder: str  # absolute
    cluster: str
    known: Format
    language: str


@contextmanager
def server_log(file: Path | None = None) -> Iterator[Log]:
    """Yield the server's log; with `file` that one, wherever it is from.

    Raises HealthError, which says how it can be reached, and ServerError.
    """
    if file is not None:
        yield _one_file(file, Format())
        return
    try:
        connection = _connection()
    except ServerError as error:
        if not settings.EMBEDDED_POSTGRES:
            raise
        yield _embedded_log(str(error))
        return
    with connection:
        yield _log_of(connection)


def _connection() -> Connection:
    endpoint = Endpoint.of(OWNER)
    try:
        # Rights on the server as a whole are given there (ops/postgres/roles.py).
        return endpoint.at(MAINTENANCE_DATABASE).connect(application_name="srvc dblogs")
    except ServerError:
        return endpoint.connect(application_name="srvc dblogs")


def _log_of(connection: Connection) -> Log:
    told = _ask(connection)
    notes = _notes(told)
    if not told.collects:
        return _uncollected(connection, told, notes)
    ending = next(
        (end for name, end in (("jsonlog", ".json"), ("csvlog", ".csv"))
         if name in told.destinations),
        "",
    )  # fmt: skip
    fits = fitting(told.filename, ending)
    folder = Path(told.folder) if told.folder else None
    if settings.EMBEDDED_POSTGRES:
        folder = log_directory(settings.VAR_DIR / "postgres")
    if folder is not None and is_here(connection):
        here = LocalFiles(folder, fits)
        if _readable(here) and _are_its(connection, here):
            return Log(here, told.known, notes)
    return Log(_by_the_server(connection, told, ending), told.known, notes)


def _ask(connection: Connection) -> _Told:
    names = (
        "logging_collector", "log_destination", "log_filename", "log_directory", "data_directory",
        "cluster_name", "log_line_prefix", "log_timezone", "lc_messages",
    )  # fmt: skip
    rows = connection.execute(
        "SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [list(names)]
    )
    found: dict[str, str] = dict(rows.fetchall())
    folder, data = found.get("log_directory", ""), found.get("data_directory", "")
    if folder and not folder.startswith("/"):
        folder = f"{data}/{folder}" if data else ""
    return _Told(
        found.get("logging_collector") == "on",
        tuple(each.strip() for each in found.get("log_destination", "").split(",")),
        found.get("log_filename", ""),
        folder,
        found.get("cluster_name", ""),
        Format(found.get("log_line_prefix"), found.get("log_timezone", "UTC")),
        found.get("lc_messages", ""),
    )


def _notes(told: _Told) -> tuple[str, ...]:
    language = told.language
    if language and language not in {"C", "POSIX"} and not language.startswith(("en", "C.")):
        note = (
            f"The server writes its log in {language}; what messages are about is told from "
            "English ones: ALTER SYSTEM SET lc_messages = 'C'; SELECT pg_reload_conf();"
        )
        return (note,)
    return ()


def _by_the_server(connection: Connection, told: _Told, ending: str) -> Files:
    role = connection.info.user
    row = connection.execute(
        "SELECT pg_has_role(current_user, 'pg_monitor', 'USAGE'),"
        " has_function_privilege(%s, 'EXECUTE')",
        [_READ],
    ).fetchone()
    assert row is not None
    lists, reads = row
    allow = [f"GRANT pg_monitor TO {quoted(role)};"] if not lists else []
    if not reads:
        allow.append(f"GRANT EXECUTE ON FUNCTION {_READ} TO {quoted(role)};")
    if allow:
        step = in_a_sentence(as_superuser(" ".join(allow)))
        raise HealthError(
            f"The login {role} may not read the server's log, and it is not readable from here. "
            f"Nothing was changed. {step} Or copy a file here, and name it: "
            "manage.py dblogs --file FILE"
        )
    return ServersFiles(connection, fitting(told.filename, ending), told.folder)


def _uncollected(connection: Connection, told: _Told, notes: tuple[str, ...]) -> Log:
    """Debian's packages redirect the server's output to a file of a known name."""
    file = _DEBIAN / f"postgresql-{told.cluster.replace('/', '-')}.log"
    if told.cluster and is_here(connection) and file.exists():
        found = _one_file(file, told.known)
        return Log(found.files, found.known, notes)
    raise HealthError(
        "The server keeps no log of its own (logging_collector is off): what it says goes to "
        "whoever started it, such as `journalctl -u postgresql` or `docker logs`. Nothing was "
        "changed. Save that in a file and name it: manage.py dblogs --file FILE. Or let the server "
        "keep one: ALTER SYSTEM SET logging_collector = on; and restart it."
    )


def _embedded_log(why: str) -> Log:
    """The embedded server's files, while it does not run: that is when they are wanted most."""
    wanted = configuration.DURABLE
    files = LocalFiles(
        log_directory(settings.VAR_DIR / "postgres"), fitting(wanted["log_filename"], "")
    )
    known = Format(wanted["log_line_prefix"], wanted["log_timezone"])
    return Log(files, known, (f"The server does not answer: {why}",))


def _one_file(file: Path, known: Format) -> Log:
    name = file.name
    files = LocalFiles(file.absolute().parent, lambda each: each == name)
    if not files.all():
        raise HealthError(f"There is no file {file}. Nothing was changed.")
    return Log(files, known)


def _readable(files: LocalFiles) -> bool:
    try:
        newest = files.all()[-1:]
        return bool(newest) and files.read(newest[0].name, 0, 1) is not None
    except HealthError:
        return False


def _are_its(connection: Connection, here: LocalFiles) -> bool:
    """Whether these files are the server's: an address of this machine may lead into another."""
    if settings.EMBEDDED_POSTGRES:
        return True
    row = connection.execute(
        "SELECT has_function_privilege('pg_ls_logdir()', 'EXECUTE')"
    ).fetchone()
    if row != (True,):
        return connection.info.host.startswith("/")
    rows = connection.execute("SELECT name, modification FROM pg_ls_logdir()").fetchall()
    there: dict[str, datetime] = dict(rows)
    newest = here.all()[-1]
    at = there.get(newest.name)
    return at is not None and abs((at - newest.modified).total_seconds()) <= 60
