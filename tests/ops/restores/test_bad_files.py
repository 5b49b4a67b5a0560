"""Files that are no dumps, not whole, or made to do harm: refused in a sentence, nothing left."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
import zstandard
from pytest_django import Settings

from ops.backups.errors import KeyMissingError
from ops.progress import Counter
from ops.restores.errors import RefusedError
from ops.restores.files import script as sql_script
from ops.restores.files.loading import loaded

HEADER = """\
--
-- PostgreSQL database dump
--

\\restrict abcDEF123

-- Dumped from database version 18.6
-- Dumped by pg_dump version 18.6

SET standard_conforming_strings = on;
"""
TABLE = "CREATE TABLE public.t (id integer, word text);\n"
ROWS = "COPY public.t (id, word) FROM stdin;\n1\tone\n2\ttwo\n\\.\n"
END = """
--
-- PostgreSQL database dump complete
--

\\unrestrict abcDEF123

"""
NOTHING = "Nothing was begun."


@pytest.fixture(autouse=True)
def _installation(tmp_path: Path, settings: Settings) -> None:
    identity = tmp_path / "identity.txt"
    identity.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    identity.chmod(0o600)
    settings.VAR_DIR = tmp_path / "var"
    settings.BACKUP_AGE_IDENTITY_FILES = [str(identity)]


def refusal(path: Path, content: bytes | str) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(RefusedError) as refused, loaded(path, Counter()):
        pass
    left = path.parent / "var" / "scratch"
    assert not left.exists() or list(left.iterdir()) == []
    return str(refused.value).replace(str(path), path.name)


def whole(*parts: str) -> str:
    return "".join([HEADER, *parts, END])


def test_what_is_no_dump(tmp_path: Path) -> None:
    said = refusal(tmp_path / "notes.sql", "DROP TABLE customers;\n")
    assert said == (
        "There is no dump of PostgreSQL in notes.sql: neither an archive of pg_dump nor an SQL "
        f"script that begins as pg_dump's do. {NOTHING}"
    )
    assert refusal(tmp_path / "empty.dump", b"") == f"empty.dump is empty. {NOTHING}"
    garbage = refusal(tmp_path / "garbage.sql", bytes(range(256)) * 50)
    assert garbage.startswith("There is no dump of PostgreSQL in garbage.sql: ")
    said = refusal(tmp_path / "powershell.sql", whole(TABLE).encode("utf-16"))
    assert said.startswith("powershell.sql is text in UTF-16, as PowerShell writes ")
    with pytest.raises(RefusedError, match="is no file"), loaded(tmp_path, Counter()):
        pass
    with pytest.raises(RefusedError, match="No such file"), loaded(tmp_path / "x", Counter()):
        pass


@pytest.mark.parametrize(
    "content",
    [
        whole(TABLE, ROWS)[:-120],
        HEADER + TABLE + ROWS.removesuffix("\\.\n") + END,
        whole(TABLE, "COMMENT ON TABLE public.t IS 'open;\n"),
        whole(TABLE) + "DELETE FROM public.t;\n",
        whole(TABLE, f"COMMENT ON TABLE public.t IS '{END}").replace(END, "\n'\n") + "SELECT 1",
    ],
    ids=["cut", "rows", "quote", "added behind", "unfinished"],
)
def test_what_does_not_end_as_a_dump_does(tmp_path: Path, content: str) -> None:
    said = refusal(tmp_path / "cut.sql", content)
    assert said == (
        "cut.sql is cut off: it does not end as pg_dump ends a dump. psql would restore what is "
        f"there and say nothing. {NOTHING} Fetch or make it again."
    )


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_what_was_packed_and_cut_off_or_changed(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(whole(TABLE, *[f"-- {zlib.crc32(b'%d' % n)}\n" for n in range(9_999)]).encode())
    said = refusal(tmp_path / "cut.sql.gz", packed[:-200])
    assert said.startswith("cut.sql.gz is cut off: what ")
    assert " packed ends in the middle. " in said
    middle = len(packed) // 2
    changed = packed[:middle] + bytes(9) + packed[middle + 9 :]
    assert "damaged" in refusal(tmp_path / "changed.sql.gz", changed)


@pytest.mark.parametrize(
    "command",
    [
        "\\! touch {witness}",
        "\\copy public.t TO PROGRAM 'touch {witness}'",
        "\\i /etc/passwd",
        "\\o {witness}",
        "\\connect other",
        "SELECT 1 \\g {witness}",
        "SELECT 'touch {witness}' \\gexec",
        "\\unrestrict abcDEF123",
        "\\restrict other",
    ],
)
def test_commands_of_psql(tmp_path: Path, command: str) -> None:
    witness = tmp_path / "witness"
    said = refusal(tmp_path / "evil.sql", whole(TABLE, command.format(witness=witness), "\n"))
    assert said.startswith("Line 12 of evil.sql holds a command of psql (\\")
    assert NOTHING in said
    assert not witness.exists()


def test_psql_itself_refuses_what_was_overlooked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = tmp_path / "witness"
    script = whole(TABLE, f"\\! touch {witness}\n")
    monkeypatch.setattr(sql_script, "_require_restriction", lambda *args, **more: None)
    monkeypatch.setattr(sql_script.Passing, "_given", lambda self, part: part.text)
    said = refusal(tmp_path / "evil.sql", script.replace("\\restrict abcDEF123", ""))
    assert "backslash commands are restricted" in said
    assert not witness.exists()


def test_what_only_a_superuser_may_do_is_refused_by_the_private_server(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    said = refusal(
        tmp_path / "evil.sql",
        whole(TABLE, f"COPY public.t FROM PROGRAM 'touch {witness}; echo 1';\n"),
    )
    assert said == (
        "evil.sql can't be loaded: permission denied to COPY to or from an external program. It "
        "was tried on a private server; nothing of the live one was touched."
    )
    tricks = [
        "CREATE ROLE x SUPERUSER",
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER DATABASE srvc SET search_path = evil",
        "CREATE EXTENSION file_fdw",
        "SELECT pg_catalog.pg_read_file(''/etc/passwd'')",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS ''/tmp/x''",
        "GRANT pg_execute_server_program TO CURRENT_USER",
        "COPY public.t TO ''/tmp/x''",
        "SELECT 1",  # that it may is told
    ]
    body = "".join(
        f"  BEGIN EXECUTE '{trick}'; RAISE EXCEPTION 'it may: %', 1 USING ERRCODE = 'ZZ001';\n"
        "  EXCEPTION WHEN SQLSTATE 'ZZ001' THEN done := done || ' ' || "
        f"'{number}'; WHEN OTHERS THEN NULL; END;\n"
        for number, trick in enumerate(tricks)
    )
    script = (
        f"DO $do$ DECLARE done text := ''; BEGIN\n{body}"
        "  RAISE EXCEPTION 'done:%.', done; END $do$;\n"
    )
    assert refusal(tmp_path / "evil.sql", whole(TABLE, script)).startswith(
        "evil.sql can't be loaded: done: 10. It was tried on a private server"
    )
    assert not witness.exists()


def test_what_is_too_new_or_too_much(tmp_path: Path) -> None:
    newer = whole(TABLE).replace("pg_dump version 18.6", "pg_dump version 99.1")
    assert refusal(tmp_path / "newer.sql", newer) == (
        "newer.sql is of PostgreSQL 99, and SRVC brings 18, which can't read all that a newer one "
        f"writes. {NOTHING} Use a version of SRVC that brings PostgreSQL 99."
    )
    cluster = "--\n-- PostgreSQL database cluster dump\n--\n\n" + whole(TABLE)
    assert refusal(tmp_path / "all.sql", cluster) == (
        "all.sql is a dump of a whole server, as pg_dumpall makes it, with several databases in "
        f"it. {NOTHING} Dump the one database by pg_dump."
    )
    assert refusal(tmp_path / "none.sql", whole()) == (
        f"There are no tables and no rows in none.sql. {NOTHING}"
    )
    old = whole(TABLE).replace("strings = on", "strings = off")
    assert "standard_conforming_strings is off" in refusal(tmp_path / "old.sql", old)


def test_keys(tmp_path: Path, settings: Settings) -> None:
    stranger = pyrage.x25519.Identity.generate().to_public()
    sealed = pyrage.encrypt(whole(TABLE).encode(), [stranger])
    said = refusal(tmp_path / "sealed", sealed)
    assert said.startswith(
        "sealed can't be decrypted: it is damaged, cut off, or for another key. Nothing was begun."
    )
    settings.BACKUP_AGE_IDENTITY_FILES = []
    with pytest.raises(KeyMissingError), loaded(tmp_path / "sealed", Counter()):
        pass


def test_an_archive_that_is_cut_off_or_none(tmp_path: Path) -> None:
    said = refusal(tmp_path / "x.dump", b"PGDMP\x01\x10\x00\x04\x08\x01" + b"\0" * 40)
    assert said.startswith("x.dump can't be read to its end: pg_restore failed (1): ")
    said = refusal(tmp_path / "newer.dump", b"PGDMP\x01\x63\x00\x04\x08\x01" + b"\0" * 40)
    assert "unsupported version (1.99) in file header" in said


def test_a_bomb_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Blanks without end in a few kilobytes: read in pieces, and found to be cut off."""
    import resource

    packer = zstandard.ZstdCompressor(level=1).compressobj()
    packed = packer.compress(HEADER.encode())
    blanks = b" " * (1 << 24)
    for _ in range(24):
        packed += packer.compress(blanks)
    packed += packer.flush()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = refusal(tmp_path / "bomb.sql.zst", packed)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert said.startswith("bomb.sql.zst is cut off: ")
    assert grown < 200_000  # kilobytes, of 400,000
