"""Our sessions read and write one form of values, whatever a database or a login sets."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection, connections
from django.utils import timezone

from ops.models import Run, RunKind
from ops.postgres.endpoint import Endpoint
from ops.postgres.session_settings import OUR_SETTINGS
from ops.rls.router import OWNER_ALIAS
from tests.harness import database

ODD = {
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-5",
    "xmlbinary": "hex",
    "xmloption": "document",
}


@pytest.fixture
def odd_database(fresh_database: str) -> str:
    assert set(ODD) == set(OUR_SETTINGS)
    with database.connect() as admin:
        for name, value in ODD.items():
            admin.execute(f"ALTER DATABASE \"{fresh_database}\" SET {name} = '{value}'".encode())
    for alias in database.ALIASES:
        connections[alias].close()
    return fresh_database


def test_the_owners_sessions_have_ours(odd_database: str) -> None:
    with Endpoint.of(OWNER_ALIAS).connect() as session:
        found = {name: session.execute(f"SHOW {name}".encode()).fetchone() for name in ODD}
    assert {name: row and row[0].partition(",")[0] for name, row in found.items()} == OUR_SETTINGS
    with connections[OWNER_ALIAS].cursor() as cursor:
        for name, value in OUR_SETTINGS.items():
            cursor.execute(f"SHOW {name}")
            assert cursor.fetchone()[0].partition(",")[0] == value


def test_the_web_process_reads_moments(odd_database: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        assert (timezone.now() - cursor.fetchone()[0]).total_seconds() < 3600
    assert Run.objects.using(OWNER_ALIAS).create(kind=RunKind.BACKUP).asked_at is not None


def test_a_command_works_there(odd_database: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "backup", "--json"],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "srvc.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_session_that_begins_within_a_transaction_keeps_them(odd_database: str) -> None:
    with Endpoint.of(OWNER_ALIAS).connect(autocommit=False) as session:
        session.rollback()
        assert session.execute("SHOW IntervalStyle").fetchone() == ("postgres",)
