"""Which backups stay: the plan's rules by example, and what holds for any history whatever."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings

from ops.backups import plan as plans
from ops.backups.plan import Keep, KindPlan, Plan
from ops.backups.rules import Entry, decide
from ops.models.backups import GOOD

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)  # a Sunday, the last day of week 47
DAY = timedelta(days=1)


def planned(minimum_age: timedelta = timedelta(0), **keep: int) -> Plan:
    """A plan with the same rules for every kind."""
    return Plan(
        kinds={kind: KindPlan(kind, Keep(**keep), minimum_age) for kind in plans.KINDS},
        rpo=DAY,
        rto=DAY,
        failed_after=30 * DAY,
    )


def backup(number: int, age: timedelta, **changes: Any) -> Entry:
    values = {"name": f"b{number}", "kind": "full", "state": "taken", "taken_at": NOW - age}
    return Entry(id=number, **{**values, **changes})


def kept(entries: list[Entry], wanted: Plan) -> list[int]:
    return [number for number, (keep, _) in decide(entries, wanted, NOW).items() if keep]


def reason(entries: list[Entry], wanted: Plan, number: int = 1) -> str:
    keep, why = decide(entries, wanted, NOW)[number]
    return f"{'kept' if keep else 'deleted'}: {why}"


def test_of_two_in_the_same_day_the_newer_good_one_stays() -> None:
    history = [
        backup(1, timedelta(hours=3)),
        backup(2, timedelta(hours=2)),
        backup(3, timedelta(hours=1), state="failed", state_since=NOW - 40 * DAY),
    ]
    wanted = planned(daily=7)
    assert kept(history, wanted) == [2]
    assert reason(history, wanted, 2) == "kept: newest of day 2026-11-22"
    assert reason(history, wanted, 1) == "deleted: day 2026-11-22 has a newer one, b2"
    assert reason(history, wanted, 3) == ("deleted: failed since 2026-10-13, more than 30 days ago")


def test_days_weeks_months_and_years_are_counted_in_utc() -> None:
    history = [backup(number, number * DAY) for number in range(800)]
    wanted = planned(daily=3, weekly=2, monthly=2, yearly=2)
    found = decide(history, wanted, NOW)
    assert {f"{e.taken_at:%Y-%m-%d}": found[e.id][1] for e in history if found[e.id][0]} == {
        "2026-11-22": "newest of day 2026-11-22",
        "2026-11-21": "newest of day 2026-11-21",
        "2026-11-20": "newest of day 2026-11-20",
        "2026-11-15": "newest of week 2026-46",
        "2026-10-31": "newest of month 2026-10",
        "2025-12-31": "newest of year 2025",
    }


def test_the_day_is_utcs_not_the_entrys_own() -> None:
    from zoneinfo import ZoneInfo

    tokyo = ZoneInfo("Asia/Tokyo")
    late = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    history = [
        backup(1, DAY, taken_at=(late - timedelta(hours=10)).astimezone(tokyo)),  # same UTC day
        backup(2, DAY, taken_at=late.astimezone(tokyo)),
    ]
    assert kept(history, planned(daily=5)) == [2]


def test_days_without_a_backup_use_nothing_up() -> None:
    history = [backup(number, (100 + 10 * number) * DAY) for number in range(5)]
    assert kept(history, planned(daily=3)) == [0, 1, 2]


def test_what_is_young_stays_whatever_the_rules_say() -> None:
    history = [backup(number, timedelta(hours=number)) for number in range(60)]
    wanted = planned(daily=1, minimum_age=2 * DAY)
    assert kept(history, wanted) == list(range(48))
    assert reason(history, wanted, 47) == "kept: it is younger than 2 days"


def test_a_clock_set_back_leaves_backups_of_the_future_which_stay_and_use_nothing_up() -> None:
    history = [
        *(backup(number, -number * DAY) for number in range(1, 9)),
        backup(9, DAY),
        backup(10, 2 * DAY),
    ]
    wanted = planned(daily=1)
    assert kept(history, wanted) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert reason(history, wanted) == "kept: it is dated 2026-11-23 12:00 UTC, in the future"


def test_the_last_proven_one_stays_and_the_last_verified_one_where_none_is_proven() -> None:
    history = [
        backup(1, 300 * DAY, state="proven"),
        backup(2, 200 * DAY, state="proven"),
        backup(3, 100 * DAY, state="verified"),
        backup(4, DAY),
    ]
    assert kept(history, planned(daily=1)) == [2, 4]
    assert reason(history, planned(daily=1), 2) == "kept: the last one proven"
    unproven = [
        replace(each, state="taken") if each.state == "proven" else each for each in history
    ]
    assert kept(unproven, planned(daily=1)) == [3, 4]
    assert reason(unproven, planned(daily=1), 3) == ("kept: the last one verified; none is proven")


def test_each_kind_has_a_last_one_of_its_own() -> None:
    history = [
        backup(1, 50 * DAY, kind="schema"),
        backup(2, 40 * DAY, kind="full", state="proven"),
        backup(3, 30 * DAY, kind="media"),
        backup(4, 20 * DAY, kind="full"),
    ]
    assert kept(history, planned()) == [1, 2, 3, 4]


def test_a_pinned_one_stays_also_when_it_failed() -> None:
    history = [
        backup(1, 900 * DAY, pinned="before the migration"),
        backup(2, 900 * DAY, state="failed", state_since=NOW - 800 * DAY, pinned="evidence"),
        backup(3, DAY),
    ]
    assert kept(history, planned(daily=1)) == [1, 2, 3]
    assert reason(history, planned(daily=1)) == "kept: pinned (before the migration)"


def test_what_failed_or_is_missing_is_shown_for_a_while() -> None:
    history = [
        backup(1, 90 * DAY, state="failed", state_since=NOW - 29 * DAY),
        backup(2, 90 * DAY, state="missing", state_since=NOW - 31 * DAY),
        backup(3, DAY),
    ]
    assert kept(history, planned(daily=1)) == [1, 3]
    assert reason(history, planned(daily=1)) == "kept: failed since 2026-10-24; shown for 30 days"


def test_what_is_not_ours_stays() -> None:
    history = [backup(1, 900 * DAY, kind="foreign"), backup(2, DAY)]
    assert kept(history, planned(daily=1)) == [1, 2]


CHAINS = [
    backup(1, 40 * DAY, kind="base"),
    backup(2, 39 * DAY, kind="incremental", parent=1),
    backup(3, 38 * DAY, kind="incremental", parent=2),
    backup(4, 20 * DAY, kind="base"),
    backup(5, 19 * DAY, kind="incremental", parent=4),
    backup(6, 2 * DAY, kind="base"),
    backup(7, DAY, kind="incremental", parent=6),
]


def test_a_chain_goes_as_a_whole() -> None:
    assert kept(CHAINS, planned(weekly=2, minimum_age=7 * DAY)) == [4, 5, 6, 7]


def test_one_link_that_stays_keeps_its_whole_chain() -> None:
    history = [replace(each, pinned="why not") if each.id == 3 else each for each in CHAINS]
    wanted = planned(weekly=1)
    assert kept(history, wanted) == [1, 2, 3, 6, 7]
    assert reason(history, wanted) == "kept: its chain is needed: b3 stays (pinned (why not))"


def test_a_chain_that_a_run_is_at_work_on_stays() -> None:
    history = [
        replace(each, needed="a run is at work") if each.id == 2 else each for each in CHAINS
    ]
    assert kept(history, planned(weekly=1)) == [1, 2, 3, 6, 7]


def test_a_link_whose_base_nobody_knows_goes_by_the_rules() -> None:
    history = [backup(1, 40 * DAY, kind="incremental", parent=99), *CHAINS[3:]]
    assert 1 not in kept(history, planned(weekly=1))


def histories(seed: int) -> tuple[list[Entry], Plan]:
    """A random history and a random plan."""
    chance = random.Random(seed)
    entries: list[Entry] = []
    for number in range(1, chance.randint(2, 60)):
        kind = chance.choice(["full", "schema", "base", "incremental", "media", "foreign"])
        parents = [each.id for each in entries if each.kind in {"base", "incremental"}]
        if kind == "incremental" and not parents:
            kind = "base"
        age = timedelta(hours=chance.choice([chance.randint(-50, 200), chance.randint(0, 30_000)]))
        state = chance.choice(["taken", "taken", "verified", "proven", "failed", "missing"])
        entries.append(
            backup(
                number,
                age,
                kind=kind,
                state=state,
                parent=chance.choice(parents) if kind == "incremental" else None,
                pinned=chance.choice([""] * 9 + ["pinned"]),
                needed=chance.choice([""] * 19 + ["at work"]),
                state_since=NOW - timedelta(hours=chance.randint(0, 2_000)),
            )
        )
    rules = ("hourly", "daily", "weekly", "monthly", "yearly")
    keep = {rule: chance.choice([0, 0, 1, 3, 10]) for rule in rules}
    return entries, planned(timedelta(days=chance.choice([0, 1, 30])), **keep)


@pytest.mark.parametrize("seed", range(200))
def test_in_any_history_nothing_goes_that_must_stay(seed: int) -> None:
    entries, wanted = histories(seed)
    found = decide(entries, wanted, NOW)
    by_id = {entry.id: entry for entry in entries}
    stays = {number for number, (keep, _) in found.items() if keep}
    assert set(found) == set(by_id)
    for entry in entries:
        if entry.pinned or entry.needed:
            assert entry.id in stays
        if entry.state in GOOD and entry.taken_at > NOW - wanted.of("full").minimum_age:
            assert entry.id in stays
        if entry.id in stays and entry.parent:
            assert entry.parent in stays, "a chain never loses its beginning"
        if entry.kind == "foreign" and entry.state != "missing":
            assert entry.id in stays
    for kind in plans.KINDS:
        good = [
            each
            for each in entries
            if each.kind == kind and each.state in GOOD and each.taken_at <= NOW
        ]
        proven = [each for each in good if each.state == "proven"]
        for some in (good, proven):
            if some:
                assert max(some, key=lambda each: (each.taken_at, each.id)).id in stays


@pytest.mark.parametrize("seed", range(50))
def test_pruning_twice_is_pruning_once_and_order_does_not_matter(seed: int) -> None:
    entries, wanted = histories(seed)
    once = decide(entries, wanted, NOW)
    remaining = [entry for entry in entries if once[entry.id][0]]
    again = decide(remaining, wanted, NOW)
    assert all(keep for keep, _ in again.values())
    shuffled = entries[:]
    random.Random(seed).shuffle(shuffled)
    assert decide(shuffled, wanted, NOW) == once


def test_the_shipped_plan_keeps_three_years_in_few_backups() -> None:
    assert plans.problems(settings.BACKUP_PLAN) == []
    history = [backup(number, number * DAY) for number in range(3 * 365)]
    assert 28 <= len(kept(history, plans.plan())) <= 34
