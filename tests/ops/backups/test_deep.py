"""Proving a dump: what can't be proven here, and that no server is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from django.db import connections

from ops.backups import scratch as scratching
from ops.backups.errors import BackupError
from ops.backups.manifest import Manifest
from ops.backups.recreate import create_database, create_roles, set_properties, statements
from ops.backups.scratch import Scratch, remove_left_overs, scratch
from ops.backups.verify import ask_for_verification, verify_backup
from ops.models import Backup, BackupState
from ops.postgres.places import server_home
from srvc.environment import BASE_DIR
from tests.harness import database
from tests.ops.backups.conftest import ASKER, SIGNING_KEY, Backups


def prove(backup: Backup) -> Backup:
    verify_backup(ask_for_verification(backup, by=ASKER, deep=True))
    return Backup.objects.get(pk=backup.pk)


def test_one_of_everything_is_proven(backups: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    login = database.admin()
    # What a superuser made, nobody else can read.
    for key, value in (("USER", login.get("user", "postgres")), ("PASSWORD", "")):
        monkeypatch.setitem(connections["owner"].settings_dict, key, value)
    connections["owner"].close()
    text = (Path(__file__).with_name("one_of_everything.sql")).read_text()
    text = text.replace("CREATE EXTENSION pg_trgm;", "")  # every database of ours has it
    backups.execute(text.replace("{reader}", "srvc_member").replace("{writer}", "srvc_admin"))
    with backups.connect() as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE \"{name}\" SET work_mem = '7MB'".encode())
        connection.execute(
            f'ALTER ROLE srvc_member IN DATABASE "{name}" SET search_path = "$user", x'.encode()
        )
        connection.execute(f"COMMENT ON DATABASE \"{name}\" IS 'it''s ours'".encode())
        connection.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 90'.encode())
        connection.execute(b"SELECT lo_from_bytea(0, 'large'), lo_create(0)")

    found = prove(backups.take())

    assert found.state_note.startswith("Restored and equal: ")
    assert found.state == BackupState.PROVEN


def test_an_extension_that_is_not_here_is_no_fault_of_the_backup(backups: Backups) -> None:
    taken = backups.take()
    manifest = Manifest.of_row(taken.manifest)
    content = replace(manifest, extensions={**manifest.extensions, "postgis": "3.5"})
    (backups.folder / manifest.object_name).write_bytes(content.signed(SIGNING_KEY))

    found = prove(taken)

    assert found.state == BackupState.VERIFIED
    assert found.state_note.endswith(
        "It could not be proven here: the scratch server lacks the extension(s) postgis."
    )


def test_a_disk_that_is_too_small_is_refused_before_anything_begins(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = backups.take()
    monkeypatch.setattr("ops.backups.deep.FACTOR", 1e12)

    with pytest.raises(BackupError, match=r"restoring this backup there to look at it takes about"):
        prove(taken)

    assert Backup.objects.get(pk=taken.pk).state == BackupState.TAKEN
    assert not list((backups.var / "scratch").iterdir())


def test_a_scratch_server_is_private_and_gone_afterwards(backups: Backups) -> None:
    with scratch() as found:
        with found.connect() as connection:
            assert connection.info.host == str(found.server.socket)
            row = connection.execute("SELECT current_setting('listen_addresses')").fetchone()
        assert row == ("",)
        postmaster = _postmaster(found)
        folder, home = found.folder, server_home(found.data)
    _wait_until_gone(postmaster)
    assert not folder.exists()
    assert not home.exists()


def test_a_killed_owner_takes_its_server_along_and_the_next_one_tidies(backups: Backups) -> None:
    script = (
        "import django, sys; django.setup()\n"
        "from ops.backups.scratch import scratch\n"
        "with scratch() as found:\n"
        "    found.connect().close()\n"
        "    print(found.folder, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=BASE_DIR,
        env=backups.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        left = Scratch(folder)
        postmaster = _postmaster(left)
        remove_left_overs(folder.parent)
        assert folder.exists()  # its owner lives
        owner.send_signal(signal.SIGKILL)
        owner.communicate()
    _wait_until_gone(postmaster)

    with scratching.scratch() as next_one:
        assert list(folder.parent.iterdir()) == [next_one.folder]
    assert not server_home(left.data).exists()


def test_a_folder_that_cannot_be_made_is_told(backups: Backups) -> None:
    (backups.var / "scratch").write_text("in the way")

    with pytest.raises(BackupError, match="can't be used"), scratch():
        pass


# --- what a dump does not bring -------------------------------------------------------------------

ROLES = """\
--
-- PostgreSQL database cluster dump
--

