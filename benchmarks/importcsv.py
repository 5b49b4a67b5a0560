"""importcsv against django-import-export's stock import of the same file.

Both run as a process of their own, as a member under row security, into an account of their own,
with the history triggers on. `python -m benchmarks.importcsv [ROWS]` runs it on the database that
DATABASE_URL and DATABASE_OWNER_URL name; it leaves two accounts with their customers there.
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

ROWS = 100_000
FASTER = 5.0
MEGABYTES = 300
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


def run(rows: int = ROWS) -> list[tuple[str, float, str]]:
    """The two claims as (claim, measured, wanted); the first is a ratio, the second megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "customers.csv"
        write_customers(path, rows)
        ours, theirs = _account(), _account()
        fast = _measure("manage.py", "importcsv", "customers", str(path), "--account", ours)
        stock = _measure("-m", _PEER, str(path), theirs)
    _assert_both(ours, theirs, rows)
    print(f"importcsv: {fast.seconds:.1f} s, {fast.megabytes:.0f} MB; ", end="")
    print(f"django-import-export: {stock.seconds:.1f} s, {stock.megabytes:.0f} MB")
    return [
        (
            f"importcsv of {rows:,} customers against django-import-export",
            stock.seconds / fast.seconds,
            f">= {FASTER}",
        ),
        ("importcsv, peak memory in MB", fast.megabytes, f"< {MEGABYTES}"),
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
                    f"{chance.choice(last)} & Sons" if number % 3 == 0 else "",
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


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "srvc.settings")
    import django

    django.setup()
    for claim, measured, wanted in run(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS):
        print(f"{claim}: {measured:.1f} (wanted {wanted})")
