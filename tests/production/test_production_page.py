"""docs/production.md, executed: from an empty machine to a signed-in administrator and back.

Its blocks run in their order, as they stand: only paths, ports and addresses are this test's, and
what needs root or the network (apt-get, useradd, chown, git clone) does nothing or a copy.
"""

from __future__ import annotations

import re
import shutil
import time
from base64 import b32decode
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django_otp.oath import TOTP

from ops.postgres import roles
from srvc.environment import BASE_DIR
from srvc.launch.address import Address
from srvc.launch.serve import _web_command
from tests.production.browser import Browser
from tests.production.machine import PASSWORD, Machine, blocks

EMAIL = "you@example.com"
missing = [
    name for name in ("nginx", "openssl") if not shutil.which(name, path="/usr/sbin:/usr/bin")
]


@pytest.fixture
def machine(scratch: Path) -> Iterator[Machine]:
    made = Machine(scratch)
    try:
        made.install()
        yield made
    finally:
        made.destroy()


@pytest.mark.simulation
@pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
def test_the_page_leads_from_an_empty_machine_to_a_signed_in_administrator_and_back(
    machine: Machine,
) -> None:
    site = machine.folder / "etc" / "nginx" / "sites-available" / "srvc"
    commands = []
    for language, text in blocks():
        if language == "nginx":
            # A file that the page shows; what follows links it.
            commands.append(("write", text))
        else:
            commands.append(("run", text))
    first_backup = next(i for i, (_, text) in enumerate(commands) if "manage.py backup\n" in text)
    lost = next(i for i, (_, text) in enumerate(commands) if "systemctl stop" in text)
    key = b""
    browser: Browser | None = None
    for number, (what, text) in enumerate(commands):
        if number == first_backup:
            browser = Browser(machine.https, machine.folder / "etc/ssl/srvc/srvc.pem")
            _wait_until_ready(browser, machine)
            key = _sign_in_and_enrol(browser)
        if what == "write":
            site.write_text(machine.here(text))
        else:
            machine.run(text)
        if number == lost:
            _lose_the_database(machine)
    assert browser is not None
    _wait_until_ready(browser, machine)
    again = Browser(machine.https, machine.folder / "etc/ssl/srvc/srvc.pem")
    assert again.post("/admin/login/", username=EMAIL, password=PASSWORD)[0] == 302
    code = f"{TOTP(key).token():06d}"
    assert again.post("/admin/two-factor/verify/", code=code)[0] == 302
    status, page = again.get("/admin/")
    assert (status, EMAIL in page or "Dashboard" in page) == (200, True)


def test_the_web_unit_starts_what_make_run_starts() -> None:
    unit = (BASE_DIR / "docs" / "web.service").read_text()
    started = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert started is not None
    mine = started[1].split()[1:]
    launched = _web_command(Address("127.0.0.1", 8000))[1:]
    workers = launched.index("--workers") + 1
    launched[workers] = mine[mine.index("--workers") + 1]
    assert mine == launched


@pytest.mark.parametrize("name", ["web", "worker@", "watch", "walreceiver"])
def test_every_unit_is_installed_by_the_page(name: str) -> None:
    assert (BASE_DIR / "docs" / f"{name}.service").is_file()
    assert any(f"cp docs/{name}.service /etc/systemd/system/" in text for _, text in blocks())


def _wait_until_ready(browser: Browser, machine: Machine) -> None:
    deadline = time.monotonic() + 120
    answer: object = None
    while time.monotonic() < deadline:
        try:
            answer = browser.get("/readyz")
        except OSError as error:
            answer = error
        if answer == (200, '{"status": "ok", "failing": []}'):
            return
        time.sleep(0.2)
    pytest.fail(f"/readyz: {answer}\n{machine.logs()}")


def _sign_in_and_enrol(browser: Browser) -> bytes:
    assert browser.post("/admin/login/", username=EMAIL, password=PASSWORD)[0] == 302
    secret = re.search(r"Secret</span> <code>([^<]+)</code>", browser.get("/admin/two-factor/")[1])
    assert secret is not None
    key = b32decode(secret[1].replace(" ", ""))
    totp = TOTP(key)
    # The code of half a minute ago: each works once, and the next sign-in takes today's.
    totp.time = time.time() - 30
    assert browser.post("/admin/two-factor/", code=f"{totp.token():06d}")[0] == 200
    assert browser.get("/admin/")[0] == 200
    return key


def _lose_the_database(machine: Machine) -> None:
    template = roles.template_of("srvc")
    with psycopg.connect(**machine.server.connection, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{template}" IS_TEMPLATE false'.encode())
        for name in ("srvc", template):
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
