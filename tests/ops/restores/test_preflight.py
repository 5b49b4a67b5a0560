"""What keeps a complete restore from beginning: each reason in a sentence, and nothing touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.files.storage import FileSystemStorage
from django.utils import timezone
from psycopg import sql
from pytest_django import Settings

from ops.backups.fingerprint import fingerprint
from ops.backups.logical import describe
from ops.backups.manifest import Manifest, StoredObject
from ops.backups.proof import Proof
from ops.backups.vault import Vault
from ops.models import Backup, BackupKind, BackupState
from ops.postgres import server
from ops.postgres.endpoint import Endpoint
from ops.postgres.roles import MAINTENANCE_DATABASE, template_of
from ops.restores.complete import servercheck
from ops.restores.complete.preflight import Plan, make_plan
from ops.restores.complete.sources import Source, known_source
from ops.restores.errors import RefusedError
from ops.restores.requests import RestoreRequest
from ops.rls.router import as_owner_by_default
from ops.runs import OWNER
from tests.harness import database

pytestmark = pytest.mark.django_db(databases=["default", "owner"])
NAME = "srvc-development-2026-11-22-101112-full-abcdef"
TAKEN = "2026-11-22T10:11:12+00:00"
Look = Callable[..., Plan]


@pytest.fixture
def manifest() -> Manifest:
    """The manifest of a backup of the test's database, whose objects nobody needs."""
    with Endpoint.of(OWNER).connect() as connection:
        about = describe(connection)
        proof = Proof([], [], fingerprint(connection)).as_json()
    return Manifest(
        name=NAME,
        kind=BackupKind.FULL,
        environment="development",
        taken_at=TAKEN,
        finished_at=TAKEN,
        seconds=1.0,
        objects=[StoredObject("archive", f"{NAME}.dump.zst", 10, "", 1_000)],
        proof=proof,
        programs={"pg_dump": str(about["server"]["major"])},
        **about,
    )


@pytest.fixture
def look(manifest: Manifest, settings: Settings, tmp_path: Path) -> Iterator[Look]:
    """Plan a restore of that manifest with changes to it, and with choices of the operator's."""
    settings.VAR_DIR = tmp_path
    live = Endpoint.of(OWNER)
    with database.connect() as connection:
        provided = server.database_exists(connection, template_of(live.database))
    if not provided:  # it goes with the worker's database
        database.provide_template(live.database)
    vault = Vault(FileSystemStorage(str(tmp_path)), str(tmp_path))
    with as_owner_by_default(), live.at(MAINTENANCE_DATABASE).connect() as session:

        def planned(row: Backup | None = None, *, choices: str = "", **changes: object) -> Plan:
            chosen = {key: True for key in choices.split() if "=" not in key}
            named = dict(each.split("=") for each in choices.split() if "=" in each)
            request = RestoreRequest(backup=NAME, **chosen, **named)
            changed = replace(manifest, **changes)  # type: ignore[arg-type]
            return make_plan(request, Source(changed, vault, "that backup", row), session, live)

        yield planned


def test_nothing_stands_in_the_way_of_a_backup_of_ours(look: Look) -> None:
    plan = look()
    assert (plan.refusals, plan.questions) == ((), ())
    plan.require()
    assert plan.steps[-1] == "swap the two by their names, and keep the old one for 7 days"
    assert plan.notes[0].startswith("It holds 2026-11-22 10:11:12 UTC (")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("base", f"Use: manage.py restore --to {TAKEN}"),
        ("incremental", f"Use: manage.py restore --to {TAKEN}"),
        ("media", f"Use: manage.py restore --media {NAME}"),
        ("tables", f"Use: manage.py recover {NAME} --table TABLE"),
    ],
)
def test_what_is_no_whole_database_is_refused(look: Look, kind: str, sentence: str) -> None:
    (refusal,) = look(kind=kind).refusals
    assert refusal.startswith(f"{NAME} ")
    assert refusal.endswith(f"Nothing was changed. {sentence}")


