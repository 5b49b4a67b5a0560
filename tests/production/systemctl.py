"""Stands in for systemctl: starts the ExecStart line of each unit as a process of its own.

    python systemctl.py COMMAND [--now] UNIT…

Units lie in $MACHINE/etc/systemd/system, process ids in $MACHINE/run. `nginx` is the real one.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

MACHINE = Path(os.environ["MACHINE"])
RUN = MACHINE / "run"


def main() -> None:
    command, *rest = sys.argv[1:]
    units = [unit for unit in rest if not unit.startswith("-")]
    if command in {"stop", "restart"}:
        for unit in units:
            stop(unit)
    if command in {"start", "restart", "enable", "reload"}:
        for unit in units:
            start(unit)


def start(unit: str) -> None:
    if unit == "nginx":
        command = ["nginx", "-c", str(MACHINE / "etc/nginx/nginx.conf"), "-p", str(MACHINE)]
        launch(unit, command, MACHINE, {})
        return
    name, at, instance = unit.partition("@")
    text = (MACHINE / f"etc/systemd/system/{name}{at}.service").read_text()
    text = text.replace("/srv/", f"{MACHINE}/srv/").replace(":8000", f":{os.environ['WEB_PORT']}")
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and line[0] != "#")
    command = shlex.split(lines["ExecStart"].replace("%i", instance))
    environment = dict(pair.split("=", 1) for pair in shlex.split(lines["Environment"]))
    launch(unit, command, Path(lines["WorkingDirectory"]), environment)


def launch(unit: str, command: list[str], folder: Path, environment: dict[str, str]) -> None:
    # As systemd: nothing of the shell's variables but where programs are.
    passed = {
        name: os.environ[name] for name in ("PATH", "MACHINE", "TMPDIR") if name in os.environ
    }
    with (RUN / f"{unit}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**passed, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (RUN / f"{unit}.pid").write_text(str(process.pid))


def stop(unit: str) -> None:
    file = RUN / f"{unit}.pid"
    if not file.exists():
        return
    group = int(file.read_text())
    file.unlink()
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        for _ in range(300):
            if not alive(group):
                return
            time.sleep(0.1)


def alive(group: int) -> bool:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


if __name__ == "__main__":
    main()
