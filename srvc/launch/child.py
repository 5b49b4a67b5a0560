"""Becomes another program that does not outlive the launcher.

    python -m srvc.launch.child LAUNCHER_PID PROGRAM ARGUMENT…

On Linux the kernel sends SIGTERM when the launcher dies, even by kill -9. Elsewhere the next run
finds the process by its pid file.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to the launcher and become the program."""
    launcher, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(launcher):  # it died before the line above could notice
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606  (an argument list, no shell)


if __name__ == "__main__":
    main()
