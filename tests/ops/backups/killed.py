"""Takes backups in child processes and kills each with kill -9 at a point of its own.

`python -m tests.ops.backups.killed TIMES SEED`, run by test_faults.py: Django is loaded once, and
each child is a fork of a process that has no connection and no thread.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import django


def main(times: int, seed: int) -> None:
    django.setup()
    chance = random.Random(seed)
    began = time.monotonic()
    _wait(_child())
    whole = time.monotonic() - began
    for _ in range(times):
        child = _child()
        time.sleep(chance.uniform(0, whole))
        os.kill(child, signal.SIGKILL)
        _wait(child)


def _child() -> int:
    child = os.fork()
    if child == 0:
        from django.core.management import CommandError, call_command

        try:
            call_command("backup", json=True)
        except CommandError as error:  # the one before may still be dying
            print(error, file=sys.stderr)
        finally:
            os._exit(0)
    return child


def _wait(child: int) -> None:
    os.waitpid(child, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
