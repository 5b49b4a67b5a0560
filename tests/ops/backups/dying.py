"""Commands in child processes, each killed with kill -9 as soon as its run is under way.

`python -m tests.ops.backups.dying`, run by test_liveness.py, reads commands from its input, one a
line as JSON, and answers with the number of the run that it killed. Django is loaded once, and each
child is a fork of a process that has no thread.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

import django

_PATIENCE = 30.0  # seconds until a command has to be under way


def main() -> None:
    django.setup()
    for line in sys.stdin:
        print(_killed(json.loads(line)), flush=True)


def _killed(command: list[Any]) -> int:
    before = _newest()
    child = os.fork()
    if child == 0:
        _carry_out(command)
    deadline = time.monotonic() + _PATIENCE
    while (run := _under_way(before)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return run or 0


def _carry_out(command: list[Any]) -> None:
    from django.core.management import CommandError, call_command

    name, arguments, options = command
    try:
        call_command(name, *arguments, **options)
    except CommandError as error:
        print(repr(error), file=sys.stderr)
    finally:
        os._exit(0)


def _newest() -> int:
    from ops.models import Run

    return max(_numbers(Run.objects.all()), default=0)


def _under_way(before: int) -> int | None:
    """The first run that began since, once its lock is held."""
    from ops import liveness
    from ops.models import Run
    from ops.rls.router import as_owner_by_default

    with as_owner_by_default():
        held = liveness._held()
    begun = [each for each in _numbers(Run.objects.running()) if each > before and each in held]
    return min(begun, default=None)


def _numbers(runs: Any) -> list[int]:
    from django.db import connections

    try:
        return list(runs.using("owner").values_list("pk", flat=True))
    finally:
        connections.close_all()  # a fork must not share them


if __name__ == "__main__":
    main()
