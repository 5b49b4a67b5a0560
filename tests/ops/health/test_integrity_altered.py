"""What says something else than migrations made it say is found, and mended as told."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ops.backups.fingerprint import definitions
from ops.health.checks.altered import altered_definitions, foreign_objects
from ops.health.contract import Reported
from ops.health.schema import recorded as file
from ops.models import CheckState, Severity
from tests.harness import database
from tests.ops.backups.copies import dump_and_restore
from tests.ops.health.conftest import Patient

CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
# Names that pgtrigger gives.
FROZEN = "pgtrigger_b_frozen_9a411"
TOUCH = "pgtrigger_touch_updated_at_81e4d"
NOTHING = "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"

# The fault, what is found, how bad it is.
ALTERED = [
    ("ALTER POLICY job_member ON jobs USING (user_id > 0)",
     "policy job_member on public.jobs", CRITICAL),
    ("ALTER POLICY payment_member ON payments WITH CHECK (user_id > 0)",
     "policy payment_member on public.payments", CRITICAL),
    ("ALTER POLICY quote_member ON quotes TO PUBLIC",
     "policy quote_member on public.quotes", CRITICAL),
    (("DROP POLICY invoice_admin ON invoices;"
     " CREATE POLICY invoice_admin ON invoices AS RESTRICTIVE TO srvc_admin USING (true)"),
     "policy invoice_admin on public.invoices", CRITICAL),
    (("DROP POLICY customer_admin ON customers;"
     " CREATE POLICY customer_admin ON customers FOR SELECT TO srvc_admin USING (true)"),
     "policy customer_admin on public.customers", CRITICAL),
    (("ALTER TABLE payment_allocations DROP CONSTRAINT payment_allocation_amount,"
     " ADD CONSTRAINT payment_allocation_amount CHECK (amount > -1000)"),
     "constraint payment_allocation_amount on public.payment_allocations", CRITICAL),
    (("ALTER TABLE jobs DROP CONSTRAINT jobs_customer_same_account,"
     " ADD CONSTRAINT jobs_customer_same_account FOREIGN KEY (user_id, customer_id)"
     " REFERENCES customers (user_id, id) ON DELETE CASCADE"),
     "constraint jobs_customer_same_account on public.jobs", CRITICAL),
    (f"CREATE OR REPLACE FUNCTION {FROZEN}() {NOTHING} SET search_path = public, pg_temp",
     f"function public.{FROZEN}()", CRITICAL),
    ((f"CREATE OR REPLACE TRIGGER {TOUCH} BEFORE DELETE ON jobs"
     f" FOR EACH ROW EXECUTE FUNCTION {TOUCH}()"),
     f"trigger {TOUCH} on public.jobs", CRITICAL),
    ("ALTER FUNCTION ops_activity() RESET search_path",
     "function public.ops_activity()", CRITICAL),
    (("CREATE OR REPLACE FUNCTION _pgtrigger_should_ignore(trigger_name name) RETURNS boolean"
     " LANGUAGE sql STABLE SET search_path = public, pg_temp AS 'SELECT true'"),
     "function public._pgtrigger_should_ignore(name)", CRITICAL),
    ("ALTER TABLE accounts ALTER COLUMN payment_days SET DEFAULT 1",
     "default public.accounts.payment_days", WARNING),
    ("ALTER TABLE jobs ALTER COLUMN status DROP DEFAULT",
     "default public.jobs.status", WARNING),
    ("ALTER TABLE users ALTER COLUMN is_superuser SET DEFAULT true",
     "default public.users.is_superuser", WARNING),
    ("ALTER TABLE quotes ALTER COLUMN id SET GENERATED ALWAYS",
     "default public.quotes.id", WARNING),
    ("DROP INDEX jobs_scheduled; CREATE INDEX jobs_scheduled ON jobs (user_id)",
     "index jobs_scheduled on public.jobs", WARNING),
    ("DROP INDEX user_email; CREATE UNIQUE INDEX user_email ON users (email)",
     "index user_email on public.users", CRITICAL),
    ("ALTER TABLE products OWNER TO CURRENT_USER",
     "owner TABLE public.products", CRITICAL),
    (f"ALTER FUNCTION {TOUCH}() OWNER TO CURRENT_USER",
     f"owner ROUTINE public.{TOUCH}()", CRITICAL),
]  # fmt: skip

FOREIGN = [
    ("CREATE POLICY all_of_them ON customers USING (true)",
     "policy all_of_them on public.customers", CRITICAL),
    ((f"CREATE FUNCTION public.copied() {NOTHING};"
     ' CREATE TRIGGER "A copy" AFTER INSERT ON payments EXECUTE FUNCTION public.copied()'),
     'trigger "A copy" on public.payments', CRITICAL),
    ("CREATE RULE swallowed AS ON DELETE TO invoices DO INSTEAD NOTHING",
     "rule swallowed on public.invoices", CRITICAL),
    (("CREATE FUNCTION public.watched() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
     " CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION public.watched()"),
     "event trigger watching", WARNING),
    ("ALTER TABLE jobs ADD CONSTRAINT short CHECK (length(title) < 900)",
     "constraint short on public.jobs", WARNING),
    ("CREATE UNIQUE INDEX one_of_each ON jobs (user_id, title)",
     "index one_of_each on public.jobs", WARNING),
    ("CREATE FUNCTION _pgtrigger_should_ignore(text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
     "function public._pgtrigger_should_ignore(text)", WARNING),
    ("CREATE VIEW everybody AS SELECT email FROM users", "view public.everybody", INFO),
    ("CREATE MATERIALIZED VIEW kept AS SELECT 1 AS n", "view public.kept", INFO),
    ("CREATE SCHEMA aside; CREATE TABLE aside.more () INHERITS (customers)",
     "inheritance of aside.more from public.customers", CRITICAL),
]  # fmt: skip
# What these bring along.
BROUGHT = {"function public.copied()": INFO, "function public.watched()": INFO}


def major(patient: Patient) -> int:
    ((number,),) = patient.execute("SELECT current_setting('server_version_num')::int / 10000")
    return int(number)


def described(patient: Patient) -> dict[str, object]:
    connection = database.connect(patient.name)
    with connection, connection.transaction():
        return dict(definitions(connection))


def follow(patient: Patient, found: Iterable[Reported]) -> None:
    """Run each next step as a person would paste it into psql."""
    for each in found:
        if "CONCURRENTLY" in each.next_step:
            patient.execute("SET ROLE srvc_owner", *each.next_step.split("\n"))
        elif each.key.startswith(("owner", "event trigger", "inheritance")):
            patient.execute(each.next_step)
        else:
            patient.execute("SET ROLE srvc_owner", each.next_step)


def test_a_migrated_database_has_no_other_definitions(patient: Patient) -> None:
    assert patient.found(altered_definitions) == {}
    assert patient.found(foreign_objects) == {}


def test_whatever_says_something_else_is_found_and_mended_as_told(patient: Patient) -> None:
    before = described(patient)
    patient.execute(*(fault for fault, _, _ in ALTERED))
    found = patient.found(altered_definitions)
    assert {key: each.severity for key, each in found.items()} == {
        key: severity for _, key, severity in ALTERED
    }
    assert patient.found(foreign_objects) == {}
    opened = found["policy job_member on public.jobs"]
    assert "user_id > 0" in opened.detail
    assert "app.account_id" in opened.detail
    assert opened.subject == "table public.jobs"
    follow(patient, found.values())
    assert patient.found(altered_definitions) == {}
    assert described(patient) == before


def test_what_no_migration_made_is_found_and_taken_away_as_told(patient: Patient) -> None:
    before = described(patient)
    patient.execute(*(fault for fault, _, _ in FOREIGN))
    found = patient.found(foreign_objects)
    assert {key: each.severity for key, each in found.items()} == {
        key: severity for _, key, severity in FOREIGN
    } | BROUGHT
    # Their functions last: they are in use until then.
    follow(patient, sorted(found.values(), key=lambda each: each.key in BROUGHT))
    assert patient.found(foreign_objects) == {}
    patient.execute("DROP SCHEMA aside CASCADE")
    assert described(patient) == before


def test_a_number_that_counts_on_after_its_identity_was_lost(patient: Patient) -> None:
    before = described(patient)
    patient.execute(
        "INSERT INTO auth_group (name) VALUES ('one more')",
        "ALTER TABLE auth_group ALTER COLUMN id DROP IDENTITY",
    )
    found = patient.found(altered_definitions)
    assert list(found) == ["default public.auth_group.id"]
    follow(patient, found.values())
    assert patient.found(altered_definitions) == {}
    patient.execute("INSERT INTO auth_group (name) VALUES ('and another')")
    assert described(patient) == before


def test_a_column_that_is_no_longer_computed(patient: Patient) -> None:
    before = described(patient)
    patient.execute("ALTER TABLE invoices ALTER COLUMN balance DROP EXPRESSION")
    found = patient.found(altered_definitions)
    assert {key: each.severity for key, each in found.items()} == {
        "default public.invoices.balance": WARNING
    }
    follow(patient, found.values())
    assert patient.found(altered_definitions) == {}
    after = described(patient)
    assert sorted(after) == sorted(before)
    # PostgreSQL's own mark on a column made anew is another.
    assert {key for key in before if before[key] != after[key]} <= {
        "column public.invoices.balance"
    }


def test_a_column_that_is_computed_otherwise(patient: Patient) -> None:
    if major(patient) < 17:
        pytest.skip("its expression can't be altered")
    before = described(patient)
    patient.execute("ALTER TABLE invoices ALTER COLUMN balance SET EXPRESSION AS (total * 0)")
    found = patient.found(altered_definitions)
    assert list(found) == ["default public.invoices.balance"]
    follow(patient, found.values())
    assert patient.found(altered_definitions) == {}
    assert described(patient) == before


def test_a_function_that_is_gone_comes_back_closed_to_everybody_else(patient: Patient) -> None:
    before = described(patient)
    patient.execute("DROP FUNCTION ops_activity()")
    found = patient.found(altered_definitions)
    assert {key: each.severity for key, each in found.items()} == {
        "function public.ops_activity()": CRITICAL
    }
    follow(patient, found.values())
    assert patient.found(altered_definitions) == {}
    assert described(patient) == before


def test_a_function_that_takes_other_parameters_is_made_anew(patient: Patient) -> None:
    before = described(patient)
    patient.execute(
        "DROP FUNCTION _pgtrigger_should_ignore(name)",
        "CREATE FUNCTION _pgtrigger_should_ignore(anything name) RETURNS boolean"
        " LANGUAGE sql STABLE SET search_path = public, pg_temp AS 'SELECT true'",
    )
    found = patient.found(altered_definitions)
    # A superuser made it, to whom it belongs.
    assert {key: each.severity for key, each in found.items()} == {
        "function public._pgtrigger_should_ignore(name)": CRITICAL,
        "owner ROUTINE public._pgtrigger_should_ignore(name)": CRITICAL,
    }
    patient.execute(found["owner ROUTINE public._pgtrigger_should_ignore(name)"].next_step)
    follow(patient, [found["function public._pgtrigger_should_ignore(name)"]])
    assert patient.found(altered_definitions) == {}
    assert described(patient) == before


def test_with_other_migrations_than_recorded_nothing_is_called_well(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.execute("DELETE FROM django_migrations WHERE app = 'crm' AND name LIKE '0008%'")
    for check in (altered_definitions, foreign_objects):
        outcome = patient.run(check)
        assert outcome.state == CheckState.BLIND
        assert outcome.reported[0].next_step == "manage.py migrate crm"
    older = file.Recorded(frozenset(), {})
    monkeypatch.setattr("ops.health.checks.altered.recorded", lambda: older)
    assert patient.run(altered_definitions).state == CheckState.BLIND


def test_a_restored_database_is_defined_as_recorded(patient: Patient) -> None:
    """What a dump brings back is spelt otherwise here and there, and means the same."""
    name = f"{patient.name}_restored"  # dropped with the other
    dump_and_restore(patient.name, name)
    with database.pointed_at(name):
        assert Patient(name).found(altered_definitions) == {}
        assert Patient(name).found(foreign_objects) == {}
