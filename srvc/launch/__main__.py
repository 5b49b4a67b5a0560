"""`python -m srvc.launch`, which is what `make run` executes.

Order matters: whatever can be refused is refused before anything starts, and everything that was
started is stopped in the opposite order, whichever way this process ends.
"""

import argparse
import errno
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from django.core.management import CommandError

from ops.errors import OpsError
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.files import make_parents
from srvc import environment
from srvc.launch import address, configuration, first_backup, lock, prepare
from srvc.launch.children import stop_orphans
from srvc.launch.errors import LaunchError, StopRequestedError
from srvc.launch.progress import Progress
from srvc.launch.serve import Site

_DISK_FULL = (
    "The disk is full. What was saved before is safe. Free some space (a few hundred MB) and run "
    "this again."
)


def main() -> int:
    """Run SRVC until somebody stops it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m srvc.launch", description=main.__doc__)
    parser.add_argument(
        "--until-parent-dies",
        action="store_true",
        help="stop when the process that started this one is gone",
    )
    options = parser.parse_args()
    parent = os.getppid() if options.until_parent_dies else None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    progress = Progress()
    try:
        with ExitStack() as undo:
            _run(progress, undo, parent)
    except StopRequestedError:
        progress.say("SRVC has stopped; the data is safe in its place.")
        return 0
    except (LaunchError, OpsError, CommandError, environment.EnvironmentChoiceError) as error:
        print(f"SRVC: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        if not _is_disk_full(error):
            raise
        print(f"SRVC: {_DISK_FULL}", file=sys.stderr)
        return 1
    return 0


def _run(progress: Progress, undo: ExitStack, parent: int | None) -> None:
    name = configuration.load()
    development = name == environment.DEVELOPMENT
    embedded = configuration.uses_embedded_server(name)
    place = address.from_environment()
    var = configuration.variable_folder()
    folder = var / "run"
    make_parents(folder)

    running = lock.RunLock(folder)
    running.acquire(progress.say)
    undo.callback(running.release)
    running.tell(lock.STARTING, place.url)
    stop_orphans(folder, progress.say)
    place.require_free()

    if development and (made := configuration.complete_development_file(embedded=embedded)):
        progress.say(f"✓ secrets for this machine are in {made.name}")
    server = _start_server(var, progress, undo) if embedded else None
    unproven = _prepare(progress, server, name)

    site = Site(place, folder, server, progress.say)
    undo.callback(_stop_site, site, progress)
    with progress.step("starting the web server and the workers"):
        site.start()
    running.tell(lock.SERVING, place.url)
    undo.callback(running.tell, lock.STOPPING, place.url)
    _welcome(progress, place, name)
    if unproven:
        site.take_first_backup()
    site.watch(parent)


def _start_server(var: Path, progress: Progress, undo: ExitStack) -> EmbeddedServer:
    server = EmbeddedServer(var / "postgres", say=progress.say)

    def stop() -> None:
        if server.is_running():
            with progress.step("stopping PostgreSQL"):
                server.stop()

    undo.callback(stop)
    with progress.step("starting PostgreSQL"):
        server.start()
    return server


def _prepare(progress: Progress, server: EmbeddedServer | None, name: str) -> bool:
    """Make everything ready, and tell whether a first backup is to be taken."""
    if server:
        with progress.step("making roles and database"):
            prepare.provision_embedded(server, progress)
    with progress.step("checking the configuration"):
        prepare.set_up_django()
        prepare.reopen_database(progress)
        prepare.require_logins(embedded=server is not None, environment=name)
    with progress.step("bringing the database up to date"):
        prepare.migrate()
        prepare.check_configuration()
    with progress.step("collecting static files"):
        prepare.collect_static()
    if name == environment.DEVELOPMENT:
        with progress.step("loading the demo, if it is not there"):
            prepare.load_demo()
    # Elsewhere the operator's own schedule takes them.
    unproven = name == environment.DEVELOPMENT and first_backup.wanted()
    prepare.close_connections()
    return unproven


def _stop_site(site: Site, progress: Progress) -> None:
    with progress.step("stopping the web server and the workers"):
        site.stop()


def _welcome(progress: Progress, place: address.Address, name: str) -> None:
    progress.say(f"\nSRVC is at {place.url}")
    if name == environment.DEVELOPMENT:
        from billing.seeding.demo import OWNER_EMAIL  # needs Django's applications loaded

        file = environment.environment_file(name).name
        progress.say(f"Sign in as {OWNER_EMAIL}; the password is DEMO_PASSWORD in {file}.")
    progress.say("Ctrl-C stops it.\n")


def _is_disk_full(error: BaseException | None) -> bool:
    """Tell whether the disk was full at the bottom of this failure, ours or the database's."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if getattr(error, "sqlstate", None) == "53100":
            return True
        error = error.__cause__ or error.__context__
    return False


def _stop(number: int, frame: FrameType | None) -> None:
    # Once is enough: what follows is bounded in time, and must not be cut off half-way.
    for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(again, signal.SIG_IGN)
    raise StopRequestedError


if __name__ == "__main__":
    sys.exit(main())
