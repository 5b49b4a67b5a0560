"""Functions that act for others or can be led astray, and extensions, are told with what mends."""

from __future__ import annotations

from ops.health.checks.functions import (
    definer_functions,
    extension_versions,
    extensions_within_reach,
    function_search_paths,
)
from ops.models import Severity
from tests.ops.health.conftest import Patient


def test_a_function_with_its_owners_rights_needs_a_path_and_known_callers(patient: Patient) -> None:
    assert patient.found(definer_functions) == {}
    patient.execute(
        "CREATE FUNCTION peek(a integer, b text) RETURNS bigint LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT count(*) FROM jobs'",
        "CREATE FUNCTION closed() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "REVOKE ALL ON FUNCTION closed() FROM PUBLIC",
        "CREATE PROCEDURE fixed() LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp"
        " AS 'SELECT 1'",
        "REVOKE ALL ON PROCEDURE fixed() FROM PUBLIC",
        "GRANT EXECUTE ON PROCEDURE fixed() TO srvc_member",
        # Known by settings, for administrators alone.
        "CREATE FUNCTION ops_activity(integer) RETURNS integer LANGUAGE sql SECURITY DEFINER"
        " SET search_path = public, pg_temp AS 'SELECT 1'",
        "REVOKE ALL ON FUNCTION ops_activity(integer) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION ops_activity(integer) TO srvc_admin",
    )
    found = patient.found(definer_functions)
    assert {key: each.severity for key, each in found.items()} == {
        "public.peek(a integer, b text)": Severity.CRITICAL,
        "public.closed()": Severity.WARNING,
        "public.fixed()": Severity.CRITICAL,
    }
    assert found["public.peek(a integer, b text)"].title == (
        "public.peek(a integer, b text) acts with the rights of postgres and has no search_path of "
        "its own and may be called by everybody"
    )
    assert (
        found["public.fixed()"].next_step
        == "REVOKE ALL ON ROUTINE public.fixed() FROM srvc_member;"
    )
    patient.execute(*(each.next_step for each in found.values()))
    assert patient.found(definer_functions) == {}


def test_a_function_that_takes_its_callers_search_path_is_told(patient: Patient) -> None:
    assert patient.found(function_search_paths) == {}
    trigger = patient.execute(
        "SELECT min(oid::regprocedure::text) FROM pg_proc WHERE proname LIKE 'pgtrigger_%'"
    )[0][0]
    patient.execute(
        "CREATE FUNCTION free() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION bound() RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
        f"ALTER FUNCTION {trigger} RESET search_path",
    )
    found = patient.found(function_search_paths)
    assert {key: each.severity for key, each in found.items()} == {
        "public.free()": Severity.WARNING,
        "public.bound()": Severity.INFO,
        f"public.{trigger}": Severity.CRITICAL,
    }
    assert found["public.free()"].next_step == (
        "ALTER ROUTINE public.free() SET search_path = public, pg_temp;"
    )
    assert found[f"public.{trigger}"].next_step == "manage.py migrate"
    patient.execute(
        found["public.free()"].next_step,
        found["public.bound()"].next_step,
        f"ALTER FUNCTION {trigger} SET search_path = public, pg_temp",
    )
    assert patient.found(function_search_paths) == {}


def test_an_extension_is_told_only_where_others_may_create(patient: Patient) -> None:
    assert patient.found(extensions_within_reach) == {}
    patient.execute(
        "CREATE SCHEMA shared", "CREATE EXTENSION citext SCHEMA shared",
        "GRANT CREATE ON SCHEMA shared TO PUBLIC, srvc_member",
    )  # fmt: skip
    (found,) = patient.found(extensions_within_reach).values()
    assert (found.key, found.severity) == ("citext", Severity.WARNING)
    assert found.title == (
        "The extension citext is in shared, where everybody and srvc_member may create objects"
    )
    patient.execute(found.next_step)
    assert patient.found(extensions_within_reach) == {}


def test_an_extension_that_is_behind_the_server_is_told(patient: Patient) -> None:
    assert patient.found(extension_versions) == {}
    patient.execute("CREATE EXTENSION pgstattuple VERSION '1.4'")
    (found,) = patient.found(extension_versions).values()
    assert (found.key, found.severity) == ("pgstattuple", Severity.WARNING)
    assert found.detail == "The database has 1.4, the server 1.5."
    assert found.next_step.endswith("ALTER EXTENSION pgstattuple UPDATE;")
    patient.execute(found.next_step)
    assert patient.found(extension_versions) == {}
    # An upgrade that left its files behind.
    patient.execute("UPDATE pg_extension SET extname = 'gone' WHERE extname = 'pgstattuple'")
    (found,) = patient.found(extension_versions).values()
    assert found.title == "The server has no files for the extension gone"
    patient.execute("UPDATE pg_extension SET extname = 'pgstattuple' WHERE extname = 'gone'")
