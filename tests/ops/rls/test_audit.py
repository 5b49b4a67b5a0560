"""A login or a table that row security does not hold is found, with the SQL that mends it."""

from collections.abc import Iterator

import pytest
from django.core.checks import run_checks
from django.db import connection
from psycopg import sql

from ops.rls.audit import RowSecurityError, audit_login, audit_tables, require_safe_login
from tests.harness import database


@pytest.fixture
def login(fresh_database: str) -> Iterator[str]:
    """Return a login of this test's own, provisioned as srvc_app is."""
    name = f"{fresh_database}_app"
    with database.connect(fresh_database) as admin:
        ident = sql.Identifier(name)
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}").format(ident, database.PASSWORD)
        )
        for role in ("srvc_member", "srvc_admin", "srvc_public"):
            how = " WITH INHERIT FALSE, SET TRUE" if admin.info.server_version >= 160000 else ""
            admin.execute(
                sql.SQL("GRANT {} TO {}" + how).format(sql.Identifier(role), ident)  # type: ignore[arg-type]
            )
        admin.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                sql.Identifier(fresh_database), ident
            )
        )
    connection.close()
    before = connection.settings_dict["USER"]
    connection.settings_dict["USER"] = name
    try:
        yield name
    finally:
        connection.close()
        connection.settings_dict["USER"] = before
        with database.connect(fresh_database) as admin:
            admin.execute(sql.SQL("REASSIGN OWNED BY {} TO srvc_owner").format(ident))
            admin.execute(sql.SQL("DROP OWNED BY {}").format(ident))
            admin.execute(sql.SQL("DROP ROLE {}").format(ident))


def as_superuser(name: str, statement: str) -> None:
    with database.connect(name) as admin:
        admin.execute(statement)  # type: ignore[arg-type]


@pytest.mark.django_db
def test_our_own_login_and_tables_are_in_order() -> None:
    assert audit_login() == []
    assert audit_tables() == []
    assert run_checks(tags=["database"], databases=["default"]) == []


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("SUPERUSER", "is a superuser"),
        ("BYPASSRLS", "has BYPASSRLS"),
        ("CREATEROLE", "has CREATEROLE"),
        ("REPLICATION", "has REPLICATION"),
    ],
)
def test_a_login_with_a_powerful_attribute_is_refused(
    fresh_database: str, login: str, attribute: str, words: str
) -> None:
    as_superuser(fresh_database, f'ALTER ROLE "{login}" {attribute}')
    (finding,) = audit_login()
    assert finding.id == "ops.E101"
    assert finding.message == (f"{login} {words}, so rows of one account would be open to another.")
    assert finding.hint == f'As a superuser run: ALTER ROLE "{login}" NO{attribute};'
    with pytest.raises(RowSecurityError, match=words):
        require_safe_login(connection)
    messages = run_checks(tags=["database"], databases=["default"])
    assert [message.id for message in messages] == ["ops.E101"]
    # The hint is the fix.
    as_superuser(fresh_database, finding.hint.removeprefix("As a superuser run: "))
    assert audit_login() == []


def test_a_login_that_owns_a_table_is_refused(fresh_database: str, login: str) -> None:
    as_superuser(fresh_database, f'ALTER TABLE jobs OWNER TO "{login}"')
    (finding,) = audit_login()
    assert finding.id == "ops.E102"
    assert finding.message == (
        f"{login} owns 1 table(s) such as jobs, and an owner may switch row security off."
    )
    as_superuser(fresh_database, finding.hint.partition(": ")[2])
    assert audit_login() == []


def test_a_login_that_inherits_a_requests_role_is_refused(fresh_database: str, login: str) -> None:
    as_superuser(fresh_database, f'ALTER ROLE "{login}" INHERIT')
    with database.connect() as admin:
        if admin.info.server_version >= 160000:
            admin.execute(f'GRANT srvc_admin TO "{login}" WITH INHERIT TRUE')  # type: ignore[arg-type]
    findings = audit_login()
    assert {finding.id for finding in findings} == {"ops.E103"}
    assert f"{login} has the rights of srvc_admin all the time, not for a request only." in {
        finding.message for finding in findings
    }


def test_a_login_that_may_become_the_owner_is_refused(fresh_database: str, login: str) -> None:
    as_superuser(fresh_database, f'GRANT srvc_owner TO "{login}"')
    (finding,) = [each for each in audit_login() if "srvc_owner" in each.message]
    assert finding.id == "ops.E103"
    assert finding.hint == f'As a superuser run: REVOKE "srvc_owner" FROM "{login}";'


def test_a_login_without_the_requests_roles_is_refused(fresh_database: str, login: str) -> None:
    as_superuser(fresh_database, f'REVOKE srvc_member FROM "{login}"')
    (finding,) = audit_login()
    assert (finding.id, finding.message) == (
        "ops.E104",
        f"{login} may not become srvc_member, so no request could be answered.",
    )


def test_a_table_whose_policies_are_off_is_found(fresh_database: str) -> None:
    for off in ("DISABLE", "NO FORCE"):
        as_superuser(fresh_database, f"ALTER TABLE jobs {off} ROW LEVEL SECURITY")
        (finding,) = audit_tables()
        assert (finding.id, finding.message) == (
            "ops.E105",
            "The policies of jobs are switched off.",
        )
        as_superuser(fresh_database, finding.hint.partition(": ")[2])
        assert audit_tables() == []


def test_a_right_that_nobody_declared_is_found(fresh_database: str) -> None:
    as_superuser(fresh_database, "GRANT SELECT ON django_session TO srvc_member")
    (finding,) = audit_tables()
    assert (finding.id, finding.message) == (
        "ops.E106",
        (
            "django_session has no row policies, and its grants are not those of "
            "settings.RLS_TABLE_GRANTS."
        ),
    )


@pytest.mark.parametrize(
    "statement",
    [
        "GRANT UPDATE (phase) ON ops_run TO srvc_admin",
        "REVOKE UPDATE (cancel_asked_by) ON ops_run FROM srvc_admin",
        "GRANT SELECT (name) ON ops_backup TO srvc_member",
    ],
)
def test_a_right_on_a_column_that_differs_from_the_settings_is_found(
    fresh_database: str, statement: str
) -> None:
    as_superuser(fresh_database, statement)
    assert [each.id for each in audit_tables()] == ["ops.E106"]


def test_a_new_table_that_nobody_thought_of_is_found(fresh_database: str) -> None:
    as_superuser(fresh_database, "CREATE TABLE forgotten (id int)")
    (finding,) = audit_tables()
    assert (finding.id, finding.message) == (
        "ops.W101",
        "forgotten has neither row policies nor grants: only srvc_owner reaches it.",
    )
    as_superuser(fresh_database, "GRANT SELECT ON forgotten TO PUBLIC")
    assert [each.id for each in audit_tables()] == ["ops.E106"]


def test_a_database_that_does_not_answer_is_said(fresh_database: str) -> None:
    connection.close()
    before = connection.settings_dict["PORT"]
    connection.settings_dict["PORT"] = "1"
    try:
        (message,) = run_checks(tags=["database"], databases=["default"])
    finally:
        connection.settings_dict["PORT"] = before
    assert message.id == "ops.E100"
