"""What the page of live sessions asks, by functions of the owner: pg_monitor is the owner's alone.

They see and touch sessions of this database only, and nobody but platform administrators' role may
call them. Ending sessions is no write to PostgreSQL, so the function itself refuses to do it in a
transaction that may only read: an auditor's.
"""

from django.db import migrations

_ACTIVITY = """
    CREATE FUNCTION public.ops_activity() RETURNS TABLE (
        pid integer, backend_start timestamptz, role text, application text, client text,
        state text, transaction_start timestamptz, query_start timestamptz,
        state_change timestamptz, wait_type text, wait text, query text,
        blocked_by integer[], waits_for text, is_superuser boolean
    )
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        SELECT a.pid, a.backend_start, a.usename::text, a.application_name,
            coalesce(a.client_addr::text, ''), a.state, a.xact_start, a.query_start,
            a.state_change, a.wait_event_type, a.wait_event, left(a.query, 10000),
            CASE WHEN a.wait_event_type = 'Lock' THEN pg_blocking_pids(a.pid) ELSE '{}' END,
            CASE WHEN a.wait_event_type = 'Lock' THEN
                (SELECT string_agg(concat_ws(' ', l.mode, 'on', coalesce(
                    l.relation::regclass::text, l.locktype)), ', ')
                 FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted) END,
            coalesce(r.rolsuper, true)
        FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
        WHERE a.datname = current_database() AND a.backend_type = 'client backend'
          AND a.pid <> pg_backend_pid()
        ORDER BY a.pid
    $$
"""

_SIGNAL = """
    CREATE FUNCTION public.ops_signal_session(
        process integer, started timestamptz, ending boolean
    ) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF current_setting('transaction_read_only')::boolean THEN
            RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction',
                MESSAGE = 'sessions are not ended in a transaction that only reads';
        END IF;
        -- A process id is used again; with the moment it began it names one session for good.
        PERFORM FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid
        WHERE a.pid = process AND a.backend_start = started AND a.datname = current_database()
          AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid() AND NOT r.rolsuper;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
        RETURN CASE WHEN ending THEN pg_terminate_backend(process)
            ELSE pg_cancel_backend(process) END;
    END
    $$
"""


def _for_administrators(function: str, create: str, comment: str) -> migrations.RunSQL:
    return migrations.RunSQL(
        [
            create,
            f"COMMENT ON FUNCTION {function} IS '{comment}'",
            f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC",
            f"GRANT EXECUTE ON FUNCTION {function} TO srvc_admin",
        ],
        f"DROP FUNCTION {function}",
    )


class Migration(migrations.Migration):
    dependencies = [("ops", "0003_health")]

    operations = [
        _for_administrators(
            "public.ops_activity()", _ACTIVITY, "Sessions of this database, and who blocks whom"
        ),
        _for_administrators(
            "public.ops_signal_session(integer, timestamptz, boolean)",
            _SIGNAL,
            "Cancels the query of a session of this database, or ends the session",
        ),
    ]
