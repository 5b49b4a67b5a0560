"""A planned recovery as JSON: what a terminal prints and a page shows."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from ops.models.recoveries import RowAct
from ops.postgres.endpoint import Connection
from ops.progress import CancelledError, Progress
from ops.restores.partial.apply import Applied
from ops.restores.partial.media_files import (
    file_columns,
    files_of,
    missing_files,
    restore_files,
)
from ops.restores.partial.stage import CHANGED, EXTRA, MISSING, Stage, Staged, image

SAMPLES = 20  # rows shown of each table
_NAMED = 10  # files named in a sentence


def table_json(live: Connection, each: Staged, samples: int) -> dict[str, Any]:
    """Return what differs in a table: counts, what is planned, and some rows of it."""
    rows = live.execute(
        sql.SQL(
            "SELECT {key}, a.what, a.act, a.before, CASE WHEN w.{first} IS NOT NULL THEN {now} END"
            " FROM {act} AS a LEFT JOIN {wanted} AS w ON {same} ORDER BY {order} LIMIT {most}"
        ).format(
            key=image(each.table, "a", each.table.key),
            first=sql.Identifier(each.table.key[0]),
            now=image(each.table, "w", each.compared),
            act=each.act,
            wanted=each.wanted,
            same=each.same("a", "w"),
            order=sql.SQL(", ").join(sql.Identifier("a", name) for name in each.table.key),
            most=sql.Literal(samples),
        )
    ).fetchall()
    return {
        "table": each.table.title,
        **{what: each.counts.get(what, 0) for what in (MISSING, CHANGED, EXTRA)},
        "planned": {act.value: each.planned.get(act, 0) for act in RowAct},
        "samples": [
            {"key": key, "what": what, "act": act, "columns": _changes(each, before, wanted)}
            for key, what, act, before, wanted in rows
        ],
    }


def _changes(
    each: Staged, before: dict[str, Any] | None, wanted: dict[str, Any] | None
) -> dict[str, list[Any]]:
    """Return of each column today's value and the past's, where they differ."""
    now, then = before or {}, wanted or {}
    return {
        name: [now.get(name), then.get(name)]
        for name in each.table.stored
        if (name in then or not then) and now.get(name) != then.get(name)
    }


def files_named(stage: Stage) -> list[str]:
    """Return the uploaded files that rows name which come back or are set back."""
    found: set[str] = set()
    for each in stage.tables:
        columns = file_columns(each.table.title)
        if not columns or not set(columns) <= each.table.by_name.keys():
            continue
        rows = sql.SQL(
            "SELECT w.* FROM {wanted} AS w JOIN {act} AS a ON {same} WHERE a.act IN ({ins}, {upd})"
        ).format(
            wanted=each.wanted,
            act=each.act,
            same=each.same("a", "w"),
            ins=sql.Literal(RowAct.INSERTED.value),
            upd=sql.Literal(RowAct.UPDATED.value),
        )
        found.update(files_of(stage.live, each.table.title, rows))
    return sorted(found)


def files_note(stage: Stage) -> list[str]:
    """Return, in a sentence, which files are missing that rows name; nothing where none is."""
    missing = missing_files(files_named(stage))
    if not missing:
        return []
    said = f"{len(missing):,} file(s) that these rows name are missing: {_some(missing)}."
    return [f"{said} What the backups of media have of them comes back with the rows."]


def bring_files(stage: Stage, progress: Progress) -> str:
    """Bring back missing files that recovered rows name; tell in sentences which came.

    The rows are there already, so nothing is raised when files can't be had.
    """
    names = files_named(stage)
    try:
        came, nowhere = restore_files(names, progress)
    except CancelledError:
        return " It was stopped before all files that the rows name were looked for."
    except OSError as error:
        return f" Files that the rows name could not be put in their places: {error}."
    said = f" {len(came):,} file(s) came back: {_some(came)}." if came else ""
    if nowhere:
        said += f" In no backup of media: {len(nowhere):,} file(s): {_some(nowhere)}."
    return said


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def note_of(stage: Stage, applied: Applied) -> str:
    """Return what was done, in a sentence."""
    if not applied.rows:
        return "Nothing differs from what was asked for; nothing was changed."
    parts = []
    for act in RowAct:
        count = sum(each.planned.get(act, 0) for each in stage.tables)
        if count:
            parts.append(f"{count:,} row(s) {_ACTS[act]}")
    tables = sum(1 for each in stage.tables if each.planned)
    return (
        f"{', '.join(parts).capitalize()} in {tables} table(s). Others waited {applied.seconds:.1f}"
        " seconds at most to write to them."
    )


_ACTS = {
    RowAct.INSERTED: "came back",
    RowAct.UPDATED: "were set back",
    RowAct.DELETED: "were taken out",
}
