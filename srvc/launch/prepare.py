"""Everything between an empty folder and a database worth serving; doing it twice changes nothing.

Called with the environment complete and the database server running.
"""

import hashlib
import io
import os
from contextlib import suppress
from pathlib import Path

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import OperationalError, connections

from ops.postgres.embedded import EmbeddedServer
from ops.postgres.errors import one_line
from ops.postgres.provisioning import Provisioning, provision
from ops.postgres.roles import APP, OWNER, REPLICATION
from srvc.launch.errors import LaunchError
from srvc.launch.progress import Progress

DATABASE = "srvc"
_UNREACHABLE = "No data was touched."


def provision_embedded(server: EmbeddedServer, progress: Progress) -> None:
    """Make the logins, the roles and the database on the embedded server."""
    passwords = {
        OWNER: os.environ["SRVC_OWNER_PASSWORD"],
        APP: os.environ["SRVC_APP_PASSWORD"],
        REPLICATION: os.environ["SRVC_REPLICATION_PASSWORD"],
    }
    for warning in provision(Provisioning(server.connection, DATABASE, passwords)):
        progress.say(warning)


def set_up_django() -> None:
    """Load settings and applications, and refuse a wrong configuration in its own words."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "srvc.settings")
    try:
        django.setup()
    except ImproperlyConfigured as error:
        raise LaunchError(
            f"The settings are not complete: {one_line(error)} Nothing was started."
        ) from None


def check_configuration() -> None:
    """Run the system checks, those of the database included."""
    try:
        call_command("check", databases=["default", "owner"], stdout=io.StringIO())
    except SystemCheckError as error:
        raise LaunchError(f"{str(error).strip()}\nNothing was served; {_UNREACHABLE}") from None


def reopen_database(progress: Progress) -> None:
    """Open a database that a crash in the middle of a restore's swap left closed."""
    from ops.errors import OpsError
    from ops.restores.complete.swap import reopen_if_closed

    # A server that cannot be reached is told with more words by who needs it next.
    with suppress(OpsError):
        if reopen_if_closed():
            progress.say("the database is open again; its server had stopped in a restore's swap")


def require_logins(*, embedded: bool, environment: str) -> None:
    """Refuse a server that does not let both logins in, with the way to make them."""
    argument = "" if environment == "development" else f" {environment}"
    for alias, login in (("owner", OWNER), ("default", APP)):
        try:
            connections[alias].ensure_connection()
        except OperationalError as error:
            hint = (
                "Run `make run` again"
                if embedded
                else f"If the role is missing, run `manage.py provision{argument}` once with a "
                "superuser's URL in DATABASE_ADMIN_URL"
            )
            raise LaunchError(
                f"{login} cannot sign in to the database: {one_line(error)}. {_UNREACHABLE} {hint}."
            ) from None


def migrate() -> None:
    """Bring the schema to this version's state."""
    call_command("migrate", database="owner", interactive=False, verbosity=0)


def collect_static() -> None:
    """Collect and compress the static files when any of them changed since the last time."""
    from django.conf import settings

    stamp = Path(settings.STATIC_ROOT) / ".collected"
    wanted = _static_digest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    stamp.unlink(missing_ok=True)
    call_command("collectstatic", interactive=False, verbosity=0)
    stamp.write_text(wanted)


def load_demo() -> None:
    """Load the demo account, once for each database."""
    call_command("seed", scale="demo", once=True)


def close_connections() -> None:
    """Give the database back before others start to use it."""
    connections.close_all()


def _static_digest() -> str:
    from django.contrib.staticfiles.finders import get_finders

    seen = hashlib.sha256(django.get_version().encode())
    for finder in get_finders():
        for path, storage in finder.list([]):
            status = Path(storage.path(path)).stat()
            seen.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return seen.hexdigest()
