"""A member's list query under row policies against the same query filtered by hand.

The query is the one that Django makes for the newest 100 customers, sent as Django sends it and
fetched whole. Ours runs as the web process's login in the role `srvc_member`, and the policy
finds the account's rows; the peer runs as the owner, beyond policies, with `WHERE user_id = …`.
Both go through the same accounts, large and small, in the same order.

Two times are taken: of the query alone, and of the whole transaction that a request needs, with
one `set_config` of four settings in ours and in the peer's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from random import Random
from typing import Any

import psycopg

from benchmarks.result import Result, compare, timed
from benchmarks.server import APP, MEMBER, OWNER, Bench

ROUNDS = 1_000
_NEWEST = 100
_CONTEXT = (
    "SELECT set_config('role', %s, true), set_config('app.account_id', %s, true), "
    "set_config('app.user_id', %s, true), set_config('app.via', %s, true)"
)
# Ours asks in the same statement whether a restore keeps writes closed (ops/rls/session.py).
_IS_OPEN = ", pg_try_advisory_xact_lock_shared(1, 1), current_setting('transaction_read_only')"


def run(bench: Bench) -> list[Result]:
    """The query alone, and the transaction around it."""
    name = bench.large()
    filtered, plain = _statements(bench, name)
    with ExitStack() as stack:
        member = stack.enter_context(bench.connect(name, APP))
        owner = stack.enter_context(bench.connect(name, OWNER))
        accounts = _accounts(owner)
        _assert_same_rows(member, owner, plain, filtered, accounts[0])
        results = []
        for whole, what in ((False, "query alone"), (True, "with its transaction")):
            comparison = compare(
                ROUNDS,
                _turn(member, MEMBER, plain, accounts, whole=whole),
                _turn(owner, OWNER, filtered, accounts, whole=whole),
            )
            results.append(
                comparison.as_result(
                    f"newest {_NEWEST} customers of a member, {what}",
                    "filtered by hand, no policies",
                    at_most=1.3,
                )
            )
    return results


def _statements(bench: Bench, name: str) -> tuple[str, str]:
    """Django's SQL for the list, filtered by hand and not."""
    from crm.models import Customer

    with bench.pointed_at(name):
        newest = Customer.objects.order_by("-id")
        sql, _ = newest.filter(account_id=1)[:_NEWEST].query.sql_with_params()
        plain, _ = newest[:_NEWEST].query.sql_with_params()
    return sql, plain


def _accounts(owner: psycopg.Connection[Any]) -> list[int]:
    rows = owner.execute("SELECT user_id FROM accounts ORDER BY user_id").fetchall()
    accounts = [row[0] for row in rows]
    return Random(1).sample(accounts, min(100, len(accounts)))


def _turn(
    connection: psycopg.Connection[Any],
    role: str,
    statement: str,
    accounts: list[int],
    *,
    whole: bool,
) -> Callable[[], float]:
    turns = iter(range(10**9))

    def turn() -> float:
        account = accounts[next(turns) % len(accounts)]
        parameters = [account] if role == OWNER else []

        def context() -> None:
            connection.execute("BEGIN")
            asked = _CONTEXT + (_IS_OPEN if role == MEMBER else "")
            connection.execute(asked, [role, str(account), str(account), "GET /"])

        def query() -> None:
            connection.execute(statement, parameters).fetchall()

        def transaction() -> None:
            context()
            query()
            connection.execute("COMMIT")

        if whole:
            return timed(transaction)
        context()
        elapsed = timed(query)
        connection.execute("COMMIT")
        return elapsed

    return turn


def _assert_same_rows(
    member: psycopg.Connection[Any],
    owner: psycopg.Connection[Any],
    plain: str,
    filtered: str,
    account: int,
) -> None:
    with member.transaction():
        member.execute(_CONTEXT, [MEMBER, str(account), str(account), ""])
        seen = member.execute(plain).fetchall()
    expected = owner.execute(filtered, [account]).fetchall()
    assert seen == expected, "the policy and the filter see different rows"
    assert seen, "nothing was seen"
