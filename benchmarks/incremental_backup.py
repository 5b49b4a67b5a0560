"""An incremental backup after one percent of the rows changed, against the base it adds to.

The rows are contiguous, as those of one day are: the next one percent of the customers, in the
order they were made, each with a new line of notes, by plain UPDATE with triggers and history.
Both kinds are taken as the command takes them, compressed, encrypted and recorded.

It is measured twice. Where pages have room, a row's new version stays beside the old one and no
index changes. Freshly loaded, pages are packed: new versions go elsewhere and get an entry in every
index, most of them in an order that has nothing to do with the rows', until pages have been
cleaned. Changed in one transaction, which leaves no time for that, it is worst: 15 % of the size.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import pyrage
from django.conf import settings
from django.db import connections

from benchmarks.result import Result, timed
from benchmarks.server import Bench

_ROUNDS = 3
_TRANSACTIONS = 20
_KINDS = ("incremental", "base")


def run(bench: Bench) -> list[Result]:
    """The incremental's time and size, by the base's."""
    from django.test import override_settings

    from ops.rls.router import as_owner_by_default
    from tests.harness import run as harness

    identity = pyrage.x25519.Identity.generate()
    folder = harness.folder() / "files" / "incremental"
    storage = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(folder), "file_permissions_mode": 0o600},
    }
    with (
        bench.pointed_at(bench.large()),
        override_settings(
            STORAGES={**settings.STORAGES, "dbbackup": storage},
            BACKUP_SIGNING_KEY="a key for benchmarks",
            BACKUP_AGE_RECIPIENTS=[str(identity.to_public())],
        ),
        as_owner_by_default(),
    ):
        return _measure(bench)


def _measure(bench: Bench) -> list[Result]:
    packed = _rounds(bench, "packed pages", first=10)
    # As a table gets that has lived with changes.
    with connections["owner"].cursor() as cursor:
        cursor.execute("ALTER TABLE customers SET (fillfactor = 80)")
        cursor.execute("VACUUM (FULL, ANALYZE) customers")
    roomy = _rounds(bench, "pages with room", first=20)
    return [*roomy.results(0.1), *packed.results(0.1)]


@dataclass(frozen=True)
class _Rounds:
    name: str
    times: dict[str, list[float]]
    sizes: dict[str, list[int]]

    def results(self, size_bar: float) -> list[Result]:
        ours, theirs = (statistics.median(self.times[kind]) for kind in _KINDS)
        small, large = (statistics.median(self.sizes[kind]) for kind in _KINDS)
        pairs = zip(*(self.times[kind] for kind in _KINDS), strict=True)
        ratio = statistics.median(one / other for one, other in pairs)
        return [
            Result(
                f"{self.name}, time",
                "base backup",
                f"{ours:.2f} s",
                f"{theirs:.2f} s",
                ratio,
                "<= 0.4",
            ),
            Result(
                f"{self.name}, size",
                "base backup",
                f"{small / 1e6:,.1f} MB",
                f"{large / 1e6:,.1f} MB",
                small / large,
                f"<= {size_bar}",
            ),
        ]


def _rounds(bench: Bench, pages: str, *, first: int) -> _Rounds:
    found = _Rounds(
        f"incremental after 1 % of {bench.scale.customers:,} customers changed, {pages}",
        {kind: [] for kind in _KINDS},
        {kind: [] for kind in _KINDS},
    )
    for turn in range(_ROUNDS):
        for kind in ("base", "incremental"):
            if kind == "incremental":
                _change_one_percent(first + turn)
            seconds, size, why = _take(kind)
            if why:
                raise RuntimeError(f"a base was taken instead: {why}")
            bench.say(f"incremental_backup: {kind} {seconds:.1f} s, {size / 1e6:,.0f} MB")
            found.times[kind].append(seconds)
            found.sizes[kind].append(size)
    return found


def _take(kind: str) -> tuple[float, int, str]:
    """Take a backup as the command does; return seconds, bytes, and why it is a base after all."""
    from ops.backups.take import Request, ask_for_backup, take_backup
    from ops.models import Backup
    from ops.runs import Asker

    run = ask_for_backup(Request(kind=kind), by=Asker("benchmark", "benchmark"))
    taken: list[Backup] = []
    seconds = timed(lambda: taken.append(take_backup(run)))
    return seconds, taken[0].size, str(taken[0].manifest["details"].get("why_base", ""))


def _change_one_percent(percent: int) -> None:
    """Change every row of a slice, in transactions that each take a row here and there."""
    with connections["owner"].cursor() as cursor:
        for turn in range(_TRANSACTIONS):
            cursor.execute(
                "WITH bounds AS (SELECT min(id) AS first, max(id) - min(id) + 1 AS many"
                " FROM customers)"
                " UPDATE customers SET notes = notes || E'\\nCalled back.' FROM bounds"
                " WHERE id >= first + many * %s / 100 AND id < first + many * (%s + 1) / 100"
                " AND id %% %s = %s",
                [percent, percent, _TRANSACTIONS, turn],
            )
