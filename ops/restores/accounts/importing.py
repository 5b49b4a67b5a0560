"""Taking an account's archive in, into a server where its numbers are taken: all of it, or nothing.

Rows get new keys, and what names them follows; document numbers stay. One transaction, in which
constraints hold and only the triggers that guard how rows come about are off: they are complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from ops.backups.pinned import pin
from ops.backups.watch import watched
from ops.invariants import check_invariants
from ops.models import Run, RunKind
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import one_line
from ops.postgres.roles import MEMBER
from ops.progress import Counter, Progress, Several
from ops.restores import approval
from ops.restores.accounts.arriving_files import bring_files
from ops.restores.accounts.contents import Contents, contents_of
from ops.restores.accounts.imported import Imported
from ops.restores.accounts.newcomers import make_room, password_of
from ops.restores.accounts.reading import OpenArchive, opened
from ops.restores.accounts.staging import Stage, Staged
from ops.restores.errors import ConflictError, RefusedError
from ops.restores.partial.drift import renames_since
from ops.restores.partial.shape import names, tables_of
from ops.rls.closed import share
from ops.runs import OWNER, Asker, ask, running

_TRIGGERS = """
    SELECT DISTINCT tgname::text FROM pg_catalog.pg_trigger
    WHERE tgrelid = ANY (%s::regclass[]) AND NOT tgisinternal AND starts_with(tgname, 'pgtrigger_')
"""


def ask_for_import(
    path: Path,
    *,
    by: Asker,
    as_login: str = "",
    dry_run: bool = False,
    name: str = "",
    preview: int | None = None,
) -> Run:
    """Record that somebody wants an archive taken in. Nothing is changed yet.

    `name` is what people call it, and `preview` the run that showed what would come in.
    """
    arguments = {"path": str(path.absolute()), "as_login": as_login, "dry_run": dry_run}
    if preview is not None:
        arguments["preview"] = preview
    return ask(RunKind.IMPORT, name or path.name, by=by, arguments=arguments)


def import_account(run: Run, progress: Progress | None = None) -> Imported:
    """Take in the archive a run asks for. Raises OpsError; nothing was changed then."""
    path, as_login = Path(run.arguments["path"]), run.arguments["as_login"]
    dry_run = bool(run.arguments["dry_run"])
    approval.require(run, progress)
    with running(run) as own:
        told = Several(own, progress or Counter())
        with (
            opened(path, told) as archive,
            Endpoint.of(OWNER).connect(application_name="srvc import") as connection,
            watched(told.check) as watch,
            _told(),
        ):
            watch.stop_by(connection.cancel_safe)
            with connection.transaction(force_rollback=dry_run):
                imported = _import(connection, archive, as_login, told, dry_run=dry_run)
        own.say(
            f"{imported.login} {'would come' if dry_run else 'came'} in as account "
            f"{imported.account} with {sum(imported.rows.values()):,} rows."
        )
        own.result = imported.as_json()
    return imported


def _import(
    connection: Connection,
    archive: OpenArchive,
    as_login: str,
    progress: Progress,
    *,
    dry_run: bool,
) -> Imported:
    share(connection)
    pin(connection, local=True)
    contents = contents_of(connection)
    progress.phase("asking the invariants before")
    before = {each.invariant.name: each.contradictions for each in check_invariants(connection)}
    stage = Stage(connection)
    stage.load(
        archive,
        contents,
        tables_of(connection),
        renames_since(archive.says.migrations),
        progress,
    )
    _require_one_account(stage, contents, archive.says.account["id"])
    progress.phase("giving new keys")
    stage.give_keys(contents)
    login = make_room(stage, contents, archive.says.account["id"], as_login)
    with bring_files(stage, archive, keep=not dry_run) as files:
        _write(stage, contents, progress)
        account = _new_account(stage, contents, archive.says.account["id"])
        _require_visible(stage, contents, account)
        _require_truths(connection, before, progress)
        progress.check()
    return Imported(
        account,
        login,
        {title: staged.rows for title, staged in stage.tables.items()},
        files,
        tuple(stage.notes),
        dry_run=dry_run,
        archive=archive.says,
    )


def _require_one_account(stage: Stage, contents: Contents, account: int) -> None:
    """Raise RefusedError when there are rows in it that no policy would count as the account's."""
    for title, staged in stage.tables.items():
        column = contents.owned[title].account_column
        if not column:
            continue
        row = stage.connection.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE {} IS DISTINCT FROM %s").format(
                staged.name, sql.Identifier(column)
            ),
            [account],
        ).fetchone()
        if row and row[0]:
            raise RefusedError(
                f"{row[0]:,} rows of {title} in the archive are not of account {account}, which it "
                "is of. Nothing was imported. The archive was edited; export the account anew."
            )


