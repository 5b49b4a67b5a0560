"""importcsv against django-import-export's stock import of the same file.

Both run as a process of their own, as a member under row security, into an account of their own,
with the history triggers on. Start-up of the process is part of either time.
"""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from benchmarks.result import Result
from benchmarks.server import Bench

ROWS = 100_000
_HEADER = [
    "external_id",
    "first_name",
    "last_name",
    "company_name",
    "email",
    "phone",
    "address_line1",
    "city",
    "region",
    "postal_code",
    "country",
    "notes",
]
_ROOT = Path(__file__).resolve().parent.parent
_PEER = "benchmarks.importcsv_peer"


@dataclass(frozen=True)
class Run:
    """One process: how long it took, in seconds, and its peak memory, in megabytes."""

    seconds: float
    megabytes: float


def run(bench: Bench) -> list[Result]:
    """How many times as fast, and the peak memory of ours in megabytes."""
    rows = min(bench.scale.customers, ROWS)
    with (
        tempfile.TemporaryDirectory() as folder,
        bench.empty("import") as name,
        bench.pointed_at(name),
    ):
        path = Path(folder) / "customers.csv"
        write_customers(path, rows)
        ours, theirs = _account(), _account()
        fast = _measure("manage.py", "importcsv", "customers", str(path), "--account", ours)
        stock = _measure("-m", _PEER, str(path), theirs)
        _assert_both(ours, theirs, rows)
    peer = "django-import-export"
    return [
        Result(
            f"importcsv of {rows:,} customers, times as fast",
            peer,
            f"{fast.seconds:.1f} s",
            f"{stock.seconds:.1f} s",
            stock.seconds / fast.seconds,
            ">= 5",
        ),
        Result(
            "importcsv, peak memory in MB",
            peer,
            f"{fast.megabytes:.0f} MB",
            f"{stock.megabytes:.0f} MB",
            fast.megabytes,
            "< 300",
        ),
    ]


def write_customers(path: Path, rows: int) -> None:
    """A file of made-up customers, the same every time."""
    chance = random.Random(2026)
    first = ("Ada", "Grace", "Edsger", "Barbara", "Donald", "Frances", "Zoë", "José")
    last = ("Lovelace", "Hopper", "Liskov", "Knuth", "Allen", "Müller", "Nguyen", "Okafor")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        for number in range(rows):
            writer.writerow(
                [
                    f"C{number}",
                    chance.choice(first),
                    f"{chance.choice(last)} {number}",
                    f"{chance.choice(last)} & Sons {number}" if number % 3 == 0 else "",
                    f"customer{number}@example.com",
                    f"({201 + number % 700}) {200 + number // 10_000 % 700}-{number % 10_000:04}",
                    f"{chance.randint(1, 9999)} Main Street",
                    chance.choice(("Springfield", "Shelbyville", "Ogdenville")),
                    "IL",
                    f"{chance.randint(10000, 99999)}",
                    "USA",
                    chance.choice(("", "", "Ring twice", "Prefers e-mail")),
                ]
            )


def _measure(*arguments: str) -> Run:
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=_ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "srvc.settings", "DEBUG": "false"},
        stdout=subprocess.DEVNULL,
    )
    # The process's own peak; the children's total would hide one behind the other.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{arguments} failed"
    return Run(seconds, usage.ru_maxrss / 1024)


def _account() -> str:
    from crm.services.accounts import create_account
    from ops.rls.session import acting_as_admin

    email = f"bench-{uuid.uuid4().hex[:12]}@business.example"
    with acting_as_admin(via="benchmark"):
        create_account(email=email, name="Benchmark", password=None, by=None)
    return email


def _assert_both(ours: str, theirs: str, rows: int) -> None:
    from crm.models import Customer, User
    from ops.rls.session import acting_as, acting_as_login

    for email in (ours, theirs):
        with acting_as_login():
            user = User.objects.get(email=email)
        with acting_as(user):
            assert Customer.objects.count() == rows, email
