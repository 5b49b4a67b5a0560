"""`make run` on an empty machine, again, after SIGTERM and after kill -9: one long story.

It is one test because the first run, with its migrations, is what takes the time.
"""

import contextlib
import os
import signal
import time
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import psutil
import pytest

from ops.postgres.embedded import EmbeddedServer
from tests.launch.conftest import Installation


def answers(url: str) -> bool:
    with urllib.request.urlopen(f"{url}admin/login/", timeout=10) as response:  # noqa: S310
        return bool(response.status == 200)


def sign_in(url: str, email: str, password: str) -> str:
    """Return the address one lands on after signing in as a person would."""
    cookies = CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
    browser.open(f"{url}admin/login/", timeout=10).close()
    token = next(cookie.value for cookie in cookies if "csrf" in cookie.name)
    form = {"username": email, "password": password, "csrfmiddlewaretoken": token or ""}
    data = urllib.parse.urlencode({**form, "next": "/admin/"}).encode()
    with browser.open(f"{url}admin/login/", data, timeout=10) as response:
        return str(response.url)


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of whatever still runs for this folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ", "status"]):
        environment = process.info["environ"] or {}
        ours = environment.get("SRVC_VAR") == str(folder)
        if (ours or str(folder) in " ".join(process.info["cmdline"] or [])) and (
            process.info["status"] != psutil.STATUS_ZOMBIE
        ):
            found.append(" ".join(process.info["cmdline"] or []))
    return found


@pytest.mark.simulation
def test_it_comes_up_comes_back_and_leaves_nothing_behind(installation: Installation) -> None:
    # An empty machine: everything is made, and the way in is printed.
    first = installation.launch()
    first.wait_for("Ctrl-C stops it.", seconds=300)
    assert f"SRVC is at {installation.url}" in first.said
    assert "Sign in as owner@demo.example; the password is DEMO_PASSWORD in .env." in first.said
    assert answers(installation.url)
    assert installation.file.stat().st_mode & 0o777 == 0o600
    secrets = installation.file.read_text()
    values = dict(line.split("=", 1) for line in secrets.splitlines() if "=" in line)
    assert list(values) == [
        "SECRET_KEY",
        "DEMO_PASSWORD",
        "SRVC_OWNER_PASSWORD",
        "SRVC_APP_PASSWORD",
        "SRVC_REPLICATION_PASSWORD",
        "BACKUP_SIGNING_KEY",
        "BACKUP_AGE_RECIPIENTS",
        "BACKUP_AGE_IDENTITY_FILES",
    ]
    landed = sign_in(installation.url, "owner@demo.example", values["DEMO_PASSWORD"])
    assert landed == f"{installation.url}admin/"
    for value in values.values():
        assert value not in first.said

    # A first backup is taken and proven beside the running site, and nobody waits for it.
    first.wait_for("✓ first backup taken and proven by a restore (")
    assert first.said.index("Ctrl-C stops it.") < first.said.index("✓ first backup taken")
    assert list((installation.var / "backups").glob("*-full-*.dump.zst.age"))

    # WAL is fetched from the first run on, for moments after the first base backup.
    installation.pid_of("WAL receiver")
    deadline = time.monotonic() + 60
    while not list((installation.var / "wal").rglob("receiving/0*")):
        assert time.monotonic() < deadline, first.said
        time.sleep(0.1)

    # What is wrong with the database is looked for from the first run on.
    installation.pid_of("health watcher")

    # Another run beside it is refused, and the first one is not disturbed.
    beside = installation.launch()
    assert beside.wait() == 1
    assert f"already runs in this folder (process {first.process.pid})" in beside.said
    assert answers(installation.url)

    # SIGTERM stops all of it.
    assert first.stop() == 0
    assert "SRVC has stopped; the data is safe in its place." in first.said
    assert processes_of(installation.var) == []

    # A second run has the same secrets and does nothing twice, which is what makes it quick.
    collected = (installation.var / "static" / "staticfiles.json").stat().st_mtime_ns
    second = installation.launch()
    second.wait_for("Ctrl-C stops it.")
    assert (installation.var / "static" / "staticfiles.json").stat().st_mtime_ns == collected
    assert installation.file.read_text() == secrets

    assert "Loaded" not in second.said
    assert "first backup" not in second.said

    # A worker that dies is started again.
    worker = installation.pid_of("worker")
    os.kill(worker, signal.SIGKILL)
    second.wait_for("the worker stopped unexpectedly (-9); starting it again in 1 s")
    deadline = time.monotonic() + 20
    while installation.pid_of("worker") == worker and time.monotonic() < deadline:
        time.sleep(0.1)
    assert installation.pid_of("worker") != worker

    # kill -9 of the launcher alone, then of everything: the next run recovers.
    second.process.kill()
    second.wait()
    third = installation.launch()
    third.wait_for("Ctrl-C stops it.")
    assert "was already running on this data directory and is used as it is" in third.said
    assert answers(installation.url)
    server = EmbeddedServer(installation.var / "postgres")
    postmaster = int((server.home / "postmaster.pid").read_text().split("\n", 1)[0])
    children = ("web server", "worker", "operations worker", "WAL receiver", "health watcher")
    victims = [*map(installation.pid_of, children), postmaster]
    for pid in (third.process.pid, *victims):
        with contextlib.suppress(ProcessLookupError):  # the launcher's death is news to them, too
            os.kill(pid, signal.SIGKILL)
    third.wait()
    fourth = installation.launch()
    fourth.wait_for("Ctrl-C stops it.")
    assert "PostgreSQL is recovering" in fourth.said
    assert answers(installation.url)

    # Ctrl-C, as the terminal sends it: to the whole group at once.
    os.killpg(fourth.process.pid, signal.SIGINT)
    assert fourth.wait() == 0
    assert processes_of(installation.var) == []
