"""Restores in child processes, each killed with kill -9 at a point of its own.

`python -m tests.ops.restores.killed BACKUP TIMES SEED`, run by test_complete_faults.py: Django is
loaded once, and each child is a fork of a process that has no connection and no thread. A line for
each child tells when it was killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import django


def main(backup: str, times: int, seed: int) -> None:
    django.setup()
    chance = random.Random(seed)
    began = time.monotonic()
    _wait(_child(backup))
    whole = time.monotonic() - began
    for number in range(times):
        child = _child(backup)
        # One in each tenth of the way, so that none of it is left out.
        after = whole * (number + chance.random()) / times
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        _wait(child)
        print(f"{after / whole:.2f}", flush=True)
        sys.stdin.readline()  # somebody looks at what is left


def _child(backup: str) -> int:
    child = os.fork()
    if child == 0:
        from django.core.management import CommandError, call_command

        try:
            call_command("restore", backup, yes=True, safety_backup=False, json=True, undo=None)
        except CommandError as error:
            print(error, file=sys.stderr)
        finally:
            os._exit(0)
    return child


def _wait(child: int) -> None:
    os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
