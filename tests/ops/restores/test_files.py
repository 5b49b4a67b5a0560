"""Dumps that others made, in every form, equal to what they were taken of once loaded."""

from __future__ import annotations

import gzip
import subprocess
import tarfile
from pathlib import Path

import pyrage
import pytest
import zstandard

from ops.backups.fingerprint import fingerprint
from ops.backups.proving import table_proofs
from ops.backups.selection import all_tables
from ops.models import BackupKind
from ops.postgres.endpoint import Connection, Endpoint
from ops.progress import Counter
from ops.restores.errors import RefusedError
from ops.restores.files.loading import loaded
from ops.restores.private import PrivateDatabase
from ops.runs import OWNER
from tests.ops.backups.conftest import Backups


def dump(file: Path, *arguments: str) -> Path:
    endpoint = Endpoint.of(OWNER)
    subprocess.run(
        [endpoint.program("pg_dump"), *endpoint.arguments(), f"--file={file}", *arguments],
        env=endpoint.environment(),
        check=True,
    )
    return file


def contents(connection: Connection) -> dict[str, tuple[int, str]]:
    tables = [each for each in all_tables(connection) if each.kind != "partitioned"]
    proofs = table_proofs(connection, tables)
    return {f"{each.schema}.{each.name}": (each.rows, each.content) for each in proofs}


def require_equal(private: PrivateDatabase, backups: Backups) -> None:
    with private.connect() as then, backups.connect() as now:
        assert contents(then) == contents(now)
        assert fingerprint(then).objects == fingerprint(now).objects
        assert then.info.dbname == now.info.dbname


def test_each_form_holds_the_same(backups: Backups, tmp_path: Path) -> None:
    backups.execute(
        'CREATE TABLE public."odd ""name""; --" (id int PRIMARY KEY, word text);'
        ' ALTER TABLE public."odd ""name""; --" OWNER TO srvc_owner;'
        ' INSERT INTO public."odd ""name""; --" VALUES (1, E\'a\\nb\\\\.\'),'
        " (2, '\\.'), (3, NULL);"
        " CREATE FUNCTION public.said() RETURNS text LANGUAGE sql AS"
        " $body$ SELECT 'it''s; \\! not a command' -- '$body$;"
        " ALTER FUNCTION public.said() OWNER TO srvc_owner"
    )
    plain = dump(tmp_path / "a name's dump.sql")
    packed = tmp_path / "plain"
    packed.write_bytes(
        gzip.compress(plain.read_bytes()[:1000]) + gzip.compress(plain.read_bytes()[1000:])
    )
    custom = dump(tmp_path / "custom", "--format=custom")
    sealed = tmp_path / "sealed"
    recipient = pyrage.x25519.Recipient.from_str(backups.recipient)
    sealed.write_bytes(
        pyrage.encrypt(zstandard.compress(custom.read_bytes()), [recipient], armored=True)
    )
    directory = dump(tmp_path / "directory", "--format=directory")
    archive = tmp_path / "directory.tar"
    with tarfile.open(archive, "w") as file:
        file.add(directory, arcname=".")
    for each in (packed, sealed, archive):
        with loaded(each, Counter()) as private:
            assert private.origin == f"the file {each.name}"
            require_equal(private, backups)
            assert private.notes == ()
    assert list((backups.var / "scratch").iterdir()) == []


# As the guide makes it: `supabase db dump --data-only > data_export.sql`.
SUPABASE = """\
SET session_replication_role = replica;

--
-- PostgreSQL database dump
--

-- \\restrict abc

-- Dumped from database version 15.8
-- Dumped by pg_dump version 17.6

SET standard_conforming_strings = on;

INSERT INTO "auth"."users" ("id", "email") VALUES
\t('1', 'somebody; "else"'),
\t('2', NULL);

INSERT INTO "public"."auth_group" ("id", "name") VALUES
\t(901, 'It''s; a "group"'),
\t(902, '\\! touch');

SELECT pg_catalog.setval('"auth"."seq"', 44, true);
SELECT pg_catalog.setval('"public"."auth_group_id_seq"', 902, true);

--
-- PostgreSQL database dump complete
--

-- \\unrestrict abc

RESET ALL;
"""


def test_rows_alone_are_loaded_into_our_own_schema(backups: Backups, tmp_path: Path) -> None:
    file = tmp_path / "data_export.sql"
    file.write_text(SUPABASE)
    with pytest.raises(RefusedError, match="there is no backup whose definitions"):
        with_own_schema(file)
    schema = backups.take(kind=BackupKind.SCHEMA)
    with loaded(file, Counter()) as private:
        assert private.notes == (
            f"Its rows were loaded into the schema of {schema.name}.",
            "Left out: rows of auth.users, a table that is not in the schema.",
        )
        with private.connect() as then, backups.connect() as now:
            groups = then.execute("SELECT id, name FROM public.auth_group ORDER BY id").fetchall()
            sequence = then.execute("SELECT last_value FROM public.auth_group_id_seq").fetchone()
            assert fingerprint(then).objects == fingerprint(now).objects
    assert groups == [(901, 'It\'s; a "group"'), (902, "\\! touch")]
    assert sequence == (902,)

    file.write_text(SUPABASE.replace("902, '", "901, '"))
    with pytest.raises(RefusedError, match="don't fit the definitions of srvc-"):
        with_own_schema(file)
    file.write_text(SUPABASE.replace('"public"', '"shop"'))
    with pytest.raises(RefusedError, match="none of these is in SRVC's schema: auth"):
        with_own_schema(file)


def with_own_schema(file: Path) -> None:
    with loaded(file, Counter()):
        pass