def test_what_the_owner_cannot_make_again_is_named_until_an_administrator_is(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = [{"reason": "event triggers are a superuser's", "objects": ["event trigger audit"]}]
    details = {"needs_administrator": needs, "left_out": ["subscription feed"]}
    plan = look(details=details)
    assert len(plan.refusals) == 1
    assert "event trigger audit" in plan.refusals[0]
    assert any("subscription feed" in note for note in plan.notes)

    monkeypatch.setenv("DATABASE_ADMIN_URL", "postgres://boss@db.example:5432/postgres")
    assert look(details=details).refusals == ()


def test_without_a_template_the_extensions_of_a_superuser_are_named(look: Look) -> None:
    template = template_of(Endpoint.of(OWNER).database)
    with database.connect() as connection:
        for change in ("IS_TEMPLATE false", f'RENAME TO "{template}_away"'):
            connection.execute(f'ALTER DATABASE "{template}" {change}'.encode())
        try:
            (refusal,) = look().refusals
        finally:
            connection.execute(f'ALTER DATABASE "{template}_away" RENAME TO "{template}"'.encode())
    assert "amcheck" in refusal


def test_a_backup_that_a_check_found_bad_is_refused(look: Look) -> None:
    row = Backup(name=NAME, state=BackupState.FAILED, state_note="It is cut off.")
    assert look(row).refusals == (
        (
            f"{NAME} can't be relied on: It is cut off. Nothing was changed. `manage.py verify "
            f"{NAME} --deep` looks again; `manage.py backups` lists the others."
        ),
    )
    row = Backup(name=NAME, state=BackupState.PROVEN, disproven_at=timezone.now())
    assert look(row).refusals[0].startswith(f"{NAME} can't be relied on: a check found it damaged.")
    row = Backup(name=NAME, state=BackupState.MISSING, state_note="It is gone.")
    assert look(row).refusals[0].startswith(f"{NAME} is missing: It is gone. Nothing was changed.")


def test_another_products_backup_is_refused(look: Look, manifest: Manifest) -> None:
    assert manifest.proof is not None
    other = {"digest": "", "objects": {"table public.shop_orders": "0" * 16}}
    (refusal,) = look(proof={**manifest.proof, "fingerprint": other}).refusals
    assert refusal.startswith(f"{NAME} is of another product: none of SRVC's tables is in it.")


def test_another_environments_backup_is_asked_about(look: Look) -> None:
    plan = look(environment="production")
    assert [each.option for each in plan.questions] == ["other_environment"]
    with pytest.raises(RefusedError) as caught:
        plan.require()
    assert str(caught.value) == (
        f"{NAME} is of the environment production, and this is development: its users, addresses "
        "and money would be here. Confirm that by --other-environment. Nothing was changed."
    )
    look(environment="production", choices="other_environment").require()


def test_a_backup_without_rows_is_asked_about(look: Look) -> None:
    (question,) = look(kind="schema").questions
    assert question.option == "empty"
    look(kind="schema", choices="empty").require()
    look(kind="schema", choices="as_name=looked_at").require()
    assert look(choices="empty").refusals == (
        "--empty is for backups without rows, and this one has some. Nothing was changed.",
    )


def test_a_newer_server_and_newer_code_are_refused(look: Look, manifest: Manifest) -> None:
    (refusal,) = look(server={**manifest.server, "major": 99}).refusals
    assert refusal.startswith("The backup is of PostgreSQL 99, and this server is PostgreSQL ")
    (refusal,) = look(migrations=[*manifest.migrations, "crm.9999_later"]).refusals
    assert refusal.startswith(
        "The backup is of a newer version of SRVC than this one: it has 1 migrations that this one "
        "does not know (crm.9999_later). Nothing was changed."
    )


def test_an_older_schema_is_told(look: Look, manifest: Manifest) -> None:
    plan = look(migrations=manifest.migrations[:-1])
    plan.require()
    assert f"1 migrations will be applied to what was restored ({manifest.migrations[-1]})." in (
        " ".join(plan.notes)
    )
    assert "migrate it forward" in plan.steps


def test_what_the_server_lacks_is_refused(look: Look, manifest: Manifest) -> None:
    (refusal,) = look(extensions={**manifest.extensions, "postgis": "3"}).refusals
    assert refusal.startswith("The server lacks the extension(s) postgis that the backup needs.")
    (refusal,) = look(database={**manifest.database, "encoding": "LATIN1"}).refusals
    assert refusal == (
        "The backup is of a database in LATIN1; SRVC's are in UTF8. Nothing was changed."
    )
    (refusal,) = look(
        roles={**manifest.roles, "srvc_test_reader": "NOLOGIN"},
        roles_sql="CREATE ROLE srvc_test_reader;\nALTER ROLE srvc_test_reader WITH NOLOGIN;\n",
    ).refusals
    assert refusal == (
        "The server lacks roles that the backup speaks of: srvc_test_reader. Nothing was changed. "
        "Set DATABASE_ADMIN_URL to an administrator's address for this command, or have one run: "
        "CREATE ROLE srvc_test_reader; ALTER ROLE srvc_test_reader WITH NOLOGIN;"
    )


def test_a_key_that_is_not_here_is_told(look: Look, manifest: Manifest) -> None:
    locked = replace(manifest.archive, encryption="age", recipients=["age1nobody"])
    (refusal,) = look(objects=[locked]).refusals
    assert refusal.startswith(f"{NAME} can't be opened here: ")


def test_a_disk_that_is_too_small_is_told_before(look: Look, manifest: Manifest) -> None:
    huge = replace(manifest.archive, raw_size=10**18)
    refusals = look(objects=[huge]).refusals
    assert all(" free, and restoring takes about " in each for each in refusals)
    assert refusals


def test_names_that_are_taken_or_ours_are_refused(look: Look) -> None:
    live = Endpoint.of(OWNER).database
    assert look(choices=f"as_name={live}").refusals == (
        f"{live} is the live database or one of the server's own. Nothing was changed.",
    )
    assert look(choices=f"as_name={live}_before_9").refusals == (
        (
            f"{live}_before_9 is a name that SRVC gives by itself. Nothing was changed. Choose "
            "another."
        ),
    )
    assert (
        look(choices=f"as_name={'x' * 64}")
        .refusals[0]
        .endswith("can't be a database's name (63 bytes at most). Nothing was changed.")
    )
    taken = f"taken_{live}"[:63]
    with database.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(taken)))
        try:
            assert look(choices=f"as_name={taken}").refusals == (
                (
                    f"There is a database {taken} already. Nothing was changed. Choose another "
                    "--as NAME."
                ),
            )
        finally:
            server.drop_database(connection, taken)


def test_a_login_that_may_not_make_databases_is_told(look: Look) -> None:
    live = replace(Endpoint.of(OWNER), user="srvc_app")
    with live.connect() as session:
        (refusal,) = servercheck.missing_right(session)
    assert refusal.startswith("srvc_app may not make databases (CREATEDB), so nothing can be ")


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (
            RestoreRequest(),
            "What to restore from has to be one of: a backup, a file, a moment. Nothing was done.",
        ),
        (RestoreRequest(file="/nowhere/a.dump"), ("There is no file /nowhere/a.dump. Nothing was "
         "done.")),
    ],
)  # fmt: skip
def test_asking_for_nothing_or_for_what_is_not_there_is_refused(
    request_: RestoreRequest, sentence: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        known_source(request_)
    assert str(caught.value) == sentence
