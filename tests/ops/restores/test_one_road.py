"""One restore procedure: what `verify --deep` and `drill` prove is what `restore` brings back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from ops.backups.dump_restore import procedure
from ops.backups.dump_restore.administrator_needs import LEFT_OUT_DETAIL, needs_of
from ops.backups.dump_restore.contents import Step
from ops.backups.manifest import Manifest
from ops.backups.verify import ask_for_verification, verify_backup
from ops.models import Backup, BackupState, DrillVerdict, Restore, RestoreState
from ops.postgres import server
from ops.postgres.endpoint import Endpoint
from ops.postgres.roles import MAINTENANCE_DATABASE
from ops.restores.complete.beside import database_beside, name_beside
from ops.restores.errors import RefusedError, UnequalError
from ops.runs import OWNER
from tests.harness import database, run
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.restores.drilling import rehearse, states
from tests.ops.restores.restorable import Restorable, made_restorable


@pytest.fixture(scope="module")
def reporting(worker_id: str) -> Iterator[str]:
    """A role that owns what srvc_owner does not; it outlives the databases of the tests."""
    name = f"{run.name()}_{worker_id}_reporting"
    with database.connect() as connection:
        connection.execute(f'DROP ROLE IF EXISTS "{name}"'.encode())
        connection.execute(f'CREATE ROLE "{name}"'.encode())
    yield name
    with database.connect() as connection:
        connection.execute(f'DROP ROLE "{name}"'.encode())


@pytest.fixture
def live(backups: Backups) -> Iterator[Restorable]:
    with made_restorable(backups) as found:
        yield found


@pytest.fixture
def administrator(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an operator sets for one command."""
    monkeypatch.setenv("DATABASE_ADMIN_URL", make_conninfo(**database.admin()))


def as_owner(live: Restorable, *statements: str) -> None:
    with Endpoint.of(OWNER).connect() as connection:
        for statement in statements:
            connection.execute(statement.encode())


def prove(backup: Backup) -> Backup:
    verify_backup(ask_for_verification(backup, by=ASKER, deep=True))
    return Backup.objects.get(pk=backup.pk)


