"""What a recovery would do, worked out completely before anything is done.

Which rows are meant, how they differ from today's, what becomes of each and what stands in its
way: kept as JSON in the recovery's row, so that a terminal and a page show the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import sql

from ops.models.recoveries import RowAct
from ops.postgres.endpoint import Connection
from ops.progress import Progress
from ops.restores.errors import RefusedError
from ops.restores.partial.closure import Closure, Side, reachable
from ops.restores.partial.conflicts import conflicts
from ops.restores.partial.drift import Pair, Renames, pair_tables, require_key, require_pair
from ops.restores.partial.narrowing import Narrowing
from ops.restores.partial.preview import SAMPLES, files_note, table_json
from ops.restores.partial.selecting import (
    Missing,
    choose_subject,
    choose_where,
    require_no_partition,
    subject_keys,
    table_title,
    wanted_subject,
)
from ops.restores.partial.shape import (
    Reference,
    Table,
    equal,
    link_references,
    references_of,
    tables_of,
)
from ops.restores.partial.stage import CHANGED, EXTRA, MISSING, Stage
from ops.restores.requests import MODES, RecoverRequest
from ops.restores.subjects import links, subject


@dataclass
class Prepared:
    """All that is known before rows are changed."""

    stage: Stage
    references: list[Reference]
    conflicts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self, samples: int = SAMPLES) -> dict[str, Any]:
        """Return what the recovery's row keeps."""
        return {
            "tables": [
                table_json(self.stage.live, each, samples)
                for each in self.stage.tables
                if each.counts
            ],
            "conflicts": self.conflicts,
            "notes": self.notes,
        }

    @property
    def rows(self) -> int:
        """How many rows would be changed."""
        return sum(sum(each.planned.values()) for each in self.stage.tables)


def require_sensible(request: RecoverRequest) -> None:
    """Raise RefusedError for a request that contradicts itself."""
    wrong = ""
    if request.mode not in MODES:
        wrong = f"there is no mode {request.mode}; the modes are {', '.join(MODES)}"
    elif not (request.tables or request.subject or request.csv):
        wrong = "it names neither a table nor an account or customer"
    elif request.where and len(request.tables) != 1:
        wrong = "a condition goes with exactly one table"
    elif request.columns and len(request.tables) + len(request.csv) != 1:
        wrong = "columns go with exactly one table"
    elif request.exact and (request.where or request.columns):
        wrong = "exact is of whole tables or subjects, without condition and columns"
    elif request.subject and not request.keys:
        wrong = f"it does not say which {request.subject}"
    if wrong:
        raise RefusedError(f"That can't be recovered: {wrong}. Nothing was changed.")


def tables_needed(request: RecoverRequest, live: Connection) -> list[str]:
    """Return the tables, by today's names, that the rows asked for may lead to."""
    known = tables_of(live)
    for name in request.tables:
        require_no_partition(live, name)
    titles = [table_title(name, known) for name in request.tables if _is_known(name, known)]
    gone = [name for name in request.tables if not _is_known(name, known)]
    titles += [name if "." in name else f"public.{name}" for name in gone]
    if request.subject:
        titles.append(wanted_subject(request).table)
    references = [*references_of(live), *link_references(links())]
    return reachable(titles, references, related=request.related and not request.columns)


def _is_known(name: str, known: Iterable[str]) -> bool:
    try:
        table_title(name, known)
    except RefusedError:
        return False
    return True


def prepare(
    request: RecoverRequest,
    live: Connection,
    past: Connection,
    renames: Renames,
    progress: Progress,
    more: Sequence[Reference] = (),
) -> Prepared:
    """Work out what a request comes to. The temporary tables are on both sessions afterwards.

    `more` are references that today's catalog does not have yet.

    Raises RefusedError when it can't be, in a sentence that says why.
    """
    require_sensible(request)
    progress.phase("looking at both databases")
    today, then = tables_of(live), tables_of(past)
    pairs = pair_tables(today, then, renames)
    references = [*_references(live, past, today), *more]
    prepared = Prepared(Stage(live, progress), references)
    progress.phase("finding what belongs together")
    chosen = _Chosen(request, live, past, today, pairs, references, progress)
    titles = chosen.titles
    progress.phase("comparing rows", len(titles), "tables")
    for title in titles:
        progress.check()
        pair = require_pair(pairs, title)
        staged = prepared.stage.load(past, pair, chosen.past.chosen(title))
        if request.columns:
            staged.compared = _columns(pair, request.columns)
        prepared.stage.compare(staged, chosen.of_today(title))
        prepared.stage.decide(staged, _acts(request, title, references))
        if staged.counts:
            prepared.notes += pair.notes()
        progress.advance(1)
    progress.phase("looking for conflicts")
    prepared.conflicts = conflicts(live, prepared.stage.tables, references)
    prepared.notes += files_note(prepared.stage)
    return prepared


