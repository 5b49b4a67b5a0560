"""Rows whose parent is gone are found, for every reference there is, and nothing else is."""

from __future__ import annotations

import psycopg
import pytest
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.test.utils import isolate_apps

from ops.health.checks import references
from ops.health.checks.rows import orphans
from ops.health.steps import needs_superuser
from ops.models import CheckState, Severity
from tests.ops.health.conftest import Patient


def test_a_migrated_database_has_none(patient: Patient) -> None:
    assert patient.found(orphans, deep=True) == {}


def test_a_parent_deleted_with_triggers_off_is_named_and_the_rows_are_shown(
    patient: Patient,
) -> None:
    patient.execute(
        "SET ROLE srvc_owner",
        'CREATE TABLE "Parent" (a int, b int, PRIMARY KEY (a, b))',
        'CREATE TABLE child (id int PRIMARY KEY, "B" int, a int,'
        ' CONSTRAINT to_parent FOREIGN KEY (a, "B") REFERENCES "Parent")',
        'INSERT INTO "Parent" VALUES (1, 1), (2, 2)',
        "INSERT INTO child VALUES (1, 1, 1), (2, 2, 2), (3, NULL, 2), (4, 9, NULL), (5, 2, 2)",
    )
    assert patient.found(orphans, deep=True) == {}
    patient.execute("SET session_replication_role = replica", 'DELETE FROM "Parent" WHERE a = 2')
    (told,) = patient.found(orphans, deep=True).values()
    assert (told.key, told.severity) == ("public.child.to_parent", Severity.CRITICAL)
    assert told.title == "public.child has rows whose parent in public.Parent is gone"
    assert told.detail.startswith("2 rows: a, B = 2, 2; 2, 2. The foreign key to_parent says")
    assert told.subject == "table public.child"
    assert [row[0] for row in patient.execute(told.next_step)] == [2, 5]
    patient.execute('INSERT INTO "Parent" VALUES (2, 2)')
    assert patient.found(orphans, deep=True) == {}


def test_rows_older_than_a_key_that_is_not_valid_are_looked_at(patient: Patient) -> None:
    patient.execute(
        "SET ROLE srvc_owner",
        "CREATE TABLE tree (id int PRIMARY KEY, parent int)",
        "INSERT INTO tree SELECT n, n + 1 FROM generate_series(1, 1500) n ORDER BY n DESC",
        "INSERT INTO tree VALUES (2000, NULL)",
        "UPDATE tree SET parent = 3000 WHERE id <= 1200",
        "ALTER TABLE tree ADD CONSTRAINT to_itself FOREIGN KEY (parent) REFERENCES tree NOT VALID",
    )
    (told,) = patient.found(orphans, deep=True).values()
    assert told.key == "public.tree.to_itself"
    assert told.detail.startswith("More than 1,000 rows: parent = 1501; 3000; 3000.")


def test_partitions_are_looked_at_as_one_table_and_inheritance_as_keys_mean_it(
    patient: Patient,
) -> None:
    patient.execute(
        "SET ROLE srvc_owner",
        "CREATE TABLE parent (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE parent_1 PARTITION OF parent FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE parent_2 PARTITION OF parent DEFAULT",
        "CREATE TABLE child (id int, parent int CONSTRAINT to_parent REFERENCES parent)"
        " PARTITION BY LIST (id)",
        "CREATE TABLE child_1 PARTITION OF child DEFAULT",
        "INSERT INTO parent VALUES (1), (11)",
        "INSERT INTO child VALUES (1, 1), (2, 11)",
        "CREATE TABLE plain (id int PRIMARY KEY)",
        "CREATE TABLE heir () INHERITS (plain)",
        "INSERT INTO heir VALUES (7)",
        "CREATE TABLE guest (plain int CONSTRAINT to_plain REFERENCES plain)",
    )
    assert patient.found(orphans, deep=True) == {}
    patient.execute(
        "SET session_replication_role = replica",
        "DELETE FROM parent WHERE id = 11",
        "INSERT INTO guest VALUES (7)",  # of the heir: no parent to the key
    )
    found = patient.found(orphans, deep=True)
    assert sorted(found) == ["public.child.to_parent", "public.guest.to_plain"]
    assert patient.execute(found["public.child.to_parent"].next_step) == [(2, 11)]


