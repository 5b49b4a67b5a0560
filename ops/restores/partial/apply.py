"""Recovered rows on their way into the live database: all of them, or none.

One transaction, in which the tables are locked against writes, one statement changes every row
(`writing`), and each is looked at again. Constraints stay on, and only the triggers that guard how
rows come about are off: a recovered invoice comes back as issued, because it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from django.conf import settings
from psycopg import sql

from ops.backups.watch import watched
from ops.models.recoveries import RowAct
from ops.postgres.endpoint import Connection
from ops.postgres.errors import one_line
from ops.progress import Progress
from ops.restores.errors import ConflictError, RefusedError
from ops.restores.partial.conflicts import row_name
from ops.restores.partial.shape import Reference
from ops.restores.partial.stage import Staged, differs, image
from ops.restores.partial.writing import write
from ops.rls.closed import share

LOCK_SECONDS = 10
_REFUSALS = (
    psycopg.errors.IntegrityError,
    psycopg.errors.RaiseException,
    psycopg.errors.WithCheckOptionViolation,
)
_TRIGGERS = """
    SELECT DISTINCT tgname::text FROM pg_trigger
    WHERE tgrelid = ANY (%s::regclass[]) AND NOT tgisinternal AND starts_with(tgname, 'pgtrigger_')
"""
_SEQUENCES = """
    SELECT a.attname::text, s.seqrelid::regclass::text, s.seqincrement > 0
    FROM pg_depend d JOIN pg_sequence s ON s.seqrelid = d.objid
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = %s::regclass AND d.deptype IN ('a', 'i')
"""


@dataclass(frozen=True)
class Author:
    """On whose behalf rows are changed, and as which record."""

    recovery: int
    via: str  # what history rows tell: "recover run 12"
    user_id: int | None = None


@dataclass(frozen=True)
class Applied:
    """What was done."""

    rows: int
    seconds: float  # for which others could not write to these tables


def apply(
    live: Connection,
    staged: Sequence[Staged],
    references: Sequence[Reference],
    author: Author,
    progress: Progress,
    *,
    exact: bool = False,
    afterwards: Callable[[], None] = lambda: None,
) -> Applied:
    """Change the live rows as decided, and record each, before and after.

    `afterwards` runs in the same transaction and raises to have nothing changed. With
    `exact` history is not written, because it comes from the past itself. Raises ConflictError,
    which says what refused; RefusedError when the tables are in use; ClosedError; CancelledError.
    """
    work = [each for each in staged if each.planned]
    progress.phase("changing rows", sum(sum(each.planned.values()) for each in work), "rows")
    with watched(progress.check) as watch, _told():
        watch.stop_by(live.cancel_safe)
        with live.transaction():
            live.execute("SELECT set_config('lock_timeout', %s, true)", [f"{LOCK_SECONDS}s"])
            share(live)
            _lock(live, work)
            began = time.monotonic()
            _require_unchanged(live, work)
            _speak_as(live, author, work, exact=exact)
            write(live, work, references)
            for each in work:
                _require_as_wanted(live, each)
                _move_sequences(live, each)
            rows = _record(live, work, author)
            afterwards()
        seconds = time.monotonic() - began
    progress.advance(rows)
    return Applied(rows, seconds)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.LockNotAvailable:
        raise RefusedError(
            f"Somebody holds these tables, and did not let go of them for {LOCK_SECONDS} seconds. "
            "Nothing was changed. See who (pg_stat_activity), and run this again."
        ) from None
    except psycopg.errors.DeadlockDetected:
        raise RefusedError(
            "Others wrote to these tables at the same moment, in another order. Nothing was "
            "changed. Run this again."
        ) from None
    except _REFUSALS as error:
        said = error.diag.message_primary or one_line(error)
        detail = f" {error.diag.message_detail}" if error.diag.message_detail else ""
        raise ConflictError(
            f"The database refused it: {said.rstrip('.')}.{detail} Nothing was changed."
        ) from None


def _lock(live: Connection, work: Sequence[Staged]) -> None:
    for each in sorted(work, key=lambda one: one.table.title):
        live.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(each.table.rows))


def _require_unchanged(live: Connection, work: Sequence[Staged]) -> None:
    """Raise ConflictError where a row is not any more what the decision was made about."""
    found = []
    for each in work:
        rows = live.execute(
            sql.SQL(
                "SELECT ARRAY[{key}] FROM {act} AS a LEFT JOIN {live} AS l ON {same}"
                " WHERE a.act <> '' AND a.before IS DISTINCT FROM"
                " CASE WHEN l.{first} IS NOT NULL THEN {now} END LIMIT 20"
            ).format(
                key=sql.SQL(", ").join(
                    sql.SQL("a.{}::text").format(sql.Identifier(k)) for k in each.table.key
                ),
                act=each.act,
                live=each.table.rows,
                same=each.same("a", "l"),
                first=sql.Identifier(each.table.key[0]),
                now=image(each.table, "l"),
            )
        ).fetchall()
        found += [row_name(each.table.title, key) for (key,) in rows]
    if found:
        raise ConflictError(
            f"Changed by others since they were compared: {'; '.join(found[:20])}. Nothing was "
            "changed. Run this again."
        )


def _speak_as(live: Connection, author: Author, work: Sequence[Staged], *, exact: bool) -> None:
    titles = [each.table.title for each in work]
    kept = () if exact else tuple(settings.RECOVERY_KEEPS_TRIGGERS)
    triggers = [
        name
        for (name,) in live.execute(_TRIGGERS, [titles]).fetchall()
        if not name.startswith(kept)
    ]
    live.execute(
        "SELECT set_config('pgtrigger.ignore', %s::text[]::text, true),"
        " set_config('app.via', %s, true), set_config('app.user_id', %s, true)",
        [triggers, author.via, str(author.user_id or "")],
    )


def _require_as_wanted(live: Connection, each: Staged) -> None:
    """Raise ConflictError where a trigger of today made something else of a row."""
    row = live.execute(
        sql.SQL(
            "SELECT ARRAY[{key}] FROM {act} AS a JOIN {wanted} AS w ON {is_wanted}"
            " LEFT JOIN {live} AS l ON {same}"
            " WHERE a.act IN ({ins}, {upd}) AND (l.{first} IS NULL OR {differs}) LIMIT 1"
        ).format(
            key=sql.SQL(", ").join(
                sql.SQL("a.{}::text").format(sql.Identifier(k)) for k in each.table.key
            ),
            act=each.act,
            wanted=each.wanted,
            is_wanted=each.same("w", "a"),
            live=each.table.rows,
            same=each.same("l", "a"),
            first=sql.Identifier(each.table.key[0]),
            ins=sql.Literal(RowAct.INSERTED.value),
            upd=sql.Literal(RowAct.UPDATED.value),
            differs=differs(each.compared, "w", "l"),
        )
    ).fetchone()
    if row is not None:
        raise ConflictError(
            f"{row_name(each.table.title, row[0])} was not left as it was written: a trigger or a "
            "rule of today makes something else of it. Nothing was changed."
        )


def _move_sequences(live: Connection, each: Staged) -> None:
    """Move the table's sequences past its largest key; never back."""
    for column, sequence, rising in live.execute(_SEQUENCES, [each.table.title]).fetchall():
        live.execute(
            sql.SQL(
                "SELECT setval({name}, found.far) FROM (SELECT {aggregate}({column})::bigint AS far"
                " FROM {table}) AS found, {sequence} AS s"
                " WHERE found.far {ahead} s.last_value OR (found.far = s.last_value AND NOT"
                " s.is_called)"
            ).format(
                name=sql.Literal(sequence),
                aggregate=sql.SQL("max" if rising else "min"),
                column=sql.Identifier(column),
                table=each.table.rows,
                sequence=sql.SQL(sequence),
                ahead=sql.SQL(">" if rising else "<"),
            )
        )


def _record(live: Connection, work: Sequence[Staged], author: Author) -> int:
    """Keep every changed row, before and after, in the order of tables. Returns how many."""
    position = 0
    for each in work:
        position += live.execute(
            sql.SQL(
                'INSERT INTO public.ops_recoveryrow (recovery_id, position, "table", key, act,'
                " before, after) SELECT {recovery}, {base} + row_number() OVER (), {title}, {key},"
                " a.act, a.before, CASE WHEN l.{first} IS NOT NULL THEN {after} END"
                " FROM {act} AS a LEFT JOIN {live} AS l ON {same} WHERE a.act <> ''"
            ).format(
                recovery=sql.Literal(author.recovery),
                base=sql.Literal(position),
                title=sql.Literal(each.table.title),
                key=image(each.table, "a", each.table.key),
                first=sql.Identifier(each.table.key[0]),
                after=image(each.table, "l"),
                act=each.act,
                live=each.table.rows,
                same=each.same("a", "l"),
            )
        ).rowcount
    return position
