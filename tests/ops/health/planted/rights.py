"""Rights that everybody has, or that nobody declared."""

from __future__ import annotations

from tests.ops.health.planted.fault import Fault, mends

SCHEMA = "CREATE SCHEMA reports"
CARDS = "CREATE TABLE reports.cards (id bigint PRIMARY KEY, card_number text)"

FAULTS = [
    Fault(
        "members read files of the server", "system_functions", "functions srvc_member",
        ("RESET ROLE", "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO srvc_member"),
        mends("grants on function pg_catalog.pg_read_file(pg_catalog.text)"),
    ),
    Fault(
        "a function of the server's own language", "untrusted_functions",
        "public.added(integer, integer)",
        ("RESET ROLE",
         "CREATE FUNCTION public.added(int, int) RETURNS int LANGUAGE internal AS 'int4pl'"),
        mends("function public.added(integer, integer)"),
    ),
    Fault(
        "everybody reads a table",
        "public_rights", "public.jobs", ("GRANT SELECT ON public.jobs TO PUBLIC",),
        mends("grants on table public.jobs"),
    ),
    Fault(
        "everybody changes a column",
        "public_rights", "public.quotes",
        ("GRANT UPDATE (title), INSERT (title) ON public.quotes TO PUBLIC",),
        mends("grants on columns of public.quotes"),
    ),
    Fault(
        "everybody reads a table without policies, of another schema",
        "public_rights", "reports.auth_group",
        (SCHEMA, "CREATE TABLE reports.auth_group (id int PRIMARY KEY)",
         "GRANT SELECT ON reports.auth_group, public.auth_group TO PUBLIC"),
        mends("grants on table reports.auth_group"),
    ),
    Fault(
        "everybody uses a sequence",
        "public_rights", "public.jobs_id_seq",
        ("GRANT USAGE ON SEQUENCE public.jobs_id_seq TO PUBLIC",),
        mends("grants on sequence public.jobs_id_seq"),
    ),
    Fault(
        "everybody creates in public",
        "public_rights", "schema public.PUBLIC",
        ("RESET ROLE", "ALTER SCHEMA public OWNER TO srvc_owner", "SET ROLE srvc_owner",
         "GRANT CREATE ON SCHEMA public TO PUBLIC"),
        mends("grants on schema public"),
    ),
    Fault(
        "members create in a schema",
        "public_rights", "schema reports.srvc_member",
        (SCHEMA, "GRANT CREATE ON SCHEMA reports TO srvc_member"),
        mends("grants on schema reports"),
    ),
    Fault(
        "everybody enters the database",
        "public_rights", "database", ("GRANT CONNECT ON DATABASE {database} TO PUBLIC",), mends(),
    ),
    Fault(
        "everybody will read tables made tomorrow",
        "public_rights", "defaults srvc_owner.public.TABLES",
        ("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC",),
        mends("default privileges of srvc_owner in schema public for tables"),
    ),
    Fault(
        "a role of a request has rights that nobody declared",
        "undeclared_rights", "public.django_session",
        ("GRANT DELETE ON public.django_session TO srvc_member",),
        mends("grants on table public.django_session"),
    ),
    Fault(
        "members may empty a table",
        "undeclared_rights", "public.jobs.srvc_member",
        ("GRANT TRUNCATE ON public.jobs TO srvc_member",),
        mends("grants on table public.jobs"),
    ),
    Fault(
        "a role that is not ours has rights",
        "undeclared_rights", "role pg_monitor",
        ("GRANT SELECT ON public.jobs, public.customers TO pg_monitor",),
        mends("grants on table public.customers", "grants on table public.jobs"),
    ),
    Fault(
        "a member reads card numbers",
        "sensitive_columns", "reports.cards.srvc_member",
        (SCHEMA, CARDS, "GRANT SELECT (card_number) ON reports.cards TO srvc_member"),
        mends("grants on columns of reports.cards"),
    ),
    Fault(
        "a role that is not ours reads card numbers",
        "sensitive_columns", "reports.cards.pg_monitor",
        (SCHEMA, CARDS, "GRANT SELECT ON reports.cards TO pg_monitor"),
        mends("grants on table reports.cards"),
    ),
    Fault(
        "everybody reads passwords",
        "sensitive_columns", "public.users.PUBLIC",
        ("GRANT SELECT (password) ON public.users TO PUBLIC",),
        mends("grants on columns of public.users"),
    ),
]  # fmt: skip
