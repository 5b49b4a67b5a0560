"""The edge of operators' commands: environment, signals, and errors told in a sentence."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import psycopg
from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.db import Error

from ops.errors import OpsError
from ops.postgres.errors import one_line
from ops.progress import CancelledError, Counter

FAILED, USAGE, BUSY, INTERRUPTED = 1, 2, 4, 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def describe(parser: CommandParser, command: str) -> None:
    """Print a command's help as it is written, and how the environment is named."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    mention_environment(parser, command)


def mention_environment(parser: CommandParser, command: str) -> None:
    """Say how the environment is named, in a command's help.

    That word is taken off the command line before the settings are loaded (srvc/command_line.py);
    no command parses it.
    """
    parser.epilog = (
        f"The environment stands first or last: manage.py {command} production …\n"
        "Without it SRVC_ENV says which, else it is development."
    )


def require_settings(*prefixes: str) -> None:
    """Refuse to work when a setting whose name begins so is missing or wrong.

    A setting of another part, such as mail, is no reason to be without a backup.
    """
    wrong = [
        f"{problem.variable} {problem.wrong}. {problem.fix}"
        for problem in settings.CONFIGURATION_ERRORS
        if problem.variable.startswith(prefixes)
    ]
    if wrong:
        raise CommandError("\n".join(["Nothing was done.", *wrong]), returncode=USAGE)


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn expected failures, and a database that is away or not migrated, into CommandErrors."""
    try:
        yield
    except CancelledError as error:
        raise CommandError(str(error), returncode=INTERRUPTED) from None
    except OpsError as error:
        raise CommandError(str(error), returncode=FAILED) from None
    except KeyboardInterrupt:
        raise CommandError("It was interrupted.", returncode=INTERRUPTED) from None
    except (Error, psycopg.Error) as error:
        sentence = _sentence(error if isinstance(error, psycopg.Error) else error.__cause__)
        if sentence is None:
            raise
        raise CommandError(sentence, returncode=FAILED) from None


@contextmanager
def stopped_by_signals(progress: Counter) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal ask the task to stop and clean up.

    A second one does not wait for the task to notice.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        progress.cancel()
        for each in handled:
            signal.signal(each, signal.default_int_handler)
        progress.say(f"{signal.Signals(number).name}: stopping and cleaning up …")

    # What nohup ignores stays ignored.
    handled = [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, stop) for each in handled}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _sentence(cause: BaseException | None) -> str | None:
    """What an operator can act on; None for a bug, which is worth its traceback."""
    if isinstance(cause, psycopg.errors.UndefinedTable):
        return (
            "The database has no catalogue of backups yet. Nothing was done; run `manage.py "
            "migrate` first."
        )
    if isinstance(cause, psycopg.OperationalError):
        return (
            f"The database gave up: {one_line(cause)}. See that it runs and is the one that "
            "DATABASE_OWNER_URL names, then run this again."
        )
    return None
