"""What must not go back in time with the data: the record of operations, the queue, sign-ins.

Restored to last week, the catalogue would not know this week's backups, nor the restore itself. So
these tables are copied from the live database into the one beside, which then takes its place.
While that happens nobody writes to them: whoever tries waits, and is told when the swap ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from psycopg import sql

from ops.backups.lock import KEPT_ALIVE
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import one_line
from ops.progress import Progress
from ops.restores.errors import RestoreError
from ops.rls.closed import LAST_TO_GO, LOCK_CLASS

_APPS = ("ops", "django_tasks_database", "axes", "sessions")
_SESSIONS = Session._meta.db_table
_AT_ONCE = 5_000  # sessions looked at
_LOCK_SECONDS = 10


def tables() -> list[str]:
    """Return the names of the tables that are carried along."""
    return [
        model._meta.db_table
        for label in _APPS
        for model in apps.get_app_config(label).get_models(include_auto_created=True)
        if not model._meta.proxy
    ]


def carry(live: str, beside: str, endpoint: Endpoint, progress: Progress) -> None:
    """Copy them once; what is written to them meanwhile, or later, stays behind. See `carried`."""
    with carried(live, beside, endpoint, progress):
        pass


@contextmanager
def carried(
    live: str,
    beside: str,
    endpoint: Endpoint,
    progress: Progress,
    record: Callable[[Connection], object] | None = None,
) -> Iterator[None]:
    """Copy them, and let nobody write to those of the live database for the block.

    `endpoint` is the owner's. `record` then writes into the database beside, in the transaction
    that replaced them there. Nothing in the block may write to them by Django's connection: it
    would wait for itself. Raises RestoreError, and leaves the database beside as it was.
    """
    wanted = tables()
    progress.phase("carrying the record of operations along", len(wanted), "tables")
    with (
        closing(endpoint.at(live).connect(application_name="srvc carrying", **KEPT_ALIVE)) as old,
        closing(endpoint.at(beside).connect(application_name="srvc carrying")) as new,
    ):
        try:
            # A swap ends this session after all others (ops/postgres/swapping.py).
            old.execute("SELECT pg_advisory_lock_shared(%s, %s)", [LOCK_CLASS, LAST_TO_GO])
            old.execute("SET idle_in_transaction_session_timeout = 0")
            _lock(old, wanted)
            with new.transaction():
                new.execute(
                    sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(sql.Identifier, wanted)))
                )
                for table in wanted:
                    progress.check()
                    _copy(old, new, table)
                    progress.advance(1)
                _end_sessions_of_strangers(new)
                if record is not None:
                    record(new)
        except psycopg.Error as error:
            raise RestoreError(
                f"The record of operations could not be carried along: {one_line(error)}. The live "
                "database was not touched. If another operation is running, wait for it to end; "
                "then run this again."
            ) from None
        # The sessions of a swap end these two before they are closed here.
        new.close()
        yield


def _lock(old: Connection, wanted: Sequence[str]) -> None:
    """Begin a transaction in which nobody else changes the tables."""
    old.execute(f"SET lock_timeout = '{_LOCK_SECONDS}s'")
    old.execute("BEGIN")
    old.execute(
        sql.SQL("LOCK TABLE {} IN SHARE MODE").format(
            sql.SQL(", ").join(map(sql.Identifier, wanted))
        )
    )


def _copy(old: Connection, new: Connection, table: str) -> None:
    columns = [
        name
        for (name,) in old.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = quote_ident(%s)::regclass"
            " AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
            [table],
        )
    ]
    # By name: after other migrations the same columns may stand in another order.
    what = sql.SQL("{} ({})").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with (
        old.cursor().copy(sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(what)) as source,
        new.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(what)) as target,
    ):
        for block in source:
            target.write(block)
    here = _sequences(new, table)
    for column, sequence in _sequences(old, table).items():
        if column in here:
            _set_sequence(old, sequence, new, here[column])


def _sequences(connection: Connection, table: str) -> dict[str, str]:
    """Return the sequence of each column that has one, quoted, with its schema."""
    # In one question: writes are closed meanwhile, and most columns have none.
    rows = connection.execute(
        "SELECT * FROM (SELECT attname::text, pg_get_serial_sequence(quote_ident(%(table)s),"
        " attname) AS sequence FROM pg_attribute WHERE attrelid = quote_ident(%(table)s)::regclass"
        " AND attnum > 0 AND NOT attisdropped) AS columns WHERE sequence IS NOT NULL",
        {"table": table},
    )
    return dict(rows.fetchall())


def _set_sequence(old: Connection, there: str, new: Connection, here: str) -> None:
    row = old.execute(
        sql.SQL("SELECT last_value, is_called FROM {}").format(sql.SQL(there))
    ).fetchone()
    assert row is not None
    new.execute("SELECT setval(%s::regclass, %s, %s)", [here, *row])


def _end_sessions_of_strangers(new: Connection) -> None:
    """Remove expired sessions, and those of users whom the restored data does not know."""
    table = sql.Identifier(_SESSIONS)
    new.execute(sql.SQL("DELETE FROM {} WHERE expire_date < now()").format(table))
    users = get_user_model()._meta
    assert users.pk is not None
    assert users.pk.column is not None
    known = {
        str(key)
        for (key,) in new.execute(
            sql.SQL("SELECT {} FROM {}").format(
                sql.Identifier(users.pk.column), sql.Identifier(users.db_table)
            )
        )
    }
    strangers = []
    with new.cursor(name="sessions") as cursor:
        cursor.itersize = _AT_ONCE
        cursor.execute(sql.SQL("SELECT session_key, session_data FROM {}").format(table))
        for key, data in cursor:
            user = Session(session_data=data).get_decoded().get("_auth_user_id")
            if user is not None and str(user) not in known:
                strangers.append(key)
    new.execute(sql.SQL("DELETE FROM {} WHERE session_key = ANY(%s)").format(table), [strangers])
