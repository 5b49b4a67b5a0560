"""`manage.py explain` refuses what is not one SELECT that only reads, and nothing has happened."""

from __future__ import annotations

import pytest
from django.db import connections

from tests.factories import make_business
from tests.harness import database
from tests.ops.health.commanding import Manage
from tests.ops.health.conftest import Patient

# What is given, and what is said about it.
REFUSED = [
    ("DELETE FROM victims", "It changes victims (DELETE)."),
    ("INSERT INTO victims VALUES (2)", "It changes victims (INSERT)."),
    ("UPDATE victims SET id = 3", "It changes victims (UPDATE)."),
    ("WITH gone AS (DELETE FROM victims RETURNING id) SELECT * FROM gone", "(DELETE)"),
    ("SELECT * FROM victims FOR UPDATE", "It locks rows (FOR UPDATE, FOR SHARE)."),
    ("SELECT 1; DELETE FROM victims", "These are several statements."),
    ("SELECT 1; COMMIT", "These are several statements."),
    ("COMMIT", 'PostgreSQL can\'t explain it: syntax error at or near "COMMIT".'),
    ("DROP TABLE victims", 'syntax error at or near "DROP"'),
    ("TRUNCATE victims", 'syntax error at or near "TRUNCATE"'),
    ("ANALYZE SELECT 1", 'syntax error at or near "ANALYZE"'),
    ("SET ROLE srvc_admin", 'syntax error at or near "SET"'),
    ("DO $$ BEGIN DELETE FROM victims; END $$", 'syntax error at or near "DO"'),
    ("COPY victims TO PROGRAM 'id'", 'syntax error at or near "COPY"'),
    ("CREATE TABLE stolen AS SELECT * FROM victims", "It is no SELECT alone."),
    ("CREATE MATERIALIZED VIEW stolen AS SELECT 1", "It is no SELECT alone."),
    ("SELECT * INTO stolen FROM victims", "It is no SELECT alone."),
    ("DECLARE c CURSOR FOR SELECT 1", "It is no SELECT alone."),
    ("SELECT pg_terminate_backend(0)", "It calls pg_terminate_backend, which may do more"),
    ("SELECT * FROM (VALUES (pg_cancel_backend(0)), (true)) v", "It calls pg_cancel_backend,"),
    ("SELECT 1 LIMIT length(set_config('role', 'srvc_admin', true))", "It calls set_config,"),
    ('SELECT "pg_advisory_lock" /* why /* not */ */ (1)', "It calls pg_advisory_lock,"),
    ('SELECT U&"\\0070g_advisory_lock"(1)', "a name with Unicode escapes"),
    ("SELECT nextval('victims_id_seq')", "It calls nextval,"),
    ("SELECT pg_read_file('/etc/passwd')", "pg_read_file"),
    ("SELECT pg_notify('a', 'b')", "It calls pg_notify,"),
    ("SELECT lo_unlink(1)", "It calls lo_unlink,"),
    ("SELECT query_to_xml('DELETE FROM victims', true, true, '')", "It calls query_to_xml,"),
    ("SELECT * FROM nowhere", 'PostgreSQL refused it: relation "nowhere" does not exist.'),
    ("SELECT", None),  # a row without columns: fine
    (" ; ", "There is no statement."),
]


def test_what_is_no_reading_select_is_refused(patient: Patient, manage: Manage) -> None:
    patient.execute(
        "CREATE TABLE victims (id serial)",
        "INSERT INTO victims VALUES (1)",
        "GRANT ALL ON victims TO srvc_owner, srvc_member, srvc_admin",
        "GRANT ALL ON SEQUENCE victims_id_seq TO srvc_owner",
        "GRANT CREATE ON SCHEMA public TO srvc_owner",
    )
    for sql, said in REFUSED:
        for analyze in ([], ["--analyze"]):
            ended = manage("explain", sql, *analyze)
            if said is None:
                assert ended.status == 0, ended
                continue
            assert (ended.status, said in ended.err) == (1, True), (sql, analyze, ended)
            assert "Nothing was" in ended.err
            assert "Traceback" not in ended.err
    assert patient.execute("SELECT id FROM victims") == [(1,)]
    assert patient.execute("SELECT last_value, is_called FROM victims_id_seq") == [(1, False)]
    assert patient.execute("SELECT to_regclass('stolen')") == [(None,)]
    # In this database: others of the server belong to other tests.
    held = (
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND objid = 1"
    )
    assert patient.execute(held) == [(0,)]


def test_what_is_executed_can_not_write_whatever_it_calls(patient: Patient, manage: Manage) -> None:
    # Declared as one that changes nothing, and it tries.
    patient.execute(
        "CREATE TABLE victims (id int)",
        "GRANT ALL ON victims TO srvc_owner",
        "CREATE FUNCTION accomplice() RETURNS int VOLATILE LANGUAGE sql AS"
        " 'INSERT INTO victims VALUES (1) RETURNING 1'",
        "CREATE FUNCTION liar() RETURNS int STABLE LANGUAGE plpgsql AS"
        " 'BEGIN RETURN accomplice(); END'",
        "CREATE FUNCTION honest() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT 1'",
    )
    ended = manage("explain", "SELECT liar() FROM generate_series(1, 2)", "--analyze")
    assert ended.status == 1
    assert "It writes (cannot execute INSERT in a read-only transaction)." in ended.err
    # People's own are volatile unless they say otherwise: planned, but not executed.
    assert manage("explain", "SELECT honest() + id FROM victims").status == 0
    ended = manage("explain", "SELECT honest() + id FROM victims", "--analyze")
    assert (ended.status, "It calls honest, which may do more than read." in ended.err) == (1, True)


def test_a_superuser_executes_nothing(
    patient: Patient, manage: Manage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections["owner"].close()
    arguments = database.admin()
    monkeypatch.setitem(connections["owner"].settings_dict, "USER", arguments["user"])
    ended = manage("explain", "SELECT 1", "--analyze")
    assert ended.status == 1
    assert "is a superuser, and no SQL is executed as one." in ended.err
    assert manage("explain", "SELECT 1").status == 0


def test_what_takes_too_long_or_waits_is_stopped(patient: Patient, manage: Manage) -> None:
    ended = manage("explain", "SELECT pg_sleep(60)", "--analyze", "--limit", "0.2")
    assert ended.status == 1
    assert "It took longer than 0.2 s and was stopped. Nothing was changed." in ended.err
    with database.connect(patient.name) as holder:
        holder.autocommit = False
        holder.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        ended = manage("explain", "SELECT * FROM jobs")
        holder.rollback()
    assert ended.status == 1
    assert "A table that it reads is locked by another session." in ended.err


def test_wrong_usage_and_unknown_people_are_told(patient: Patient, manage: Manage) -> None:
    owner = make_business()
    for arguments, status, said in [
        ([], 2, "One statement, in quotes, or --file, or - for standard input."),
        (["SELECT 1", "SELECT 2"], 2, "One statement"),
        (["SELECT 1", "--limit", "0"], 2, "--limit is more than 0 s"),
        (["--file", "/nowhere.sql"], 2, "can't be read: No such file or directory."),
        (["SELECT 1", "--as", "nobody@example.com"], 1, "Nobody signs in as nobody@example.com."),
        (["SELECT * FROM ops_recoveryrow", "--as", owner.email], 1, "permission denied for table"),
    ]:
        ended = manage("explain", *arguments)
        assert (ended.status, said in ended.err) == (status, True), (arguments, ended)
