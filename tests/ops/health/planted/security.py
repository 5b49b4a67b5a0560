"""Row security that is off or open, views and functions past it."""

from __future__ import annotations

from tests.ops.health.planted.fault import Fault, mends

SCHEMA = "CREATE SCHEMA reports"
COPY = "CREATE TABLE reports.customers AS TABLE public.customers"
NOTES = "CREATE TABLE public.notes (id bigint PRIMARY KEY, user_id bigint, text text)"
FUNCTION = "CREATE FUNCTION reports.free() RETURNS int LANGUAGE sql"

FAULTS = [
    Fault(
        "row security is off on a table of accounts",
        "row_security", "public.jobs", ("ALTER TABLE public.jobs DISABLE ROW LEVEL SECURITY",),
        mends("table public.jobs"),
    ),
    Fault(
        "row security does not hold for the owner",
        "row_security", "public.jobs", ("ALTER TABLE public.jobs NO FORCE ROW LEVEL SECURITY",),
        mends("table public.jobs"),
    ),
    Fault(
        "a copy of customers in another schema is within reach of members",
        "unprotected_tables", "reports.customers",
        (SCHEMA, COPY, "GRANT SELECT ON reports.customers TO srvc_member"),
        mends("grants on table reports.customers", "policy customers_admin on reports.customers",
              "policy customers_member on reports.customers", "table reports.customers"),
    ),
    Fault(
        "a table of accounts has no policies",
        "unprotected_tables", "public.notes",
        (NOTES, "GRANT SELECT ON public.notes TO srvc_member"),
        mends("grants on table public.notes", "policy notes_admin on public.notes",
              "policy notes_member on public.notes", "table public.notes"),
    ),
    Fault(
        "a column of accounts has a name that has to be quoted, in another schema",
        "missing_policies", "reports.customers.srvc_member",
        (SCHEMA, COPY, "ALTER TABLE reports.customers ENABLE ROW LEVEL SECURITY",
         "CREATE POLICY everything ON reports.customers TO srvc_admin USING (true)"),
        mends("grants on table reports.customers",
              "policy customers_srvc_member on reports.customers", "table reports.customers"),
    ),
    Fault(
        "history lost its policy",
        "missing_policies", "public.jobs_history.srvc_member",
        ("DROP POLICY jobs_history_member ON public.jobs_history",),
        mends("grants on table public.jobs_history",
              "policy jobs_history_srvc_member on public.jobs_history"),
    ),
    Fault(
        "visitors may read a table that has no policy for them",
        "missing_policies", "public.quotes.srvc_public",
        ("GRANT SELECT ON public.quotes TO srvc_public",),
        mends("grants on table public.quotes"),
    ),
    Fault(
        "a table has row security and not one policy",
        "missing_policies", "reports.shut",
        (SCHEMA, "CREATE TABLE reports.shut (id int PRIMARY KEY)",
         "ALTER TABLE reports.shut ENABLE ROW LEVEL SECURITY"),
        mends("table reports.shut"),
    ),
    Fault(
        "two policies for one role",
        "overlapping_policies", "public.jobs.srvc_member",
        ("CREATE POLICY again ON public.jobs TO srvc_member USING (title = 'x')",),
        mends("policy again on public.jobs"),
    ),
    Fault(
        "a policy lets everybody see everything",
        "open_policies", "public.jobs.wide",
        ("CREATE POLICY wide ON public.jobs TO srvc_member USING (true)",),
        mends("policy wide on public.jobs"),
    ),
    Fault(
        "a policy asks a function for every row",
        "policies_per_row", "reports.t.slow",
        (SCHEMA, "CREATE TABLE reports.t (id int PRIMARY KEY, whose text)",
         "ALTER TABLE reports.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
         ("CREATE POLICY slow ON reports.t TO srvc_member"
         " USING (whose = current_setting('app.account_id', true))")),
        mends("policy slow on reports.t"),
    ),
    Fault(
        "no index starts with a policy's column",
        "policies_without_index", "reports.t.whose",
        (SCHEMA, "CREATE TABLE reports.t (id int PRIMARY KEY, whose bigint)",
         "ALTER TABLE reports.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
         ("CREATE POLICY theirs ON reports.t TO srvc_member USING"
         " (whose = (SELECT current_setting('app.account_id', true)::bigint))")),
        mends("index reports.t_whose_idx"),
    ),
    Fault(
        "a view reads with its owner's rights",
        "views_past_policies", "reports.all_jobs",
        (SCHEMA, "CREATE VIEW reports.all_jobs AS SELECT * FROM public.jobs",
         "GRANT SELECT ON reports.all_jobs TO srvc_member"),
        mends("view reports.all_jobs"),
    ),
    Fault(
        "a materialized view of all accounts is within reach",
        "unprotected_copies", "reports.all_jobs",
        (SCHEMA, "CREATE MATERIALIZED VIEW reports.all_jobs AS SELECT * FROM public.jobs",
         "GRANT SELECT ON reports.all_jobs TO srvc_member"),
        mends("grants on table reports.all_jobs"),
    ),
    Fault(
        "a definer function has no search_path and everybody may call it",
        "definer_functions", "reports.free()",
        (SCHEMA, f"{FUNCTION} SECURITY DEFINER AS 'SELECT 1'"),
        mends("function reports.free()", "grants on function reports.free()"),
    ),
    Fault(
        "a function takes its caller's search_path",
        "function_search_paths", "reports.free()", (SCHEMA, f"{FUNCTION} AS 'SELECT 1'"),
        mends("function reports.free()"),
    ),
    Fault(
        "an extension is in a schema where members may create",
        "extensions_within_reach", "pgstattuple",
        (SCHEMA, "RESET ROLE", "CREATE EXTENSION pgstattuple SCHEMA reports", "SET ROLE srvc_owner",
         "GRANT CREATE ON SCHEMA reports TO srvc_member"),
        mends("grants on schema reports"),
    ),
    Fault(
        "an extension is behind the server's version",
        "extension_versions", "pgstattuple",
        (SCHEMA, "RESET ROLE", "CREATE EXTENSION pgstattuple SCHEMA reports VERSION '1.4'"),
        mends(),
    ),
]  # fmt: skip
