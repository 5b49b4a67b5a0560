"""A full run of all health checks, recorded, against pg_dump's reading of the same catalogue.

The peer is `pg_dump --schema-only` of the same database: the program everybody knows that reads the
whole catalogue, and which looks at no rows, statistics or files. Ours runs in a process of its own,
as cron starts it; the time is that of the looking, signing in and recording included, without the
start of Python. The first look of all, which records every finding as a new one, is told apart.
"""

from __future__ import annotations

import datetime
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.result import Result, compare, timed
from benchmarks.server import Bench
from ops.rls.router import OWNER_ALIAS

ROUNDS = 5
_ROOT = Path(__file__).resolve().parent.parent
_TABLES = 1_000
_ROWS = 40
# More at once would need more locks than a server gives one transaction.
_TABLES_AT_ONCE = 50
_SLOWEST = 5
_MOST_MEGABYTES = 150
_PEER = "pg_dump --schema-only"


def run(bench: Bench) -> list[Result]:
    """Seconds and megabytes against their bars, and the time by the peer's."""
    results = []
    with bench.empty("health") as name:
        _make_tables(bench, name)
        results += _measure(bench, name, "1,000 tables, 5,000 indexes", at_most=3.0, ratio=4.0)
    with _demo(bench) as name:
        results += _measure(bench, name, "demo database", at_most=0.5, ratio=5.0)
    return results


@dataclass
class _Looks:
    """What processes that looked said, one after the other."""

    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    checks: dict[str, list[float]] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)

    def another(self) -> float:
        """Let a new process look; returns the seconds it took to look."""
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.health_run"],
            cwd=_ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"},
            stdout=subprocess.PIPE,
            check=True,
        )
        self.last = json.loads(done.stdout)
        seconds: float = self.last["seconds"]
        self.seconds.append(seconds)
        self.megabytes.append(self.last["megabytes"])
        for name, each in self.last["checks"].items():
            self.checks.setdefault(name, []).append(each)
        return seconds

    def slowest(self) -> str:
        """The checks that take longest, for whoever wants to make them quicker."""
        medians = {name: statistics.median(each) for name, each in self.checks.items()}
        worst = sorted(medians, key=medians.__getitem__, reverse=True)[:_SLOWEST]
        return ", ".join(f"{name} {medians[name] * 1000:.0f} ms" for name in worst)


def _measure(bench: Bench, name: str, what: str, *, at_most: float, ratio: float) -> list[Result]:
    looks = _Looks()
    with bench.pointed_at(name):
        first = looks.another()
        found = compare(ROUNDS, looks.another, lambda: timed(_dump_schema))
    said = looks.last
    bench.say(f"  {what}: {said['ran']} checks, {said['findings']} findings; {looks.slowest()}")
    bench.say(f"  the first look of all took {first:.2f} s")
    for told in said["blind"]:
        bench.say(f"  {told}")
    seconds, megabytes = statistics.median(found.ours), max(looks.megabytes)
    return [
        Result(f"health, {what}, in s", "", f"{seconds:.2f} s", "", seconds, f"<= {at_most}"),
        # What is wanted is seconds; this holds on any machine.
        found.as_result(f"health, {what}, time", _PEER, at_most=ratio),
        Result(
            f"health, {what}, peak memory of the process in MB",
            "",
            f"{megabytes:.0f} MB",
            "",
            megabytes,
            f"< {_MOST_MEGABYTES}",
        ),
    ]


def _dump_schema() -> None:
    from ops.postgres.endpoint import Endpoint

    endpoint = Endpoint.of(OWNER_ALIAS)
    subprocess.run(
        [endpoint.program("pg_dump"), *endpoint.arguments(), "--schema-only"],
        env=endpoint.environment(),
        stdout=subprocess.DEVNULL,
        check=True,
    )


# --- what is looked at ----------------------------------------------------------------------------


def _make_tables(bench: Bench, name: str) -> None:
    """A thousand tables of the owner's with five indexes each, every second with a row policy."""
    from benchmarks.server import OWNER
    from tests.harness import database

    with bench.connect(name, OWNER) as connection:
        for first in range(0, _TABLES, _TABLES_AT_ONCE):
            connection.execute(
                "".join(_table(number) for number in range(first, first + _TABLES_AT_ONCE))
            )
    with database.connect(name) as connection:
        connection.execute("VACUUM (ANALYZE)")


def _table(number: int) -> str:
    table, parent = f"made_{number:04}", f"made_{max(0, number - 1):04}"
    policies = f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
        CREATE POLICY {table}_member ON {table} TO srvc_member USING (account_id =
            (SELECT NULLIF(current_setting('app.account_id', true), '')::bigint));
        CREATE POLICY {table}_admin ON {table} TO srvc_admin USING (true);
    """
    return f"""
        CREATE TABLE {table} (
            id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
            account_id bigint NOT NULL,
            parent_id bigint REFERENCES {parent},
            number integer NOT NULL,
            name text NOT NULL,
            email text,
            amount numeric(12, 2) NOT NULL DEFAULT 0 CHECK (amount >= 0),
            created_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (account_id, number)
        );
        CREATE INDEX {table}_parent ON {table} (parent_id);
        CREATE INDEX {table}_created ON {table} (account_id, created_at);
        CREATE INDEX {table}_email ON {table} (lower(email)) WHERE email IS NOT NULL;
        INSERT INTO {table} (account_id, parent_id, number, name, email)
            SELECT n % 5, n, n, 'Name ' || n, n || '@example.com'
            FROM generate_series(1, {_ROWS}) n;
        {policies if number % 2 == 0 else ""}
    """


@contextmanager
def _demo(bench: Bench) -> Iterator[str]:
    """A migrated database with the demo's three businesses."""
    from billing.seeding.demo import load_demo
    from tests.harness import database

    with bench.empty("health_demo") as name:
        with bench.pointed_at(name):
            # Of today: what is long overdue would be found.
            today = datetime.datetime.now(datetime.UTC).date()
            load_demo(seed=1, today=today, password="of nobody at all")
        with database.connect(name) as connection:
            connection.execute("VACUUM (ANALYZE)")
        yield name


# --- the process that looks -----------------------------------------------------------------------


def _look() -> dict[str, Any]:
    """Look once, and say how long that took and how much memory the process had at most."""
    import django

    django.setup()
    from ops.health.look import look_at
    from ops.health.selection import all_checks

    found: list[Any] = []
    seconds = timed(lambda: found.append(look_at(all_checks())))
    (look,) = found
    assert not look.not_recorded, look.not_recorded
    return {
        "seconds": seconds,
        "megabytes": _peak_memory() / 1e6,
        "ran": len(look.outcomes),
        "findings": sum(len(outcome.reported) for outcome in look.outcomes),
        "checks": {outcome.check.name: outcome.seconds for outcome in look.outcomes},
        "blind": [
            f"{outcome.check.name}: {outcome.reported[-1].detail}"
            for outcome in look.outcomes
            if not outcome.is_complete
        ],
    }


def _peak_memory() -> int:
    """Bytes this process had at most. Linux's rusage also counts what its parent had at its start.

    Raises StopIteration where /proc has no such line.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes
    line = next(each for each in status.read_text().splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(json.dumps(_look()))
