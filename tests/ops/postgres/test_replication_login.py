"""srvc_replication takes base backups and handles slots, and can do nothing else."""

import dataclasses
import tarfile
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors, sql
from pytest_django import Settings

from ops.backups.wal.slot import kept_wal
from ops.postgres import configuration, roles
from ops.postgres.embedded import EmbeddedServer
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ServerError
from ops.postgres.processes import StreamingProcess
from ops.postgres.provisioning import Provisioning, provision
from tests.harness import database

PASSWORDS = dict.fromkeys(roles.LOGINS, "it's a s/cret")


def replicator(server: EmbeddedServer) -> Endpoint:
    return Endpoint(
        host=str(server.socket),
        port="5432",
        user=roles.REPLICATION,
        database="replication",
        password=PASSWORDS[roles.REPLICATION],
        options={"replication": "true"},
    )


@pytest.fixture
def provisioned(embedded: EmbeddedServer) -> EmbeddedServer:
    """Return a running embedded server with every role."""
    embedded.start()
    provision(Provisioning(embedded.connection, "srvc", PASSWORDS))
    return embedded


def test_there_is_none_where_settings_name_none(settings: Settings) -> None:
    settings.REPLICATION_URL = ""
    assert Endpoint.replication() is None


def test_it_takes_a_base_backup_as_a_stream(fresh_database: str) -> None:
    there = Endpoint.replication()
    assert there is not None
    with (
        # Other tests write so much that the server would remove the WAL this one fetches last.
        kept_wal(there, fresh_database) as is_kept,
        StreamingProcess(
            there.program("pg_basebackup"), *there.arguments(), "--no-password",
            "--pgdata", "-", "--format", "tar", "--wal-method", "fetch", "--checkpoint", "fast",
            environment=there.environment(),
        ) as process,
    ):  # fmt: skip
        assert is_kept
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            names = {member.name for member in archive}
        process.stdout.read()
        process.finish(60)
    assert {"backup_label", "PG_VERSION", "global/pg_control"} <= names
    assert any(name.startswith("pg_wal/0") for name in names)


@pytest.fixture
def slot(fresh_database: str) -> Iterator[str]:
    """Return the name of a slot, dropped afterwards whatever happened."""
    yield fresh_database
    with database.connect() as connection:
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            " WHERE slot_name = %s",
            [fresh_database],
        )


def test_it_makes_and_drops_slots_which_the_owner_watches(slot: str) -> None:
    there = Endpoint.replication()
    assert there is not None
    name = sql.Identifier(slot)
    with there.connect() as walsender, Endpoint.of("owner").connect() as owner:
        walsender.execute(sql.SQL("CREATE_REPLICATION_SLOT {} PHYSICAL").format(name))
        seen = "SELECT slot_type, active FROM pg_replication_slots WHERE slot_name = %s"
        assert owner.execute(seen, [slot]).fetchall() == [("physical", False)]
        walsender.execute(sql.SQL("DROP_REPLICATION_SLOT {}").format(name))
        assert owner.execute(seen, [slot]).fetchall() == []


def test_it_owns_nothing_and_belongs_to_nobody(fresh_database: str) -> None:
    with database.connect(fresh_database) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication,"
            " EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid OR roleid = r.oid),"
            " EXISTS (SELECT FROM pg_shdepend WHERE refobjid = r.oid),"
            " has_database_privilege(r.oid, current_database(), 'CONNECT')"
            " FROM pg_roles r WHERE rolname = 'srvc_replication'"
        ).fetchone()
    assert row == (False, False, False, False, True, False, False, False)


def test_it_enters_no_database_of_the_embedded_server(provisioned: EmbeddedServer) -> None:
    replicator(provisioned).connect().close()
    for name in ("srvc", "postgres", "template1"):
        there = replicator(provisioned).at(name)
        for options in ({}, {"replication": "database"}):
            with pytest.raises(ServerError, match=r"pg_hba\.conf rejects connection"):
                dataclasses.replace(there, options=options).connect()


def test_a_cluster_of_an_earlier_version_learns_of_it_and_keeps_its_own_lines(
    provisioned: EmbeddedServer,
) -> None:
    provisioned.stop()
    file = provisioned.home / "pg_hba.conf"
    earlier = configuration.ACCESS + "local  all  auditor  reject\n"
    file.write_text(earlier)
    for _ in range(2):
        provisioned.start()
        assert file.read_text() == (
            "local  replication  srvc_replication  scram-sha-256\n"
            "local  all          srvc_replication  reject\n" + earlier
        )
        replicator(provisioned).connect().close()
        provisioned.stop()


def test_the_owner_ends_a_segment_and_names_a_moment(fresh_database: str) -> None:
    owner = Endpoint.of("owner")
    with owner.at(roles.MAINTENANCE_DATABASE).connect() as connection:
        before, named, switched = connection.execute(
            "SELECT pg_current_wal_lsn(), pg_create_restore_point('before'), pg_switch_wal()"
        ).fetchone() or ("", "", "")
    assert "" not in {before, named, switched}
    # Granted in the database itself it would be in every dump, and fail in every restore.
    with owner.connect() as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("SELECT pg_switch_wal()")


def test_without_a_password_nobody_signs_in_as_it_and_that_is_said(
    embedded: EmbeddedServer,
) -> None:
    embedded.start()
    said: list[str] = []
    passwords = {roles.OWNER: "o", roles.APP: "a"}
    assert provision(Provisioning(embedded.connection, "srvc", passwords), said.append) == []
    assert said[0] == roles.NO_REPLICATION_PASSWORD
    with psycopg.connect(**embedded.connection) as connection:
        row = connection.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'srvc_replication'"
        ).fetchone()
    assert row == (None,)


def test_a_server_without_the_maintenance_database_is_told_apart_from_a_failure(
    embedded: EmbeddedServer,
) -> None:
    embedded.start()
    with psycopg.connect(
        **{**embedded.connection, "dbname": "template1"}, autocommit=True
    ) as connection:
        connection.execute("DROP DATABASE postgres")
    admin = {**embedded.connection, "dbname": "template1"}
    warnings = provision(Provisioning(admin, "srvc", PASSWORDS))
    assert [warning.split(":")[0] for warning in warnings] == [
        "WAL will be shipped only when a segment is full",
        "There will be no named moments to restore to",
    ]
