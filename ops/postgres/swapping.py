"""One database takes another's place by two renames, in one statement that the server ends alone.

Whatever happens to who asked, the server finishes it or takes it back. Only a crash of the server
in the middle leaves the database closed to connections; `reopen` sees that by the mark that is set
in the same transaction.
"""

from __future__ import annotations

from contextlib import suppress

import psycopg
from psycopg import sql

from ops.postgres.errors import ServerError, one_line
from ops.postgres.server import Connection

# Held by a session on the maintenance database while it swaps.
LOCK_CLASS, SWAPPING = 0x53525653, 1  # "SRVS"
_MARK = "srvc swap into "

# Names and numbers are put in as literals. COMMIT is not allowed within a block that has an
# EXCEPTION clause, hence the blocks side by side.
_SWAP = """
DO $swap$
DECLARE
    live CONSTANT name := {live};
    beside CONSTANT name := {beside};
    kept CONSTANT name := {kept};
    until CONSTANT timestamptz := clock_timestamp() + make_interval(secs => {seconds});
    live_oid oid; beside_oid oid;
    remark text; beside_remark text;
    last int[]; others int[];
    is_alone boolean := false;
    failure text;
BEGIN
    IF NOT pg_try_advisory_lock({class_}, {swapping}) THEN
        RAISE EXCEPTION 'another swap is going on';
    END IF;
    SELECT oid, shobj_description(oid, 'pg_database') INTO live_oid, remark
        FROM pg_database WHERE datname = live AND datallowconn;
    SELECT oid, shobj_description(oid, 'pg_database') INTO beside_oid, beside_remark
        FROM pg_database WHERE datname = beside AND datallowconn;
    IF live_oid IS NULL OR beside_oid IS NULL THEN
        RAISE EXCEPTION '% does not exist or is closed to connections',
            CASE WHEN live_oid IS NULL THEN live ELSE beside END;
    END IF;
    IF EXISTS (SELECT FROM pg_database WHERE datname = kept) THEN
        RAISE EXCEPTION 'there is a database % already', kept;
    END IF;
    -- These end last: what they hold keeps everybody else from writing.
    last := ARRAY(SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND database = live_oid AND classid = {guard_class} AND objid = {last_to_go}
        AND objsubid = 2);
    EXECUTE format('ALTER DATABASE %I ALLOW_CONNECTIONS false', live);
    EXECUTE format('COMMENT ON DATABASE %I IS %L', beside,
        {mark} || live || E'\n' || coalesce(beside_remark, ''));
    COMMIT;
    BEGIN
        LOOP
            PERFORM pg_stat_clear_snapshot();
            others := ARRAY(SELECT pid FROM pg_stat_activity
                WHERE datid IN (live_oid, beside_oid) AND usesysid IS NOT NULL
                AND pid <> pg_backend_pid());
            IF NOT others <@ last THEN
                others := ARRAY(SELECT unnest(others) EXCEPT SELECT unnest(last));
            ELSIF NOT is_alone THEN
                -- Nobody else is left. If writes were open at any time until now, they are now.
                IF {must_be_closed} AND NOT EXISTS (SELECT FROM pg_locks
                    WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock'
                    AND database = live_oid AND classid = {guard_class} AND objid = {writes}
                    AND objsubid = 2)
                THEN
                    RAISE EXCEPTION 'writes are not closed any more';
                END IF;
                is_alone := true;
            END IF;
            EXIT WHEN cardinality(others) = 0;
            IF clock_timestamp() > until THEN
                RAISE EXCEPTION 'these sessions did not end: %', (
                    SELECT string_agg(format('process %s (%s)', pid, usename), ', ' ORDER BY pid)
                    FROM pg_stat_activity WHERE pid = ANY(others));
            END IF;
            PERFORM pg_terminate_backend(pid) FROM unnest(others) AS pid;
            PERFORM pg_sleep(0.005);
        END LOOP;
        EXECUTE format('ALTER DATABASE %I RENAME TO %I', live, kept);
        EXECUTE format('ALTER DATABASE %I RENAME TO %I', beside, live);
        EXECUTE format('COMMENT ON DATABASE %I IS %L', live, remark);
        EXECUTE format('COMMENT ON DATABASE %I IS %L', kept, {kept_mark});
    EXCEPTION WHEN query_canceled OR OTHERS THEN
        GET STACKED DIAGNOSTICS failure = MESSAGE_TEXT;
    END;
    IF failure IS NOT NULL THEN
        EXECUTE format('ALTER DATABASE %I ALLOW_CONNECTIONS true', live);
        EXECUTE format('COMMENT ON DATABASE %I IS %L', beside, beside_remark);
        COMMIT;
        RAISE EXCEPTION '%', failure;
    END IF;
END
$swap$
"""