def test_a_step_that_is_left_out_is_noticed_by_verify_by_drill_and_by_restore(
    live: Restorable, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = live.backups.take(kind="full")
    whole = procedure.load

    def without_indexes(contents: Any, steps: Sequence[Step], *rest: Any, **choices: Any) -> None:
        if Step.INDEXES not in steps:
            whole(contents, steps, *rest, **choices)

    monkeypatch.setattr(procedure, "load", without_indexes)

    with pytest.raises(UnequalError):
        live.restore(backup)
    assert live.beside() == []
    assert prove(backup).state == BackupState.FAILED
    drilled = rehearse(backup)
    assert drilled.verdict == DrillVerdict.FAILED
    assert states(drilled)["structure"] == "failed"


def test_an_extension_comes_back_in_its_own_schema_and_version(live: Restorable) -> None:
    as_owner(
        live,
        "CREATE SCHEMA extensions",
        "CREATE EXTENSION hstore SCHEMA extensions VERSION '1.7'",
        "CREATE TABLE public.attributes (id int PRIMARY KEY, facts extensions.hstore)",
        "INSERT INTO public.attributes VALUES (1, 'a=>1')",
        "CREATE INDEX ON public.attributes USING gin (facts)",
        "COMMENT ON EXTENSION hstore IS 'the shop''s own'",
    )
    backup = live.backups.take(kind="full")
    before = live.proof()

    assert prove(backup).state == BackupState.PROVEN
    live.restore(backup)

    assert live.differences(before) == []
    assert (
        live.scalar(
            "SELECT n.nspname || ' ' || e.extversion FROM pg_extension e"
            " JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'hstore'"
        )
        == "extensions 1.7"
    )
    assert live.scalar(
        "SELECT obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname = 'hstore'"
    ) == ("the shop's own")


def test_an_extension_that_the_template_has_elsewhere_is_moved(
    live: Restorable, administrator: None
) -> None:
    live.backups.execute("CREATE SCHEMA extensions AUTHORIZATION srvc_owner")
    live.backups.execute("ALTER EXTENSION pg_trgm SET SCHEMA extensions")
    backup = live.backups.take(kind="full")

    # pg_stat_statements and amcheck come with the template, which does not fit this backup.
    named = {name for need in needs_of(Manifest.of_row(backup.manifest)) for name in need.objects}
    assert named == {"extension amcheck", "extension pg_stat_statements"}
    assert prove(backup).state == BackupState.PROVEN
    live.restore(backup)
    assert (
        live.scalar("SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname ="
                    " 'pg_trgm'")
        == "extensions"
    )  # fmt: skip


FOREIGN = """
    CREATE FUNCTION public.noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
    CREATE EVENT TRIGGER dba_audit ON ddl_command_end EXECUTE FUNCTION public.noted();
    CREATE TABLE public.figures (id int PRIMARY KEY, total numeric);
    INSERT INTO public.figures VALUES (1, 2.5);
    GRANT SELECT ON public.figures TO srvc_owner;
    ALTER TABLE public.figures OWNER TO "{reporting}";
    ALTER DEFAULT PRIVILEGES FOR ROLE "{reporting}" GRANT SELECT ON TABLES TO srvc_owner;
    CREATE PUBLICATION everything FOR ALL TABLES;
    GRANT EXECUTE ON FUNCTION public.pg_stat_statements_reset(oid, oid, bigint, boolean)
        TO srvc_member;
"""
FOREIGN_OBJECTS = {
    "event trigger dba_audit",
    "table public.figures",
    "publication everything",
    "function public.pg_stat_statements_reset",
}


def plant(live: Restorable, reporting: str) -> None:
    statements = FOREIGN.replace("{reporting}", reporting)
    if live.scalar("SELECT current_setting('server_version_num')::int") < 170_000:
        statements = statements.replace("bigint, boolean", "bigint")
    live.backups.execute(statements)


def test_what_the_owner_cannot_make_again_is_known_refused_and_restored_by_an_administrator(
    reporting: str, live: Restorable, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(live, reporting)
    backup = live.backups.take(kind="full")
    before = live.proof()

    needs = needs_of(Manifest.of_row(backup.manifest))
    named = {name.partition("(")[0] for need in needs for name in need.objects}
    assert named >= FOREIGN_OBJECTS
    assert any("default" in need.reason for need in needs)

    found = prove(backup)
    assert found.state == BackupState.PROVEN
    assert "event trigger dba_audit" in found.state_note
    drilled = rehearse(backup)
    assert "failed" not in states(drilled).values()

    with pytest.raises(RefusedError) as caught:
        live.restore(found)
    assert "event trigger dba_audit" in str(caught.value)
    assert "DATABASE_ADMIN_URL" in str(caught.value)
    assert Restore.objects.get().beside == ""
    assert live.beside() == []

    monkeypatch.setenv("DATABASE_ADMIN_URL", make_conninfo(**database.admin()))
    assert live.restore(found).state == RestoreState.SWAPPED
    assert live.differences(before) == []


def test_an_object_that_no_manifest_named_is_named_and_an_administrator_brings_it_back(
    reporting: str, live: Restorable, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(live, reporting)
    with monkeypatch.context() as older:
        older.setattr("ops.backups.logical.restore_details", lambda *_: {})
        backup = live.backups.take(kind="full")
    before = live.proof()

    found = prove(backup)
    assert found.state == BackupState.VERIFIED
    assert "FUNCTION noted()" in found.state_note
    with pytest.raises(RefusedError, match="FUNCTION noted"):
        live.restore(backup)
    assert live.beside() == []

    monkeypatch.setenv("DATABASE_ADMIN_URL", make_conninfo(**database.admin()))
    live.restore(backup)
    assert live.differences(before) == []


def test_an_ordinary_database_needs_no_administrator(live: Restorable) -> None:
    details = Manifest.of_row(live.backups.take(kind="full").manifest).details
    assert needs_of(Manifest.of_row(Backup.objects.get().manifest)) == []
    assert LEFT_OUT_DETAIL not in details


def test_triggers_of_a_partitioned_table_do_not_fire_on_restored_rows(live: Restorable) -> None:
    leaves = range(8)
    as_owner(
        live,
        "CREATE TABLE public.readings (id int, part int, seen int DEFAULT 0)"
        " PARTITION BY LIST (part)",
        *(
            f"CREATE TABLE public.readings_{n} PARTITION OF public.readings FOR VALUES IN ({n})"
            for n in leaves
        ),
        "INSERT INTO public.readings SELECT n, n % 8 FROM generate_series(1, 20000) AS n",
        "CREATE FUNCTION public.touched() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN new.seen := new.seen + 1; RETURN new; END'",
        "CREATE TRIGGER touched BEFORE INSERT ON public.readings FOR EACH ROW"
        " EXECUTE FUNCTION public.touched()",
    )
    backup = live.backups.take(kind="full")
    live.restore(backup, jobs=4)
    assert live.scalar("SELECT sum(seen) FROM public.readings") == 0


def test_a_table_that_its_owner_may_not_write_comes_back_with_its_rows(live: Restorable) -> None:
    as_owner(
        live,
        "CREATE TABLE public.sealed (id int)",
        "INSERT INTO public.sealed VALUES (1)",
        "REVOKE INSERT, UPDATE ON public.sealed FROM srvc_owner",
    )
    backup = live.backups.take(kind="full")
    before = live.proof()
    assert prove(backup).state == BackupState.PROVEN
    live.restore(backup)
    assert live.differences(before) == []


def test_a_table_that_cannot_be_analyzed_is_named_and_ends_nothing(live: Restorable) -> None:
    as_owner(
        live,
        "CREATE TABLE public.fragile (id int)",
        "CREATE FUNCTION public.refuses(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
        " 'BEGIN IF $1 > 10 THEN RAISE ''never''; END IF; RETURN $1; END'",
        "CREATE STATISTICS public.of_fragile ON (public.refuses(id)) FROM public.fragile",
        "INSERT INTO public.fragile SELECT generate_series(1, 20)",
    )
    backup = live.backups.take(kind="full")
    row = live.restore(backup)
    assert row.state == RestoreState.SWAPPED
    assert "public.fragile" in row.note
    # The others have what the planner needs.
    assert live.scalar("SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'accounts'") or (
        live.scalar("SELECT count(*) FROM public.accounts") == 0
    )


SUBSCRIBED = (
    "CREATE SUBSCRIPTION {name} CONNECTION 'host=nowhere.invalid' PUBLICATION everything"
    " WITH (connect = false, slot_name = 'elsewhere')"
)


def fail_with_a_subscription(live: Restorable, name: str) -> bool:
    """Fail in the middle of a restore beside; return whether its database is still there."""
    endpoint = Endpoint.of(OWNER)
    with endpoint.at(MAINTENANCE_DATABASE).connect() as session:
        try:
            with database_beside(session, endpoint, name):
                with database.connect(name) as connection:
                    connection.execute(SUBSCRIBED.format(name=f"{live.name}_staged").encode())
                raise UnequalError("It is not equal.")
        except UnequalError as error:
            told = name in str(error)
        is_there = server.database_exists(session, name)
    assert told == is_there
    return is_there


def end_subscription(live: Restorable, name: str) -> None:
    live.backups.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
    live.backups.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
    live.backups.execute(f"DROP SUBSCRIPTION {name}")


def test_a_subscription_is_told_and_the_backup_is_good(live: Restorable) -> None:
    name = f"{live.name}_feed"
    live.backups.execute(SUBSCRIBED.format(name=name))
    try:
        backup = live.backups.take(kind="full")
        details = Manifest.of_row(backup.manifest).details
        assert details[LEFT_OUT_DETAIL] == [f"subscription {name}"]
        assert prove(backup).state == BackupState.PROVEN
        with pytest.raises(RefusedError, match=name):
            live.restore(backup)  # it would go on writing into the old one
    finally:
        end_subscription(live, name)
    before = live.proof()
    live.restore(backup)
    assert live.differences(before) == []


def test_a_staging_database_with_a_subscription_is_dropped(
    live: Restorable, administrator: None
) -> None:
    assert not fail_with_a_subscription(live, name_beside(live.name, "restore", "subscribed"))


def test_a_staging_database_that_stays_is_named(live: Restorable) -> None:
    name = name_beside(live.name, "restore", "subscribed")
    # The owner's login may not end what a superuser made.
    assert fail_with_a_subscription(live, name)
    with database.connect(name) as connection:
        for change in ("DISABLE", "SET (slot_name = NONE)"):
            connection.execute(f"ALTER SUBSCRIPTION {live.name}_staged {change}".encode())
        connection.execute(f"DROP SUBSCRIPTION {live.name}_staged".encode())
