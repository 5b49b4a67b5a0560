"""What is wrong with a whole server: its roles, its settings, its slots."""

from __future__ import annotations

from tests.ops.health.planted.fault import ByAPerson, Fault, Plant, mends

READ_ONLY = "default_transaction_read_only"
RELOAD = "SELECT pg_reload_conf()"
# As if 700 million transactions had passed since it was vacuumed.
OLD = (
    "UPDATE pg_database SET datfrozenxid = ((pg_current_xact_id()::text::bigint + 4294967296"
    " - 700000000) % 4294967296)::text::xid WHERE datname = '{}'"
)
MD5 = "md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"


def role(
    name: str,
    key: str,
    *plant: Plant,
    check: str = "application_login",
    undo: str = "",
    hidden: str = "",
) -> Fault:
    """A role that may too much, or may not what it has to."""
    undoing = (undo,) if undo else ()
    return Fault(name, check, key, ("RESET ROLE", *plant), mends(), undo=undoing, hidden=hidden)


FAULTS = [
    role("the web process's login is a superuser", "ops.E101 srvc_app NOSUPERUSER",
         "ALTER ROLE srvc_app SUPERUSER", undo="ALTER ROLE srvc_app NOSUPERUSER"),
    role("the web process's login sees past row security", "ops.E101 srvc_app NOBYPASSRLS",
         "ALTER ROLE srvc_app BYPASSRLS", undo="ALTER ROLE srvc_app NOBYPASSRLS"),
    role("the web process's login makes roles", "ops.E101 srvc_app NOCREATEROLE",
         "ALTER ROLE srvc_app CREATEROLE", undo="ALTER ROLE srvc_app NOCREATEROLE"),
    role("the web process's login replicates", "ops.E101 srvc_app NOREPLICATION",
         "ALTER ROLE srvc_app REPLICATION", undo="ALTER ROLE srvc_app NOREPLICATION"),
    role("a role of a request makes databases", "srvc_public CREATEDB",
         "ALTER ROLE srvc_public CREATEDB", undo="ALTER ROLE srvc_public NOCREATEDB"),
    role("members read everything", "srvc_member in pg_read_all_data",
         "GRANT pg_read_all_data TO srvc_member", undo="REVOKE pg_read_all_data FROM srvc_member"),
    role("the web process's login may become the owner", "ops.E103 srvc_owner",
         "GRANT srvc_owner TO srvc_app", undo="REVOKE srvc_owner FROM srvc_app"),
    role("a member of another role", "srvc_app in Other role",
         'CREATE ROLE "Other role"', 'GRANT "Other role" TO srvc_app',
         undo='DROP ROLE "Other role"'),
    Fault(
        "a request's role owns a table", "application_login", "ops.E102 srvc_admin",
        ("RESET ROLE", "ALTER TABLE public.jobs OWNER TO srvc_admin"),
        mends("sequence public.jobs_id_seq", "table public.jobs"),
    ),
    role("another login sees past row security", "role Reader",
         'CREATE ROLE "Reader" LOGIN BYPASSRLS',
         'GRANT CONNECT ON DATABASE {database} TO "Reader"', check="powerful_roles",
         undo='DROP OWNED BY "Reader"; DROP ROLE "Reader"'),
    role("another login reads everything", "role reader", "CREATE ROLE reader LOGIN",
         "GRANT pg_read_all_data TO reader", "GRANT CONNECT ON DATABASE {database} TO reader",
         check="powerful_roles", undo="DROP OWNED BY reader; DROP ROLE reader"),
    role("there are too many superusers", "superusers",
         *(f"CREATE ROLE super_{number} LOGIN SUPERUSER" for number in range(3)),
         check="powerful_roles", undo="DROP ROLE super_0, super_1, super_2"),
    role("new passwords are kept as MD5", "password_encryption",
         "ALTER SYSTEM SET password_encryption = 'md5'", RELOAD, check="password_storage",
         undo=f"ALTER SYSTEM RESET password_encryption; {RELOAD}"),
    Fault(
        "a password is kept as MD5", "password_storage", "role old",
        ("RESET ROLE", f"CREATE ROLE old LOGIN PASSWORD '{MD5}'",
         "GRANT SELECT ON pg_authid TO srvc_owner"),
        ByAPerson("psql asks for the new password"), undo=("DROP ROLE old",),
        hidden="a login that may read verifiers is a greater risk than what it would find",
    ),
    role("the web process's login is set read-only everywhere", "web",
         f"ALTER ROLE srvc_app SET {READ_ONLY} = on", check="writable",
         undo=f"ALTER ROLE srvc_app RESET {READ_ONLY}"),
    role("every login is set read-only", "web",
         f"ALTER ROLE ALL SET {READ_ONLY} = on", check="writable",
         undo=f"SET {READ_ONLY} = off; ALTER ROLE ALL RESET {READ_ONLY}"),
    role("the server is set read-only", "web",
         f"ALTER SYSTEM SET {READ_ONLY} = on", RELOAD, check="writable",
         undo=f"SET {READ_ONLY} = off; ALTER SYSTEM RESET {READ_ONLY}; {RELOAD}"),
    role("autovacuum is off", "setting autovacuum",
         "ALTER SYSTEM SET autovacuum = off", RELOAD, check="autovacuum_off",
         undo=f"ALTER SYSTEM RESET autovacuum; {RELOAD}"),
    role("the server counts nothing", "setting track_counts",
         "ALTER SYSTEM SET track_counts = off", RELOAD, check="autovacuum_off",
         undo=f"ALTER SYSTEM RESET track_counts; {RELOAD}"),
    Fault(
        "nobody reads from a slot", "replication_slots", "orphaned",
        ("RESET ROLE", "SELECT pg_create_physical_replication_slot('orphaned', true)"), mends(),
        undo=(("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
              " WHERE slot_name = 'orphaned'"),),
        limits={"slot_inactive_seconds": 0.0},
    ),
    Fault(
        "a slot keeps much WAL", "wal_kept", "slot greedy",
        ("RESET ROLE", "SELECT pg_create_physical_replication_slot('greedy', true)",
         "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000))", "SELECT pg_switch_wal()",
         "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000))"), mends(),
        undo=(("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
              " WHERE slot_name = 'greedy'"),),
        limits={"wal_kept_bytes": 1_000},
    ),
    role("commits wait for a standby that is away", "synchronous",
         "SET synchronous_commit = local", "ALTER SYSTEM SET synchronous_standby_names = 'away'",
         RELOAD, check="standby",
         undo="SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names;"
              f" {RELOAD}"),
    role("a login begins without triggers", "ROLE srvc_app session_replication_role",
         "ALTER ROLE srvc_app SET session_replication_role = replica", check="session_settings",
         undo="ALTER ROLE srvc_app RESET session_replication_role"),
    role("damaged pages are emptied", "zero_damaged_pages",
         "ALTER SYSTEM SET zero_damaged_pages = on", RELOAD, check="server_settings",
         undo=f"ALTER SYSTEM RESET zero_damaged_pages; {RELOAD}"),
    role("members may switch triggers off", "SET session_replication_role srvc_member",
         "GRANT SET ON PARAMETER session_replication_role TO srvc_member",
         check="parameter_rights",
         undo="REVOKE ALL ON PARAMETER session_replication_role FROM srvc_member"),
    role("another login makes logins", "Maker CREATEROLE", 'CREATE ROLE "Maker" LOGIN CREATEROLE',
         'GRANT CONNECT ON DATABASE {database} TO "Maker"', check="role_attributes",
         undo='DROP OWNED BY "Maker"; DROP ROLE "Maker"'),
    role("another login replicates", "copier REPLICATION", "CREATE ROLE copier LOGIN REPLICATION",
         check="role_attributes", undo="DROP ROLE copier"),
    role("the password of the web process has ended", "role srvc_app",
         "ALTER ROLE srvc_app VALID UNTIL '2020-01-01'", check="expiring_passwords",
         undo="ALTER ROLE srvc_app VALID UNTIL 'infinity'"),
    role("another database uses up the server's numbers", 'database Old "one"',
         'CREATE DATABASE "Old ""one"""', OLD.format('Old "one"'), check="wraparound",
         undo='DROP DATABASE "Old ""one"""'),
    role("a database that nobody may enter uses up the server's numbers", "database template0",
         OLD.format("template0"), check="wraparound",
         undo="ALTER DATABASE template0 ALLOW_CONNECTIONS false"),
    role("a login's limit of connections is reached", "role srvc_owner",
         "ALTER ROLE srvc_owner CONNECTION LIMIT 1", check="connections",
         undo="ALTER ROLE srvc_owner CONNECTION LIMIT -1",
         hidden="the sessions counted are those of the login that looks"),
]  # fmt: skip
