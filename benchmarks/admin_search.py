"""A platform administrator's search over every account against the same search without policies.

The query is the one behind the search box, sent as Django sends it. Both plans must use the
trigram index `customers_search`; otherwise the benchmark fails.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from random import Random
from typing import Any

import psycopg

from benchmarks.result import Result, compare, timed
from benchmarks.server import ADMIN, APP, OWNER, Bench

ROUNDS = 400
_INDEX = "customers_search"


def run(bench: Bench) -> list[Result]:
    """One word that is rare, and two words that are rare together."""
    name = bench.large()
    with ExitStack() as stack:
        admin = stack.enter_context(bench.connect(name, APP))
        owner = stack.enter_context(bench.connect(name, OWNER))
        admin.execute("SELECT set_config('role', %s, false)", [ADMIN])
        searches = _searches(owner)
        results = []
        for what, texts in searches.items():
            queries = [_query(bench, name, text) for text in texts]
            for connection in (admin, owner):
                for query in queries:
                    _assert_index(connection, *query)
            assert _found(admin, queries) == _found(owner, queries)
            comparison = compare(ROUNDS, _turn(admin, queries), _turn(owner, queries))
            results.append(
                comparison.as_result(
                    f"search of an administrator over all rows by {what}",
                    "same search, no policies",
                    at_most=1.3,
                )
            )
    return results


def _searches(owner: psycopg.Connection[Any]) -> dict[str, list[str]]:
    rows = owner.execute(
        "SELECT email, phone_e164 FROM customers ORDER BY id LIMIT 200000"
    ).fetchall()
    chosen = Random(2).sample(rows, 20)
    return {
        "e-mail": [email for email, _ in chosen],
        "phone": [phone for _, phone in chosen],
        "name and number": [email.replace(".", " ").partition("@")[0] for email, _ in chosen],
    }


def _query(bench: Bench, name: str, text: str) -> tuple[str, tuple[Any, ...]]:
    from crm.models import Customer

    with bench.pointed_at(name):
        # As the admin's search box asks: `matching_everywhere` where there is one.
        found = Customer.objects.all()
        search = getattr(found, "matching_everywhere", found.matching)
        sql, parameters = search(text).order_by("-id")[:50].query.sql_with_params()
    return sql, parameters


def _assert_index(
    connection: psycopg.Connection[Any], sql: str, parameters: tuple[Any, ...]
) -> None:
    plan = connection.execute(f"EXPLAIN {sql}", parameters).fetchall()
    text = "\n".join(row[0] for row in plan)
    assert _INDEX in text, f"the search does not use {_INDEX}:\n{text}"


def _found(
    connection: psycopg.Connection[Any], queries: list[tuple[str, tuple[Any, ...]]]
) -> list[Any]:
    found = [connection.execute(sql, parameters).fetchall() for sql, parameters in queries]
    assert all(found), "a search found nothing"
    return found


def _turn(
    connection: psycopg.Connection[Any], queries: list[tuple[str, tuple[Any, ...]]]
) -> Callable[[], float]:
    turns = iter(range(10**9))

    def turn() -> float:
        sql, parameters = queries[next(turns) % len(queries)]
        return timed(lambda: connection.execute(sql, parameters).fetchall())

    return turn
