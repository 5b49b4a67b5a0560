"""The plan of a statement, as one member or as the owner; nothing is changed, ever.

A statement is planned first and looked at: one that writes, locks rows, is several or none that
reads, or calls what may have effects is refused before anything is executed. Then all of it happens
in a transaction that can't write and is rolled back. As a member it goes by the web process's
login, which owns nothing: there is nothing to escape to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from django.contrib.auth import get_user_model
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db import Error as DatabaseError
from psycopg.sql import SQL, Identifier

from ops.health.catalogue import Catalogue
from ops.health.errors import HealthError
from ops.health.inspection.calls import require_harmless
from ops.health.inspection.plans import Step, read_plan, relations
from ops.health.suggestions import Suggestion, has_hypopg, of_plan
from ops.health.thresholds import Thresholds
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import one_line
from ops.rls.session import acting_as
from ops.runs import OWNER

_ONLY = "Only one SELECT (or WITH, VALUES, TABLE) is explained."
_NOTHING = "Nothing was executed."


@dataclass(frozen=True)
class Explanation:
    """How PostgreSQL answers a statement, and what is remarkable about that."""

    sql: str
    role: str  # the database's, as which it was planned
    member: str  # the e-mail address it was asked for; "" for none
    executed: bool
    generic: bool  # planned for any values of its $1, $2 …
    plan: Mapping[str, Any] = field(repr=False)  # EXPLAIN's document
    steps: tuple[Step, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()  # indexes that it would gain by

    @property
    def milliseconds(self) -> float | None:
        """How long it took; None when it was not executed."""
        return self.plan.get("Execution Time")


def explain(
    sql: str, *, analyze: bool = False, member: str = "", limit: float = 5.0
) -> Explanation:
    """Plan a statement, and with `analyze` execute it too; `limit` is in seconds.

    `member` is the e-mail address of whom it is for: their rows, by row security. Raises
    HealthError for a statement that is refused or fails, and ServerError.
    """
    if not sql.strip().rstrip(";"):
        raise HealthError(f"There is no statement. {_NOTHING} {_ONLY}")
    try:
        with _session(member, limit, analyze=analyze) as connection:
            return _explained(connection, sql, analyze=analyze, member=member)
    except psycopg.Error as error:
        raise _told(error, limit, analyze=analyze) from None
    except DatabaseError as error:
        cause = error.__cause__
        if not isinstance(cause, psycopg.Error):
            raise
        raise _told(cause, limit, analyze=analyze) from None


def _explained(connection: Connection, sql: str, *, analyze: bool, member: str) -> Explanation:
    generic = False
    try:
        with connection.transaction():
            document = _plan(connection, "VERBOSE", sql)
    except (psycopg.errors.UndefinedParameter, psycopg.errors.ProtocolViolation):
        # Nothing was bound to its placeholders.
        _require_generic(connection, analyze=analyze)
        generic = True
        document = _plan(connection, "VERBOSE, GENERIC_PLAN", sql)
    _require_reading(connection, sql, document["Plan"], generic=generic)
    require_harmless(connection, sql, document["Plan"], executed=analyze)
    if analyze:
        document = _plan(connection, "VERBOSE, ANALYZE, BUFFERS, SETTINGS", sql)
    row = connection.execute("SELECT current_user::text").fetchone()
    assert row is not None
    names = sorted(relations(document["Plan"]))
    rows = connection.execute(
        "SELECT n.nspname || '.' || c.relname, greatest(c.reltuples, 0)::float8 FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname || '.' || c.relname = ANY (%s)",
        [names],
    )
    big = Thresholds.of_settings().missing_index_rows
    steps = tuple(read_plan(document["Plan"], dict(rows.fetchall()), big))
    found = of_plan(document["Plan"], Catalogue.read(connection), big)
    tried = tuple(_tried(connection, sql, each, generic=generic) for each in found)
    return Explanation(sql, str(row[0]), member, analyze, generic, document, steps, tried)


def _tried(connection: Connection, sql: str, suggested: Suggestion, *, generic: bool) -> Suggestion:
    """Return the suggestion with what the planner makes of it, where hypopg is installed."""
    if not has_hypopg(connection):
        return suggested
    schema = connection.execute(
        "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
        " WHERE e.extname = 'hypopg'"
    ).fetchone()
    assert schema is not None
    # An index that exists for the planner of this session alone.
    index = suggested.create.replace(" CONCURRENTLY", "").rstrip(";")
    options = "GENERIC_PLAN" if generic else "COSTS"
    try:
        with connection.transaction():
            connection.execute(
                SQL("SELECT {}(%s)").format(Identifier(schema[0], "hypopg_create_index")), [index]
            )
            document = _plan(connection, options, sql)
            connection.execute(SQL("SELECT {}()").format(Identifier(schema[0], "hypopg_reset")))
    except psycopg.Error:
        return suggested
    return replace(suggested, cost_with=document["Plan"]["Total Cost"])


def _plan(connection: Connection, options: str, sql: str, wrapping: str = "") -> dict[str, Any]:
    query = f"EXPLAIN (FORMAT JSON, {options}) {wrapping}{sql}".encode()
    # Parsed by the extended protocol it has to be one statement. A plan for any value is made for
    # what is bound all the same, so nothing may be: then it is run by the simple protocol.
    parsed = connection.pgconn.prepare(b"", query)
    if parsed.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(parsed)
    with psycopg.Cursor(connection) as cursor:
        if "GENERIC_PLAN" not in options:
            cursor.format = psycopg.pq.Format.BINARY
        cursor.execute(query)
        row = cursor.fetchone()
    assert row is not None
    found: dict[str, Any] = row[0][0]
    return found


def _require_generic(connection: Connection, *, analyze: bool) -> None:
    if analyze:
        raise HealthError(
            f"It has placeholders ($1), and nothing to put there. {_NOTHING} Leave --analyze out, "
            "or write values."
        )
    if connection.info.server_version < 160_000:
        raise HealthError(
            "It has placeholders ($1), which PostgreSQL plans without values from version 16 on. "
            f"{_NOTHING} Write values."
        )


def _require_reading(
    connection: Connection, sql: str, plan: Mapping[str, Any], *, generic: bool
) -> None:
    """Raise HealthError unless the statement is a SELECT that changes and locks nothing."""
    for node in _nodes(plan):
        if node["Node Type"] == "ModifyTable":
            operation = node.get("Operation", "change").upper()
            raise HealthError(
                f"It changes {node.get('Relation Name', 'rows')} ({operation}). {_NOTHING} {_ONLY}"
            )
        if node["Node Type"] == "LockRows":
            raise HealthError(f"It locks rows (FOR UPDATE, FOR SHARE). {_NOTHING} {_ONLY}")
    try:
        # What else EXPLAIN takes (CREATE TABLE AS, SELECT INTO, EXECUTE), no cursor does.
        with connection.transaction():
            options = "GENERIC_PLAN" if generic else "COSTS"
            _plan(connection, options, sql, "DECLARE explained NO SCROLL CURSOR FOR ")
    except (
        psycopg.errors.SyntaxError,
        psycopg.errors.InternalError,
        psycopg.errors.FeatureNotSupported,
    ):
        raise HealthError(f"It is no SELECT alone. {_NOTHING} {_ONLY}") from None


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for each in node.get("Plans", []):
        yield from _nodes(each)


@contextmanager
def _session(member: str, limit: float, *, analyze: bool) -> Iterator[Connection]:
    """Yield a connection in a transaction that only reads, and that is rolled back."""
    if member:
        with acting_as(_user(member), via="manage.py explain", writes=False):
            transaction.set_rollback(True)
            connection: Connection = connections[DEFAULT_DB_ALIAS].connection
            _confine(connection, limit)
            yield connection
        return
    with (
        closing(Endpoint.of(OWNER).connect(application_name="srvc explain")) as connection,
        connection.transaction(force_rollback=True),
    ):
        _confine(connection, limit)
        if analyze and connection.info.parameter_status("is_superuser") == "on":
            raise HealthError(
                f"The login {connection.info.user} is a superuser, and no SQL is executed as one. "
                f"{_NOTHING} Name whom it is for (--as EMAIL), or leave --analyze out."
            )
        yield connection


def _confine(connection: Connection, limit: float) -> None:
    milliseconds = max(1, int(limit * 1000))
    connection.execute(
        f"SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = {milliseconds};"
        # A cursor is planned for its first rows otherwise; this one stands for a whole statement.
        " SET LOCAL lock_timeout = '1s'; SET LOCAL cursor_tuple_fraction = 1;"
        # As calls.py reads strings.
        " SET LOCAL standard_conforming_strings = on".encode()
    )


def _user(email: str) -> Any:
    model = get_user_model()
    try:
        user = model._default_manager.db_manager(OWNER).get_by_natural_key(email)
    except model.DoesNotExist:
        raise HealthError(f"Nobody signs in as {email}. {_NOTHING}") from None
    if not user.is_active:
        raise HealthError(f"{email} may not sign in any more, and so sees nothing. {_NOTHING}")
    return user


def _told(error: psycopg.Error, limit: float, *, analyze: bool) -> HealthError:
    said = (error.diag.message_primary or one_line(error)).rstrip(".")
    if isinstance(error, psycopg.errors.QueryCanceled):
        plan = "Without --analyze its plan is shown; --limit gives it longer."
        return HealthError(
            f"It took longer than {limit:g} s and was stopped. Nothing was changed. "
            f"{plan if analyze else '--limit gives it longer.'}"
        )
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return HealthError(
            f"A table that it reads is locked by another session. {_NOTHING} See by whom: "
            "manage.py inspect --report locks"
        )
    if isinstance(error, psycopg.OperationalError) and not error.sqlstate:
        return HealthError(
            f"The server can't be reached, or let go in the middle: {said.rstrip('?')}. "
            f"{_NOTHING} manage.py dbping says at which step it fails."
        )
    if "multiple commands" in said:
        return HealthError(f"These are several statements. {_NOTHING} {_ONLY}")
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return HealthError(f"It writes ({said}). Nothing was changed. {_ONLY}")
    if isinstance(error, psycopg.errors.SyntaxError):
        return HealthError(f"PostgreSQL can't explain it: {said}. {_NOTHING} {_ONLY}")
    return HealthError(f"PostgreSQL refused it: {said}. Nothing was changed.")