class _Chosen:
    """The rows a request means, in the past and today."""

    def __init__(
        self,
        request: RecoverRequest,
        live: Connection,
        past: Connection,
        today: dict[str, Table],
        pairs: dict[str, Pair],
        references: Sequence[Reference],
        progress: Progress,
    ) -> None:
        then_sides = {title: Side.of_past(pair) for title, pair in pairs.items()}
        today_sides = {title: Side.of_live(table) for title, table in today.items()}
        usable = {
            title: side
            for title, side in then_sides.items()
            if pairs[title].live.key and side.knows(side.key)
        }
        self._request = request
        self.past = Closure(past, usable, references, progress)
        self._today = Closure(
            live, {t: s for t, s in today_sides.items() if t in usable}, references, progress
        )
        self._whole: set[str] = set()
        related = request.related and not request.columns
        for name in (*request.tables, *(each.split("=", 1)[0] for each in request.csv)):
            title = table_title(name, {*pairs, *today})
            require_key(require_pair(pairs, title))
            if request.where:
                choose_where(self.past, title, request.where)
            else:
                self.past.choose(title)
                self._whole.add(title)
        if request.subject:
            self._choose_subjects(live, past)
        self.past.grow_down(related=related)
        if request.exact:  # also the history of rows that the past had no more
            histories = {r.table for r in references if r.is_history and r.to_table in self._whole}
            for title in sorted(histories & usable.keys() - self._whole):
                self.past.choose(title)
                self._whole.add(title)
        self._narrowing = Narrowing(live, past, pairs, progress)
        if request.subject:  # of others' rows the past may have none
            self._today.grow_down(related=related)
        else:
            self._narrowing.narrow(self.past, self._whole)
        if not request.columns:
            missing = Missing(past, live, today_sides, progress)
            self.past.grow_up(related=related, keep_missing=missing)

    @property
    def titles(self) -> list[str]:
        """The tables that are compared."""
        found = [title for title in self.past.titles if self.past.count(title)]
        found += [t for t in self._today.titles if t not in found and self._today.count(t)]
        found += [t for t in self._whole if t not in found]
        return sorted(found)

    def of_today(self, title: str) -> sql.Composable | None:
        """Return which rows of today should be in the past as well, on the alias l."""
        if title in self._whole:
            return self._narrowing.added(title) or sql.SQL("true")
        if title in self._today.titles:
            side = self._today.sides[title]
            return sql.SQL("EXISTS (SELECT FROM {} AS t WHERE {})").format(
                self._today.chosen(title), equal("t", side.key, "l", side.key)
            )
        return None

    def _choose_subjects(self, live: Connection, past: Connection) -> None:
        wanted = wanted_subject(self._request)
        account = None
        if self._request.account:
            within = subject("account")
            found = subject_keys(past, within, self._request.account) or subject_keys(
                live, within, self._request.account
            )
            if not found:
                raise RefusedError(
                    f"There is no account {self._request.account}, neither today nor in what it "
                    "would be recovered from. Nothing was changed."
                )
            account = found[0]
        for typed in self._request.keys:
            then = subject_keys(past, wanted, typed)
            if not then:
                raise RefusedError(
                    f"There is no {wanted.name} {typed} in what it would be recovered from "
                    f"({wanted.asks_for}). Nothing was changed."
                )
            choose_subject(self.past, wanted, then, account)
            if wanted.table in self._today.sides:
                # By the keys of the past: somebody may have changed the name since.
                choose_subject(self._today, wanted, then, None)


def _references(live: Connection, past: Connection, today: dict[str, Table]) -> list[Reference]:
    """Return today's references, and those of the past that went with a table or a column."""
    found = references_of(live)
    known = {(each.table, each.columns, each.to_table) for each in found}
    found += [
        each
        for each in references_of(past)
        if (each.table, each.columns, each.to_table) not in known
        and each.table in today
        and each.to_table in today
    ]
    return [_shaped(each, today) for each in (*found, *link_references(links()))]


def _shaped(reference: Reference, today: dict[str, Table]) -> Reference:
    """Return a reference that knows which of its two tables are partitioned."""
    table, to_table = today.get(reference.table), today.get(reference.to_table)
    return replace(
        reference,
        is_partitioned=bool(table and table.is_partitioned),
        to_is_partitioned=bool(to_table and to_table.is_partitioned),
    )


def _columns(pair: Pair, wanted: Sequence[str]) -> tuple[str, ...]:
    known = [new for _, new in pair.columns]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise RefusedError(
            f"{pair.title} has no column {', '.join(unknown)} that can be set back. Nothing was "
            f"changed. Its columns are {', '.join(known)}."
        )
    return tuple(wanted)


def _acts(
    request: RecoverRequest, title: str, references: Sequence[Reference]
) -> dict[str, RowAct]:
    if request.exact:
        return {MISSING: RowAct.INSERTED, CHANGED: RowAct.UPDATED, EXTRA: RowAct.DELETED}
    if request.columns:
        return {CHANGED: RowAct.UPDATED}
    acts = {}
    if request.mode in {"missing", "all"}:
        acts[MISSING] = RowAct.INSERTED
    is_history = any(each.is_history and each.table == title for each in references)
    if request.mode in {"changed", "all"} and not is_history:
        acts[CHANGED] = RowAct.UPDATED
    return acts