def _write(stage: Stage, contents: Contents, progress: Progress) -> None:
    """Insert all rows by one statement: foreign keys are checked when all are in their places."""
    work = [staged for staged in stage.tables.values() if staged.rows]
    progress.phase("writing rows", sum(staged.rows for staged in work), "rows")
    triggers = stage.connection.execute(
        _TRIGGERS, [[staged.table.title for staged in work]]
    ).fetchall()
    stage.connection.execute(
        "SELECT set_config('pgtrigger.ignore', %s::text[]::text, true)",
        [[name for (name,) in triggers]],
    )
    parts = [
        sql.SQL("{} AS ({})").format(
            sql.Identifier(f"new_{number}"), _insertion(stage, contents, staged)
        )
        for number, staged in enumerate(work)
    ]
    stage.connection.execute(sql.SQL("WITH {} SELECT 1").format(sql.SQL(", ").join(parts)))
    stage.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    progress.advance(sum(staged.rows for staged in work))


def _insertion(stage: Stage, contents: Contents, staged: Staged) -> sql.Composed:
    title = staged.table.title
    values: dict[str, sql.Composable] = {}
    joins: list[sql.Composable] = []
    for number, column in enumerate(staged.columns):
        key = contents.meant.get((title, column))
        if key is None:
            values[column] = sql.SQL("s.{}").format(sql.Identifier(column))
            continue
        alias = sql.Identifier(f"k{number}")
        there = (title, column) in contents.mentions
        joins.append(
            sql.SQL(" LEFT JOIN {} AS {} ON {}.old = s.{}{}").format(
                stage.keys[key], alias, alias, sql.Identifier(column),
                sql.SQL(" AND {}.is_there").format(alias) if there else sql.SQL(""),
            )
        )  # fmt: skip
        values[column] = sql.SQL("{}.new").format(alias)
    values |= password_of(staged.table, staged.columns)
    _require_defaults(staged, set(values))
    return sql.SQL(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS s{} RETURNING 1"
    ).format(
        staged.table.sql,
        names(values),
        sql.SQL(", ").join(values.values()),
        staged.name,
        sql.Composed(joins),
    )


def _require_defaults(staged: Staged, given: set[str]) -> None:
    for column in staged.table.columns:
        if (
            column.name not in given
            and column.not_null
            and column.default is None
            and not (column.generated or column.identity)
        ):
            raise RefusedError(
                f"{staged.table.title} needs a value in {column.name}, which the archive does not "
                "know: it is of another version. Nothing was imported. Bring the server it came "
                "from to this version, and export the account anew."
            )


def _new_account(stage: Stage, contents: Contents, account: int) -> int:
    owner = next(
        contents.meant[title, owned.account_column]
        for title, owned in contents.owned.items()
        if (title, owned.account_column) in contents.meant
    )
    row = stage.connection.execute(
        sql.SQL("SELECT new FROM {} WHERE old = %s AND is_there").format(stage.keys[owner]),
        [account],
    ).fetchone()
    if row is None:
        raise RefusedError(
            "The archive has no owner of the account. Nothing was imported. Export it anew."
        )
    return int(row[0])


def _require_visible(stage: Stage, contents: Contents, account: int) -> None:
    """Raise ConflictError when the account's people would not see all of its rows, and no more."""
    connection = stage.connection
    connection.execute(
        "SELECT set_config('role', %s, true), set_config('app.account_id', %s, true),"
        " set_config('row_security', 'on', true)",
        [MEMBER, str(account)],
    )
    for title, staged in stage.tables.items():
        if not contents.owned[title].account_column:
            continue
        row = connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(staged.table.rows)
        ).fetchone()
        if row is None or row[0] != staged.rows:
            raise ConflictError(
                f"The account would see {row[0] if row else 0:,} rows of {title} instead of "
                f"{staged.rows:,}. Nothing was imported. See the table's policies."
            )
    connection.execute(
        "SELECT set_config('role', 'none', true), set_config('row_security', 'off', true)"
    )


def _require_truths(connection: Connection, before: dict[str, int], progress: Progress) -> None:
    """Raise ConflictError when more contradicts an invariant than before."""
    progress.phase("asking the invariants")
    worse = [
        str(each)
        for each in check_invariants(connection)
        if each.contradictions > before.get(each.invariant.name, 0)
    ]
    if worse:
        raise ConflictError(
            f"The archive's rows contradict what must be true: {' '.join(worse)} Nothing was "
            "imported. Mend them where they came from, and export the account anew."
        )


@contextmanager
def _told() -> Iterator[None]:
    refusals: tuple[Any, ...] = (psycopg.errors.IntegrityError, psycopg.errors.RaiseException)
    try:
        yield
    except refusals as error:
        said = error.diag.message_primary or one_line(error)
        detail = f" {error.diag.message_detail}" if error.diag.message_detail else ""
        raise ConflictError(
            f"The database refused the archive's rows: {said.rstrip('.')}.{detail} Nothing was "
            "imported."
        ) from None
