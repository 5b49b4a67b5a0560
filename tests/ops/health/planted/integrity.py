"""Definitions that changed, constraints that don't hold, sequences that give taken numbers."""

from __future__ import annotations

from tests.ops.health.planted.fault import Fault, Looks, mends

PARENT = "CREATE TABLE reports.parent (id int PRIMARY KEY)"
SCHEMA = "CREATE SCHEMA reports"
CHILD = "CREATE TABLE reports.child (id int PRIMARY KEY, parent int)"
LOOKS = Looks()
JOBS = "table public.jobs"

FAULTS = [
    Fault(
        "a crash empties a table", "unlogged_tables", "reports.Some",
        (SCHEMA, 'CREATE UNLOGGED TABLE reports."Some" (id int)'), mends('table reports."Some"'),
    ),
    Fault(
        "a declared index is dropped",
        "schema_drift", "public.jobs.jobs_scheduled", ("DROP INDEX public.jobs_scheduled",),
        mends("index public.jobs_scheduled"),
    ),
    Fault(
        "a declared index is dropped, and a schema of the owner's name has a table of that name",
        "schema_drift", "public.jobs.jobs_scheduled",
        ("RESET ROLE", "CREATE SCHEMA srvc_owner AUTHORIZATION srvc_owner", "SET ROLE srvc_owner",
         "CREATE TABLE srvc_owner.jobs (LIKE public.jobs)", "DROP INDEX public.jobs_scheduled"),
        mends("index public.jobs_scheduled"),
    ),
    Fault(
        "a declared policy is dropped",
        "schema_drift", "public.jobs.job_member", ("DROP POLICY job_member ON public.jobs",),
        mends("policy job_member on public.jobs"),
    ),
    Fault(
        "a policy of no model is added",
        "foreign_objects", "policy added on public.jobs",
        ("CREATE POLICY added ON public.jobs TO srvc_member USING (title = 'x')",),
        mends("policy added on public.jobs"),
    ),
    Fault(
        "a policy is given to another role",
        "altered_definitions", "policy job_member on public.jobs",
        ("ALTER POLICY job_member ON public.jobs TO srvc_public",),
        mends("policy job_member on public.jobs"),
    ),
    Fault(
        "a column may be NULL that may not",
        "schema_drift", "public.jobs.title null",
        ("ALTER TABLE public.jobs ALTER COLUMN title DROP NOT NULL",),
        mends("column public.jobs.title"),
    ),
    Fault(
        "a column is of another type",
        "schema_drift", "public.jobs.title type",
        ("ALTER TABLE public.jobs ALTER COLUMN title TYPE text",),
        mends("column public.jobs.title", "constraint job_title on public.jobs"),
    ),
    Fault(
        "a table of no model stands in public",
        "schema_drift", "public.Old jobs", ('CREATE TABLE public."Old jobs" (id int PRIMARY KEY)',),
        LOOKS,
    ),
    Fault(
        "a column of no model",
        "schema_drift", "public.jobs.colour", ("ALTER TABLE public.jobs ADD COLUMN colour text",),
        LOOKS,
    ),
    Fault(
        "a foreign key that was never compared with old rows",
        "invalid_constraints", "reports.child.to_parent",
        (SCHEMA, PARENT, CHILD,
         ("ALTER TABLE reports.child ADD CONSTRAINT to_parent FOREIGN KEY (parent)"
         " REFERENCES reports.parent NOT VALID")),
        mends("constraint to_parent on reports.child"),
    ),
    Fault(
        "a check that was never compared with old rows, of a table whose name has to be quoted",
        "invalid_constraints", 'reports.My "own".some',
        (SCHEMA, 'CREATE TABLE reports."My ""own""" (id int PRIMARY KEY)',
         'ALTER TABLE reports."My ""own""" ADD CONSTRAINT "some" CHECK (id > 0) NOT VALID'),
        mends('constraint "some" on reports."My ""own"""'),
    ),
    Fault(
        "an index whose building failed",
        "invalid_indexes", "reports.half",
        (SCHEMA, PARENT, "CREATE INDEX half ON reports.parent ((id + 1))", "RESET ROLE",
         "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'reports.half'::regclass"),
        mends("index reports.half"),
    ),
    Fault(
        "an index of a partitioned table that not every part has",
        "invalid_indexes", "reports.whole",
        (SCHEMA, "CREATE TABLE reports.p (a int PRIMARY KEY) PARTITION BY RANGE (a)",
         "CREATE TABLE reports.p1 PARTITION OF reports.p FOR VALUES FROM (0) TO (9)",
         "CREATE INDEX whole ON ONLY reports.p ((a + 1))"),
        mends("index reports.whole", "index reports.p1_expr_idx"),
    ),
    Fault(
        "a trigger is switched off",
        "disabled_triggers", "reports.parent.kept",
        (SCHEMA, PARENT,
         ("CREATE TRIGGER kept BEFORE UPDATE ON reports.parent FOR EACH ROW"
         " EXECUTE FUNCTION suppress_redundant_updates_trigger()"),
         "ALTER TABLE reports.parent DISABLE TRIGGER kept"),
        mends("trigger kept on reports.parent"),
    ),
    Fault(
        "a foreign key is switched off beside a trigger that always fires",
        "disabled_triggers", "reports.child.to_parent",
        (SCHEMA, PARENT, CHILD,
         ("ALTER TABLE reports.child ADD CONSTRAINT to_parent FOREIGN KEY (parent)"
         " REFERENCES reports.parent"), "RESET ROLE",
         "ALTER TABLE reports.child DISABLE TRIGGER ALL",
         ("CREATE TRIGGER kept BEFORE UPDATE ON reports.child FOR EACH ROW"
         " EXECUTE FUNCTION suppress_redundant_updates_trigger()"),
         "ALTER TABLE reports.child ENABLE ALWAYS TRIGGER kept"),
        mends("disabled system triggers of reports.child"),
    ),
    Fault(
        "a sequence gives numbers that are taken",
        "sequences", "reports.parent_id_seq reports.parent.id",
        (SCHEMA, ("CREATE TABLE reports.parent (id int GENERATED BY DEFAULT AS IDENTITY"
         " PRIMARY KEY)"), "INSERT INTO reports.parent VALUES (7)"),
        mends(), deep=True,
    ),
    Fault(
        "a sequence is near the end of its column",
        "sequences", "reports.small_id_seq end",
        (SCHEMA, "CREATE TABLE reports.small (id smallserial PRIMARY KEY)",
         "SELECT setval('reports.small_id_seq', 32000)"),
        mends("column reports.small.id", "sequence reports.small_id_seq"), deep=True,
    ),
    Fault(
        "a table has no primary key",
        "missing_primary_keys", "reports.loose", (SCHEMA, "CREATE TABLE reports.loose (a int)"),
        mends("column reports.loose.id", "constraint loose_pkey on reports.loose",
              "index reports.loose_pkey", "sequence reports.loose_id_seq"),
    ),
    Fault(
        "a column is of a type that pg_upgrade refuses",
        "unsupported_types", "reports.names.of",
        (SCHEMA, "CREATE TABLE reports.names (id int PRIMARY KEY, of regproc)"),
        mends("column reports.names.of"),
    ),
    Fault(
        "a row names a parent that is gone",
        "orphans", "reports.child.to_parent",
        (SCHEMA, PARENT, CHILD, "INSERT INTO reports.child VALUES (1, 9)",
         ("ALTER TABLE reports.child ADD CONSTRAINT to_parent FOREIGN KEY (parent)"
         " REFERENCES reports.parent NOT VALID")),
        LOOKS, deep=True,
    ),
    Fault(
        "a migration is applied that the code does not know",
        "migrations", "crm unknown",
        (("INSERT INTO public.django_migrations (app, name, applied)"
         " VALUES ('crm', '9999_of_tomorrow', now())"),),
        LOOKS,
    ),
]  # fmt: skip
