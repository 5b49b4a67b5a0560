"""Only a restore closes writes: whoever else takes that lock loses it, and the session with it.

PostgreSQL lets every role take every advisory lock, so a request's SQL may take the one that closes
writes (ops/rls/closed.py). Whoever then finds writes closed calls this function, as the owner.
"""

from django.db import migrations

_SHARE = """
    CREATE FUNCTION public.ops_share_writes() RETURNS boolean
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        lock_class CONSTANT int := 1397904983;  -- ops.rls.closed.LOCK_CLASS
        writes CONSTANT int := 1;  -- ops.rls.closed.WRITES
    BEGIN
        -- Also who only waits for it: others are refused from then on.
        PERFORM pg_terminate_backend(l.pid, 2000)
        FROM pg_locks l
        JOIN pg_stat_activity a ON a.pid = l.pid
        JOIN pg_roles r ON r.oid = a.usesysid
        WHERE l.locktype = 'advisory' AND l.mode = 'ExclusiveLock'
          AND l.classid = lock_class::oid AND l.objid = writes::oid AND l.objsubid = 2
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND r.rolname <> current_user AND NOT r.rolsuper AND l.pid <> pg_backend_pid();
        RETURN pg_try_advisory_xact_lock_shared(lock_class, writes);
    EXCEPTION WHEN insufficient_privilege THEN
        RETURN false;
    END
    $$
"""
_FUNCTION = "public.ops_share_writes()"
_COMMENT = "Shares the lock that keeps writes open; ends sessions that hold it and are no restore"
_CALLERS = "srvc_app, srvc_member, srvc_admin, srvc_public"


class Migration(migrations.Migration):
    dependencies = [("ops", "0005_account_archives")]

    operations = [
        migrations.RunSQL(
            [
                _SHARE,
                f"COMMENT ON FUNCTION {_FUNCTION} IS '{_COMMENT}'",
                f"REVOKE ALL ON FUNCTION {_FUNCTION} FROM PUBLIC",
                f"GRANT EXECUTE ON FUNCTION {_FUNCTION} TO {_CALLERS}",
            ],
            f"DROP FUNCTION {_FUNCTION}",
        )
    ]
