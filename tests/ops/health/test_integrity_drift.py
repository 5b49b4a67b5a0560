"""A schema other than the models declare is found, named, and made again by what is told."""

from __future__ import annotations

import shlex

from django.core.management import call_command

from ops.health.checks.drift import schema_drift
from ops.models import Severity
from ops.rls.triggers import unguarded_functions
from tests.ops.health.conftest import Patient

# The fault; what is found: key, severity, title.
FAULTS = [
    (
        "DROP INDEX jobs_scheduled",
        ("public.jobs.jobs_scheduled", Severity.WARNING,
         "The index jobs_scheduled of public.jobs is missing"),
    ),
    (
        "ALTER TABLE jobs DROP CONSTRAINT jobs_customer_same_account",
        ("public.jobs.jobs_customer_same_account", Severity.CRITICAL,
         "The constraint jobs_customer_same_account of public.jobs is missing"),
    ),
    (
        "DROP INDEX user_email",
        ("public.users.user_email", Severity.CRITICAL,
         "The unique constraint user_email of public.users is missing"),
    ),
    (
        "ALTER TABLE accounts DROP CONSTRAINT account_currency",
        ("public.accounts.account_currency", Severity.CRITICAL,
         "The constraint account_currency of public.accounts is missing"),
    ),
    (
        "ALTER TABLE auth_permission DROP CONSTRAINT {foreign key}",
        ("public.auth_permission.content_type_id foreign key", Severity.CRITICAL,
         "The foreign key of content_type_id of public.auth_permission is missing"),
    ),
    (
        "DROP INDEX django_session_expire_date_a5c62663",
        ("public.django_session.expire_date index", Severity.WARNING,
         "The index on expire_date of public.django_session is missing"),
    ),
    (
        "DROP INDEX auth_group_name_a6ea08ec_like",
        ("public.auth_group.name like", Severity.WARNING,
         "The index on name of public.auth_group is missing"),
    ),
    (
        "DROP POLICY job_member ON jobs",
        ("public.jobs.job_member", Severity.CRITICAL,
         "The policy job_member of public.jobs is missing"),
    ),
    (
        "ALTER TABLE jobs ALTER COLUMN title DROP NOT NULL",
        ("public.jobs.title null", Severity.WARNING,
         "The column public.jobs.title may be NULL, other than the model says"),
    ),
    (
        "ALTER TABLE users ALTER COLUMN account_id SET NOT NULL",
        ("public.users.account_id null", Severity.WARNING,
         "The column public.users.account_id may not be NULL, other than the model says"),
    ),
    (
        "ALTER TABLE accounts ALTER COLUMN currency TYPE text",
        ("public.accounts.currency type", Severity.WARNING,
         "The column public.accounts.currency has another type"),
    ),
    (
        "ALTER TABLE products DROP COLUMN description",
        ("public.products.description", Severity.CRITICAL,
         "The column public.products.description is missing"),
    ),
    (
        "ALTER TABLE jobs ADD COLUMN colour text NOT NULL",
        ("public.jobs.colour", Severity.CRITICAL, "The column public.jobs.colour is of no model"),
    ),
    (
        "DROP TABLE django_admin_log",
        ("public.django_admin_log", Severity.CRITICAL,
         "The table public.django_admin_log is missing"),
    ),
    (
        "ALTER TABLE django_session DROP CONSTRAINT django_session_pkey",
        ("public.django_session.primary key", Severity.CRITICAL,
         "The primary key public.django_session.primary key is missing"),
    ),
]  # fmt: skip


def test_a_migrated_database_has_what_models_declare(patient: Patient) -> None:
    assert patient.found(schema_drift) == {}
    # Wider than declared is what the end of a sequence asks for.
    patient.execute("ALTER TABLE accounts ALTER COLUMN payment_days TYPE integer")
    assert patient.found(schema_drift) == {}


def test_whatever_is_changed_by_hand_is_named_and_mended_as_told(patient: Patient) -> None:
    ((name,),) = patient.execute(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'auth_permission'::regclass"
        " AND contype = 'f'"
    )
    patient.execute(
        "SET ROLE srvc_owner", *(fault.replace("{foreign key}", name) for fault, _ in FAULTS)
    )
    found = patient.found(schema_drift)
    told = {(key, each.severity, each.title) for key, each in found.items()}
    assert told == {expected for _, expected in FAULTS}
    index = found["public.jobs.jobs_scheduled"]
    assert 'CREATE INDEX CONCURRENTLY "jobs_scheduled" ON "jobs" ' in index.next_step
    for each in found.values():
        for statement in each.next_step.split(";\n"):
            patient.execute("SET ROLE srvc_owner", statement)
    left = patient.found(schema_drift)
    # What is of no model is kept until somebody has looked at it.
    assert {key: each.severity for key, each in left.items()} == {
        "public.jobs.colour": Severity.INFO
    }


def test_a_trigger_is_installed_again_without_opening_a_way_around_it(
    patient: Patient,
) -> None:
    ((name,),) = patient.execute(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'jobs'::regclass"
        " AND tgname LIKE 'pgtrigger_touch_updated_at%'"
    )
    patient.execute(f"DROP TRIGGER {name} ON jobs")
    (told,) = patient.found(schema_drift).values()
    assert (told.severity, told.title) == (
        Severity.CRITICAL, f"The trigger {name} of public.jobs is missing",
    )  # fmt: skip
    for command in told.next_step.split(" && "):
        _, *arguments = shlex.split(command)
        call_command(*arguments, verbosity=0)
    assert patient.found(schema_drift) == {}
    assert unguarded_functions("owner") == []


def test_tables_and_columns_of_no_model(patient: Patient) -> None:
    patient.execute(
        'CREATE TABLE "Old jobs" (id int PRIMARY KEY)',
        "CREATE SCHEMA reports", "CREATE TABLE reports.theirs (n int)",
        "ALTER TABLE jobs ADD COLUMN colour text",
    )  # fmt: skip
    found = patient.found(schema_drift)
    assert {key: each.severity for key, each in found.items()} == {
        "public.Old jobs": Severity.INFO,
        "public.jobs.colour": Severity.INFO,
    }
    assert found["public.Old jobs"].title == "The table public.Old jobs is of no model"
    assert found["public.Old jobs"].next_step == 'SELECT * FROM public."Old jobs" LIMIT 20;'
    patient.execute(*(each.next_step for each in found.values()))