\\restrict aBc

SET default_transaction_read_only = off;

CREATE ROLE postgres;
ALTER ROLE postgres WITH NOSUPERUSER NOLOGIN;
CREATE ROLE "odd ""role;
name";
ALTER ROLE "odd ""role;
name" WITH NOSUPERUSER INHERIT LOGIN CONNECTION LIMIT 3;
COMMENT ON ROLE "odd ""role;
name" IS 'it''s; fine
';
CREATE ROLE other;
ALTER ROLE other SET my.setting TO 'x';
ALTER ROLE other SET no_such_setting TO 'x';
GRANT other TO "odd ""role;
name" WITH INHERIT TRUE GRANTED BY postgres;

\\unrestrict aBc
"""
ODD = 'odd "role;\nname'


def test_roles_are_made_from_what_pg_dumpall_wrote(backups: Backups) -> None:
    assert len(list(statements(ROLES))) == 10
    with scratch() as found, found.connect() as connection:
        refused = create_roles(connection, ROLES)
        refused += create_roles(connection, ROLES)  # a second time makes no difference
        rows = connection.execute(
            "SELECT rolname, rolsuper, rolconnlimit FROM pg_roles"
            " WHERE rolname !~ '^pg_' ORDER BY 1"
        ).fetchall()
        assert rows == [(ODD, False, 3), ("other", False, -1), ("postgres", True, -1)]
        assert refused == ['unrecognized configuration parameter "no_such_setting"'] * 2
        member = connection.execute("SELECT pg_has_role(%s, 'other', 'MEMBER')", [ODD]).fetchone()
        assert member == (True,)

        properties = {
            "owner": ODD,
            "grants": [
                "PUBLIC CONNECT",
                '"odd ""role;\nname" CREATE',
                "other TEMPORARY WITH GRANT OPTION",
            ],
            "settings": ["work_mem=7MB", 'other: search_path="$user", public', "a.b=c=d"],
            "encoding": "LATIN1",
            "locale_provider": "libc",
            "collation": "xx_XX.nowhere",
            "character_type": "xx_XX.nowhere",
            "connection_limit": 5,
            "comment": "it's ours",
        }
        said = create_database(connection, "made", properties)
        assert said == "the locale C instead of xx_XX.nowhere (libc)"
        assert set_properties(connection, "made", properties) == []
        row = connection.execute(
            "SELECT pg_get_userbyid(datdba), datconnlimit, pg_encoding_to_char(encoding),"
            " datacl::text[], shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE datname = 'made'"
        ).fetchone()
        assert row is not None
        assert row[:3] == (ODD, 5, "LATIN1")
        assert "=c/" in "".join(row[3])
        assert any(each.startswith("other=T*/") for each in row[3])
        assert row[4] == "it's ours"
        settings = connection.execute(
            "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d"
            " ON d.oid = s.setdatabase WHERE datname = 'made' ORDER BY 1"
        ).fetchall()
        assert settings == [("a.b=c=d",), ('search_path="$user", public',), ("work_mem=7MB",)]


def _postmaster(found: Scratch) -> int:
    return int((server_home(found.data) / "postmaster.pid").read_text().split("\n", 1)[0])


def _wait_until_gone(pid: int) -> None:
    for _ in range(600):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGQUIT)
    pytest.fail("the server outlived its owner")
