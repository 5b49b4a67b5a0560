"""Of many chosen rows, only those that differ from today's go on.

Whole tables are held against today's by hashes, bucket by bucket: what is equal on both sides is
neither copied to the live server nor looked at again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from psycopg import sql

from ops.postgres.endpoint import Connection
from ops.progress import Progress
from ops.restores.diff.pairing import Pairing
from ops.restores.diff.tables import KIND, Kind, TableDifference, difference
from ops.restores.diff.travelling import carry_rows
from ops.restores.partial.closure import Closure
from ops.restores.partial.drift import Pair
from ops.restores.partial.shape import equal, names
from ops.restores.partial.stage import prepare_session

FEW = 1_000  # chosen rows that are carried over and compared there: two scans would take longer


class Narrowing:
    """What differs in the tables that many rows were chosen of."""

    def __init__(
        self, live: Connection, past: Connection, pairs: Mapping[str, Pair], progress: Progress
    ) -> None:
        self._live, self._past, self._pairs, self._progress = live, past, pairs, progress
        self._extra: dict[str, sql.Identifier] = {}

    def narrow(self, chosen: Closure, whole: Collection[str]) -> None:
        """Leave only rows that differ in the tables with many chosen rows; `whole` are all chosen.

        Raises OpsError where a table can't be compared.
        """
        many = [title for title in chosen.titles if self._is_worth_it(chosen, title, whole)]
        for title in many:
            pair = self._pairs[title]
            found = difference(self._live, self._past, _pairing(pair), self._progress)
            chosen.keep(
                title,
                sql.SQL("EXISTS (SELECT FROM {} AS f WHERE f.{} <> {} AND {})").format(
                    found.found,
                    sql.Identifier(KIND),
                    sql.Literal(str(Kind.EXTRA)),
                    equal("f", pair.live.key, "k", pair.live.key),
                ),
            )
            if title in whole:
                self._extra[title] = self._carry_extra(pair, found)
        if many:
            prepare_session(self._past)  # the difference left it with settings of its own

    def added(self, title: str) -> sql.Composable | None:
        """Return which rows of today, on the alias l, the past lacks of a whole table.

        None where the table was not narrowed.
        """
        if title not in self._extra:
            return None
        key = self._pairs[title].live.key
        return sql.SQL("EXISTS (SELECT FROM {} AS t WHERE {})").format(
            self._extra[title], equal("t", key, "l", key)
        )

    def _is_worth_it(self, chosen: Closure, title: str, whole: Collection[str]) -> bool:
        pair = self._pairs[title]
        if set(pair.retyped) & set(pair.live.key):
            return False  # keys of two types are paired by the live server alone
        if pair.retyped and title not in whole:
            return False  # a row that nobody asked for need not fit the type of today
        return chosen.count(title) > FEW

    def _carry_extra(self, pair: Pair, found: TableDifference) -> sql.Identifier:
        extra = sql.Identifier("pg_temp", f"extra_{len(self._extra)}")
        self._live.execute(
            sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT {} FROM {} LIMIT 0").format(
                sql.Identifier(f"extra_{len(self._extra)}"), names(pair.live.key), pair.live.sql
            )
        )
        carry_rows(
            self._past,
            sql.SQL("SELECT {} FROM {} WHERE {} = {}").format(
                names(pair.live.key),
                found.found,
                sql.Identifier(KIND),
                sql.Literal(str(Kind.EXTRA)),
            ),
            self._live,
            extra,
            self._progress,
        )
        self._live.execute(sql.SQL("ANALYZE {}").format(extra))
        return extra


def _pairing(pair: Pair) -> Pairing:
    return Pairing(
        list(pair.columns),
        (pair.past.schema, pair.past.name),
        (pair.live.schema, pair.live.name),
        pair.live.key,
    )