# What RENAME would refuse, or what would go on beside the database without it being noticed.
_OBSTACLES = """
    SELECT format('the transaction %%s is prepared and not ended (COMMIT PREPARED or ROLLBACK '
                  'PREPARED ends it)', quote_literal(gid))
    FROM pg_prepared_xacts WHERE database IN (%(live)s, %(beside)s)
    UNION ALL
    SELECT format('the logical replication slot %%s reads it (pg_drop_replication_slot removes it)',
                  slot_name)
    FROM pg_replication_slots WHERE database IN (%(live)s, %(beside)s)
    UNION ALL
    SELECT format('the subscription %%s writes into it (DROP SUBSCRIPTION ends it)', s.subname)
    FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE d.datname IN (%(live)s, %(beside)s)
    UNION ALL
    SELECT format('process %%s of the superuser %%s is connected to %%s, and only a superuser may '
                  'end it', pid, usename, datname)
    FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
    WHERE datname IN (%(live)s, %(beside)s) AND r.rolsuper AND a.backend_type = 'client backend'
      AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    UNION ALL
    SELECT format('%%s may not end sessions of others (GRANT pg_signal_backend TO %%I allows it)',
                  current_user, current_user)
    WHERE NOT pg_has_role('pg_signal_backend', 'USAGE')
    ORDER BY 1
"""


def obstacles(connection: Connection, live: str, beside: str) -> list[str]:
    """Return, in half sentences, what keeps two databases from being swapped."""
    rows = connection.execute(_OBSTACLES, {"live": live, "beside": beside}).fetchall()
    return [text for (text,) in rows]


def exchange(
    connection: Connection,
    live: str,
    beside: str,
    keep_as: str,
    *,
    kept_mark: str,
    seconds: float,
    guard: tuple[int, int, int] | None = None,
) -> None:
    """Put `beside` in the place of `live`, which is kept under another name and closed.

    `connection` is one of its own on another database of the server, whose login owns both.
    Sessions on the two are ended, for `seconds` at most. `guard` is (class, key of writes, key of
    those that end last) of the advisory locks that must keep writes closed until the last moment.
    Raises ServerError; then everything is as it was.
    """
    guard_class, writes, last_to_go = guard or (0, 0, 0)
    values = {
        "live": live,
        "beside": beside,
        "kept": keep_as,
        "seconds": seconds,
        "class_": LOCK_CLASS,
        "swapping": SWAPPING,
        "guard_class": guard_class,
        "writes": writes,
        "last_to_go": last_to_go,
        "must_be_closed": guard is not None,
        "mark": _MARK,
        "kept_mark": kept_mark,
    }
    statement = sql.SQL(_SWAP).format(**{name: sql.Literal(v) for name, v in values.items()})
    try:
        connection.execute("SET lock_timeout = '5s'")
        connection.execute(statement)
    except psycopg.Error as error:
        raise ServerError(one_line(error).partition(" CONTEXT:")[0]) from None


def reopen(connection: Connection, live: str) -> bool:
    """Open a database that a swap closed and, as the server stopped, could not open again.

    `connection` is on another database of the server. Returns whether there was anything to do;
    a swap that is going on is left alone.
    """
    rows = connection.execute(
        "SELECT b.datname, substr(shobj_description(b.oid, 'pg_database'), length(%(mark)s) + 1)"
        " FROM pg_database b, pg_database l WHERE l.datname = %(live)s AND NOT l.datallowconn"
        " AND starts_with(shobj_description(b.oid, 'pg_database'), %(mark)s)",
        {"live": live, "mark": f"{_MARK}{live}\n"},
    ).fetchall()
    if not rows:
        return False
    key = [LOCK_CLASS, SWAPPING]
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", key).fetchone()
    if row is None or not row[0]:
        return False
    try:
        connection.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(live))
        )
        for name, remark in rows:
            connection.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                    sql.Identifier(name), sql.Literal(remark)
                )
            )
    finally:
        with suppress(psycopg.Error):
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", key)
    return True