def test_a_reference_over_time_has_to_be_covered(patient: Patient) -> None:
    ((number,),) = patient.execute("SELECT current_setting('server_version_num')::int / 10000")
    statements = (
        "SET ROLE srvc_owner",
        "CREATE TABLE contract (id int, valid daterange, PRIMARY KEY (id, valid WITHOUT OVERLAPS))",
        "CREATE TABLE visit (contract int, during daterange)",
        (
            "ALTER TABLE visit ADD CONSTRAINT in_contract FOREIGN KEY (contract, PERIOD during)"
            " REFERENCES contract (id, PERIOD valid)"
        ),
    )
    if number < 18:
        with pytest.raises(psycopg.errors.SyntaxError):
            patient.execute(*statements)
        return
    patient.execute("CREATE EXTENSION btree_gist", *statements)
    patient.execute(
        "INSERT INTO contract VALUES (1, '[2026-01-01,2026-02-01)')",
        "INSERT INTO contract VALUES (1, '[2026-02-01,2026-03-01)')",
        "INSERT INTO visit VALUES (1, '[2026-01-20,2026-02-10)')",
    )
    assert patient.found(orphans, deep=True) == {}
    patient.execute(
        "SET session_replication_role = replica",
        "DELETE FROM contract WHERE valid @> '2026-02-02'::date",
    )
    (told,) = patient.found(orphans, deep=True).values()
    assert told.key == "public.visit.in_contract"
    assert len(patient.execute(told.next_step)) == 1


def test_references_that_only_models_know_of(patient: Patient) -> None:
    patient.execute(
        "SET ROLE srvc_owner",
        "ALTER TABLE jobs DROP CONSTRAINT jobs_customer_same_account",
    )
    patient.execute(
        "SET session_replication_role = replica",
        "INSERT INTO jobs (user_id, number, customer_id, title) VALUES (1, 1, 99, 'Nobody''s')",
        # A history outlives what it is of, and its model says so.
        "SET session_replication_role = origin",
        "UPDATE jobs SET title = 'Still nobody''s'",
    )
    found = patient.found(orphans, deep=True)
    assert {key.rsplit(".", 1)[0] for key in found} == {"public.jobs"}
    told = found["public.jobs.customer_id"]
    assert told.detail.startswith(
        "1 row: customer_id = 99. The model crm.Job, without a foreign key in the database, says"
    )


@isolate_apps("crm")
def test_generic_relations(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tag(models.Model):
        content_type = models.ForeignKey(ContentType, models.CASCADE, db_constraint=False)
        object_id = models.TextField()
        tagged = GenericForeignKey()

        class Meta:
            app_label = "crm"
            db_table = "tags"

        def __str__(self) -> str:
            return self.object_id

    monkeypatch.setattr(references, "declared_models", lambda: [Tag])
    patient.execute(
        "SET ROLE srvc_owner",
        "CREATE TABLE tags (id int PRIMARY KEY, content_type_id int, object_id text)",
        "INSERT INTO tags SELECT 1, id, '55' FROM django_content_type WHERE model = 'group'",
        "INSERT INTO auth_group VALUES (55, 'new')",
    )
    assert patient.found(orphans, deep=True) == {}
    patient.execute("DELETE FROM auth_group WHERE id = 55")
    (told,) = patient.found(orphans, deep=True).values()
    assert told.key == "public.tags.object_id auth.group"
    assert told.title == "public.tags has rows whose parent in public.auth_group is gone"
    assert "The generic relation crm.Tag.tagged says" in told.detail
    assert len(patient.execute(told.next_step)) == 1
    patient.execute("UPDATE tags SET content_type_id = -1")
    (told,) = patient.found(orphans, deep=True).values()
    assert told.key == "public.tags.content_type_id"


def test_a_table_that_may_not_be_read_is_told_with_the_grant(patient: Patient) -> None:
    patient.execute(
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE theirs (parent int CONSTRAINT to_parent REFERENCES parent)",
    )
    outcome = patient.run(orphans, deep=True)
    assert outcome.state == CheckState.BLIND
    (told,) = outcome.reported
    assert needs_superuser(told.next_step)
    patient.execute(told.next_step)
    assert patient.found(orphans, deep=True) == {}
