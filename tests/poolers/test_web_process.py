"""Behind a pool of one session of the server, accounts stay apart and every page works."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection, connections
from django.test import Client
from django.urls import reverse

from crm.imports.uploads import queue_import, save_upload
from crm.models import Customer, ImportRun, ImportStatus, User
from ops.checks import check_pooler
from ops.health.checks.pooling import connection_pooler
from ops.rls import reset
from ops.rls.session import acting_as
from srvc import probes, startup
from tests.admin.pages import address, sign_in
from tests.factories import account_of, make_business, make_customer
from tests.harness import database
from tests.ops.health.conftest import Patient, patient  # noqa: F401 (a fixture)
from tests.ops.rls.test_reset import LEFT, hostile, left
from tests.poolers.bouncer import Bouncer, needs_pgbouncer
from tests.poolers.conftest import Start, lead
from tests.srvc.production import python

pytestmark = needs_pgbouncer
PASSWORD = "a long pass phrase"
SERVE = "import srvc.wsgi; from django.db import connection; connection.ensure_connection()"


def business_with(customer: str) -> User:
    owner = make_business(password=PASSWORD)
    with acting_as(owner):
        make_customer(last_name=customer)
    return owner


def test_two_accounts_at_once_never_see_each_others_rows(web_behind: Bouncer) -> None:
    names = ["Anderson-of-one", "Brown-of-the-other"]
    owners = [business_with(name) for name in names]

    def visit(number: int) -> list[tuple[bool, bool]]:
        try:
            browser, seen = sign_in(owners[number]), []
            for _ in range(4):
                page = browser.get(address(Customer, "changelist")).content.decode()
                seen.append((names[number] in page, names[1 - number] in page))
            return seen
        finally:
            connections["default"].close()

    with ThreadPoolExecutor(4) as pool:
        for seen in pool.map(visit, [0, 1, 0, 1]):
            assert set(seen) == {(True, False)}


def test_signing_in_by_password_works(web_behind: Bouncer) -> None:
    owner, browser = business_with("Clark"), Client()
    form = {"username": owner.email, "password": PASSWORD}
    assert browser.post(reverse("admin:login"), form).status_code == 302
    assert "Clark" in browser.get(address(Customer, "changelist")).content.decode()


def test_nothing_that_a_request_leaves_reaches_another_client(web_behind: Bouncer) -> None:
    hostile()
    connections["default"].close()
    assert left() == []


def test_without_the_reset_it_would(start: Start) -> None:
    lead("default", start(server_reset_query_always="0"))
    hostile()
    connections["default"].close()
    assert set(left()) >= {each for each in LEFT if "loot" in each and "LISTEN" not in each}
    connections["default"].close()


def test_a_pooler_that_hands_on_sessions_is_told(start: Start) -> None:
    lead("default", start())
    assert check_pooler(None, databases=["default"]) == []
    lead("default", start(server_reset_query_always="0"))
    (message,) = check_pooler(None, databases=["default"])
    assert message.id == "ops.E123"
    assert check_pooler(None, databases=["owner"]) == []


def test_health_tells_a_pooler_that_hands_on_sessions(
    start: Start,
    patient: Patient,  # noqa: F811
) -> None:
    lead("default", start())
    assert patient.found(connection_pooler) == {}
    lead("default", start(server_reset_query_always="0"))
    (reported,) = patient.found(connection_pooler).values()
    assert (reported.key, reported.severity) == ("web", "critical")


def test_the_web_process_starts_behind_a_pooler_that_empties_sessions_only(start: Start) -> None:
    owner = os.environ["DATABASE_OWNER_URL"]
    clean, dirty = start(), start(server_reset_query_always="0")
    done = python("-c", SERVE, DATABASE_URL=clean.url("srvc_app"), DATABASE_OWNER_URL=owner)
    assert done.returncode == 0, done.stderr
    done = python("-c", SERVE, DATABASE_URL=dirty.url("srvc_app"), DATABASE_OWNER_URL=owner)
    assert done.returncode == startup.APP_LOAD_ERROR
    assert "ops.E123" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cursor_of_the_server_stays_within_its_transaction(web_behind: Bouncer) -> None:
    """An export reads by one, while the pool's only session serves somebody else in between."""
    owner = business_with("Davis")
    with acting_as(owner):
        for _ in range(3):
            make_customer(last_name="Davis")
    with acting_as(owner):
        rows = Customer.objects.iterator(chunk_size=1)
        assert next(rows).last_name == "Davis"
        assert len(list(rows)) == 3
        keys = list(Customer.objects.values_list("pk", flat=True))
    answer = sign_in(owner).post(
        address(Customer, "changelist"), {"action": "export_csv", "_selected_action": keys}
    )
    assert b"".join(answer.streaming_content).count(b"Davis") >= len(keys)
    connections["default"].close()
    with web_behind.connect() as other:
        assert other.execute("SELECT count(*) FROM pg_cursors").fetchone() == (0,)


def test_nothing_is_prepared_on_a_session(web_behind: Bouncer) -> None:
    owner = business_with("Evans")
    for _ in range(12):  # psycopg would prepare from the sixth time on
        with acting_as(owner):
            assert Customer.objects.count() == 1
        assert connection.connection.prepare_threshold is None
        connections["default"].close()


def test_a_probe_leaves_no_time_limit_to_others(start: Start) -> None:
    dirty = start(server_reset_query_always="0")
    lead("default", dirty)
    assert probes.failing_parts() == []
    with dirty.connect() as other:
        assert other.execute("SHOW statement_timeout").fetchone() == ("30s",)


def test_a_reset_keeps_the_name_by_which_the_server_knows_us(web_behind: Bouncer) -> None:
    connection.ensure_connection()
    reset.forget_session()
    with connection.cursor() as cursor:
        cursor.execute("SHOW application_name")
        assert cursor.fetchone() == ("srvc_app",)


def test_options_of_the_address_are_refused_by_the_pooler_and_told(
    web_behind: Bouncer,
) -> None:
    url = f"{web_behind.url('srvc_app')}?options=-c%20statement_timeout%3D1"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


def test_the_worker_imports_behind_a_pooler(start: Start) -> None:
    """It asks for two connections: what others see before the import's transaction ends."""
    lead("default", start(pool=2))
    owner = make_business()
    with acting_as(owner):
        run = save_upload(
            account=account_of(owner),
            kind="customers",
            files=[SimpleUploadedFile("a.csv", b"first name,last name\nAda,Lovelace\n")],
            by=owner,
        )
        queue_import(run=run, by=owner)
    quiet: dict[str, Any] = {"batch": True, "interval": 0, "startup_delay": False, "verbosity": 0}
    call_command("worker", queue_name="default", **quiet)
    with acting_as(owner):
        assert ImportRun.objects.get(pk=run.pk).status == ImportStatus.DONE
        assert Customer.objects.get().last_name == "Lovelace"


def test_a_page_is_answered_after_a_swap_has_ended_every_session(web_behind: Bouncer) -> None:
    owner = business_with("Foster")
    browser = sign_in(owner)
    assert browser.get(address(Customer, "changelist")).status_code == 200
    with database.connect() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
            [web_behind.database],
        )
    assert "Foster" in browser.get(address(Customer, "changelist")).content.decode()
