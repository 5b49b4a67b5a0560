"""django-dbbackup on the same storage: its commands know our backups, and ours know its."""

from __future__ import annotations

import gc
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dbbackup import settings as dbbackup_settings
from django.conf import settings as current
from django.core.management import CommandError, call_command
from django.db import connections
from pytest_django import Settings

from ops.backups.dbbackup_hooks import CONNECTOR, keep
from ops.backups.errors import BackupError
from ops.backups.manifest import Manifest
from ops.backups.rebuild import ask_to_rebuild, rebuild
from ops.backups.retention import ask_to_prune, prune
from ops.backups.vault import Vault
from ops.backups.verify import ask_for_verification, verify_backup
from ops.models import Backup, Run
from tests.harness import database
from tests.ops.backups.conftest import ASKER, Backups
from tests.ops.backups.gnupg import gnupg_home

pytestmark = [
    pytest.mark.usefixtures("forgiven_spools"),
    # It leaves files that it has read to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def same_storage(
    backups: Backups, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Let django-dbbackup, which read its settings when it was imported, use the test's storage."""
    entry = current.STORAGES["dbbackup"]
    backups.folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(dbbackup_settings, "STORAGE", entry["BACKEND"])
    monkeypatch.setattr(dbbackup_settings, "STORAGE_OPTIONS", entry["OPTIONS"])
    yield
    gc.collect()  # here, where its open files are forgiven


@pytest.fixture
def other(fresh_database: str, worker_id: str) -> Iterator[str]:
    """Return another database of the same server, to restore into."""
    with database.clone(f"{worker_id}_restored") as name:
        yield name


@pytest.fixture
def gpg(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a GPG recipient whose keyring is the test's own."""
    with gnupg_home() as (home, recipient):
        monkeypatch.setenv("GNUPGHOME", str(home))
        monkeypatch.setattr(dbbackup_settings, "GPG_RECIPIENT", [recipient])
        monkeypatch.setattr(dbbackup_settings, "GPG_ALWAYS_TRUST", True)
        settings.DBBACKUP_GPG_RECIPIENT = [recipient]
        settings.DBBACKUP_GPG_ALWAYS_TRUST = True
        yield recipient


def restored(name: str, into: str, **options: Any) -> None:
    """Run dbrestore with the alias `owner` pointed at another database."""
    config = connections["owner"].settings_dict
    before = config["NAME"]
    connections["owner"].close()
    config["NAME"] = into
    try:
        call_command(
            "dbrestore",
            database="owner",
            input_filename=name,
            interactive=False,
            quiet=True,
            **options,
        )
    finally:
        connections["owner"].close()
        config["NAME"] = before


def rows(name: str) -> list[tuple[Any, ...]]:
    with database.connect(name) as connection:
        try:
            return connection.execute("SELECT n, t FROM public.witness ORDER BY n").fetchall()
        except psycopg.errors.UndefinedTable:
            return []


def witness(backups: Backups) -> list[tuple[Any, ...]]:
    backups.execute(
        "CREATE TABLE public.witness AS SELECT n, md5(n::text) AS t FROM generate_series(1, 500) n"
    )
    backups.execute("ALTER TABLE public.witness OWNER TO srvc_owner")
    return rows(backups.database)


def listed() -> list[str]:
    out = io.StringIO()
    call_command("listbackups", quiet=True, stdout=out)
    return [line.split(" ", 1)[0] for line in out.getvalue().splitlines()]


def archive_of(backup: Backup) -> str:
    return Manifest.of_row(backup.manifest).archive.name


def checked(backup: Backup) -> tuple[str, str]:
    verify_backup(ask_for_verification(backup, deep=False, by=ASKER))
    backup.refresh_from_db()
    return backup.state, backup.state_note


# --- its commands on our backups -----------------------------------------------------------------


def test_listbackups_shows_our_full_backups_and_no_part(backups: Backups) -> None:
    full = backups.take()
    backups.take(kind="schema")
    assert listed() == [archive_of(full)]


def test_dbrestore_opens_and_restores_an_encrypted_backup_of_ours(
    backups: Backups, other: str
) -> None:
    expected = witness(backups)
    backup = backups.take()
    restored(archive_of(backup), other)
    assert rows(other) == expected
    # Once more, over what is there now.
    backups.execute("DELETE FROM public.witness WHERE n > 100")
    restored(archive_of(backups.take()), other)
    assert rows(other) == expected[:100]


def test_dbrestore_restores_in_place_and_keeps_grants_and_policies(backups: Backups) -> None:
    expected = witness(backups)
    backup = backups.take()
    before = _rights(backups)
    backups.execute("DROP TABLE public.witness")
    restored(archive_of(backup), backups.database)
    assert rows(backups.database) == expected
    assert _rights(backups) == before


def _rights(backups: Backups) -> list[tuple[Any, ...]]:
    with backups.connect() as connection:
        return connection.execute(
            # No rights by name and the owner's rights by name are the same rights.
            "SELECT c.relname, coalesce(c.relacl, acldefault('r', c.relowner))::text,"
            " c.relrowsecurity,"
            " (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid)"
            " FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
            " ORDER BY 1"
        ).fetchall()


def test_dbrestore_touches_nothing_when_the_backup_is_damaged(backups: Backups, other: str) -> None:
    witness(backups)
    backup = backups.take()
    restored(archive_of(backup), other)
    kept = rows(other)
    file = backups.folder / archive_of(backup)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CommandError, match="was changed after it was stored"):
        restored(archive_of(backup), other)
    (backups.folder / "manifests" / f"{backup.name}.json").unlink()
    for damaged in (bytes(content), bytes(content[:-20]), b"age-encryption.org/v1\n", b"nonsense"):
        file.write_bytes(damaged)
        with pytest.raises(CommandError):
            restored(archive_of(backup), other)
    assert rows(other) == kept


def test_dbrestore_does_not_wait_for_ever_for_who_uses_the_tables(
    backups: Backups, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness(backups)
    backup = backups.take()
    restored(archive_of(backup), other)
    monkeypatch.setattr("ops.backups.dbrestore.LOCK_WAIT", 0.2)
    with database.connect(other) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM public.witness")
        with pytest.raises(
            CommandError, match=r"witness is in use for too long \(by process \d+ of"
        ):
            restored(archive_of(backup), other)
    assert len(rows(other)) == 500


def test_dbrestore_without_the_key_says_so(
    backups: Backups, other: str, settings: Settings
) -> None:
    backup = backups.take()
    settings.BACKUP_AGE_IDENTITY_FILES = []
    with pytest.raises(CommandError, match="no identity for that is here"):
        restored(archive_of(backup), other)


def test_dbrestore_takes_the_owners_alias_only_with_its_backup(backups: Backups) -> None:
    with pytest.raises(CommandError, match="must specify the --database option"):
        call_command("dbrestore", interactive=False, quiet=True)


# --- our backups of its commands -----------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
def test_what_dbbackup_makes_is_in_our_catalogue_verified_and_restored(
    compress: bool, backups: Backups, other: str
) -> None:
    expected = witness(backups)
    call_command("dbbackup", compress=compress, quiet=True)
    backup = Backup.objects.get()
    archive = Manifest.of_row(backup.manifest).archive
    assert archive.name == f"{backup.name}.dump{'.gz' if compress else ''}"
    assert (backup.kind, backup.encryption, archive.compression) == (
        "full",
        "none",
        "gzip" if compress else "none",
    )
    assert backups.stored == sorted(
        [archive.name, f"{archive.name}.metadata", f"manifests/{backup.name}.json"]
    )
    assert (backup.rows or 0) >= 500
    assert [(run.kind, run.status) for run in Run.objects.all()] == [("backup", "done")]
    assert checked(backup)[0] == "verified"
    assert listed() == [archive.name]
    restored(archive.name, other)
    assert rows(other) == expected
    Run.objects.all().delete()
    backup.delete()
    rebuild(ask_to_rebuild(by=ASKER))
    assert Backup.objects.get().name == backup.name


def test_what_dbbackup_encrypts_is_ours_too(backups: Backups, other: str, gpg: str) -> None:
    expected = witness(backups)
    call_command("dbbackup", compress=True, encrypt=True, quiet=True)
    backup = Backup.objects.get()
    archive = Manifest.of_row(backup.manifest).archive
    assert archive.name == f"{backup.name}.dump.gz.gpg"
    assert (archive.encryption, archive.compression, archive.recipients) == ("gpg", "gzip", [gpg])
    assert checked(backup)[0] == "verified"
    restored(archive.name, other)
    assert rows(other) == expected


def test_a_backup_of_ours_to_a_gpg_recipient_comes_back(
    backups: Backups, other: str, gpg: str, settings: Settings
) -> None:
    expected = witness(backups)
    settings.BACKUP_AGE_RECIPIENTS = []
    backup = backups.take()
    assert archive_of(backup) == f"{backup.name}.dump.zst.gpg"
    assert backup.encryption == "gpg"
    assert checked(backup)[0] == "verified"
    restored(archive_of(backup), other)
    assert rows(other) == expected


def test_a_gpg_recipient_nobody_knows_takes_nothing(
    backups: Backups, gpg: str, settings: Settings
) -> None:
    settings.BACKUP_AGE_RECIPIENTS = []
    settings.DBBACKUP_GPG_RECIPIENT = ["nobody@example.com"]
    with pytest.raises(BackupError, match=r"gpg could not encrypt to nobody@example\.com"):
        backups.take(kind="schema")
    assert backups.unfinished == []


def test_production_refuses_what_dbbackup_would_store_in_clear(
    backups: Backups, settings: Settings
) -> None:
    settings.PRODUCTION_LIKE, settings.ENVIRONMENT = True, "production"
    with pytest.raises(CommandError, match="Backups of production are always encrypted"):
        call_command("dbbackup", quiet=True)
    assert backups.stored == []
    assert not Backup.objects.exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"exclude_tables": "crm_customer"}, "A part of the database would be listed"),
        ({"schema": ["public"]}, "A part of the database would be listed"),
        ({"database": "default"}, "The login of 'default' does not see every row"),
    ],
)
def test_dbbackup_makes_no_part_that_would_pass_for_the_whole(
    options: dict[str, Any], why: str, backups: Backups
) -> None:
    with pytest.raises(CommandError, match=why):
        call_command("dbbackup", quiet=True, **options)
    assert backups.stored == []


def test_dbbackup_into_a_file_of_its_own_is_no_backup_of_the_storage(
    backups: Backups, tmp_path: Path
) -> None:
    call_command("dbbackup", output_path=str(tmp_path / "mine.dump"), quiet=True)
    assert (tmp_path / "mine.dump").read_bytes().startswith(b"PGDMP")
    assert not Backup.objects.exists()


def test_a_name_that_the_operator_chose_is_kept(backups: Backups) -> None:
    call_command(
        "dbbackup", output_filename="before-2026-11-22-120000.dump.gz", compress=True, quiet=True
    )
    backup = Backup.objects.get()
    assert archive_of(backup) == "before-2026-11-22-120000.dump.gz"
    assert checked(backup)[0] == "verified"


def test_a_dump_that_nobody_knows_is_restored_when_it_can_be_opened(
    backups: Backups, other: str
) -> None:
    expected = witness(backups)
    call_command("dbbackup", quiet=True)
    made = backups.folder / archive_of(Backup.objects.get())
    foreign = backups.folder / "owner-host-2026-01-02-030405.psql.bin.gz"
    foreign.write_bytes(gzip.compress(made.read_bytes()))
    restored(foreign.name, other)
    assert rows(other) == expected


def test_dbbackups_own_cleaning_leaves_ours_alone(backups: Backups) -> None:
    backup = backups.take()
    assert keep(archive_of(backup))
    assert keep(f"{backup.name}.tar.zst")
    assert not keep("owner-host-2026-01-02-030405.psql.bin.gz")
    assert current.DBBACKUP_CLEANUP_KEEP_FILTER is keep


def test_what_mediabackup_makes_is_ours_too(
    backups: Backups, settings: Settings, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = str(tmp_path / "media")
    (tmp_path / "media" / "deep").mkdir(parents=True)
    (tmp_path / "media" / "deep" / ("ä" * 120 + ".txt")).write_bytes(b"hello")
    call_command("mediabackup", compress=True, quiet=True)
    backup = Backup.objects.get()
    assert (backup.kind, backup.manifest["details"]["files"]) == ("media", 1)
    assert archive_of(backup) == f"{backup.name}.tar.gz"
    assert checked(backup)[0] == "verified"
    prune(ask_to_prune(by=ASKER))
    assert Vault.primary().exists(archive_of(backup))


@pytest.mark.parametrize("made_by", ["us", "mediabackup", "mediabackup, encrypted"])
def test_mediarestore_names_the_command_that_brings_files_back(
    backups: Backups, settings: Settings, tmp_path: Path, gpg: str, made_by: str
) -> None:
    settings.MEDIA_ROOT = str(tmp_path / "media")
    (tmp_path / "media").mkdir()
    file = tmp_path / "media" / "a.txt"
    file.write_bytes(b"as backed up")
    if made_by == "us":
        name = archive_of(backups.take(kind="media"))
        named = [["-i", name], []]
    else:
        encrypt = "encrypted" in made_by
        call_command(
            "mediabackup", compress=True, encrypt=encrypt, quiet=True, output_filename="mine.tar.gz"
        )
        name = archive_of(Backup.objects.get())
        named = [["-i", name, "--uncompress", *(["--decrypt"] if encrypt else [])]]
    backup = Backup.objects.get()
    file.write_bytes(b"of today")
    for words in named:
        with pytest.raises(CommandError) as caught:
            call_command("mediarestore", *words, "--replace", "--noinput", "-q")
        assert f"restore --media {backup.name}" in str(caught.value)
    assert file.read_bytes() == b"of today"

    call_command("restore", backup.name, "--media", "--yes", stdout=io.StringIO())
    assert file.read_bytes() == b"as backed up"


def test_the_settings_name_what_is_there() -> None:
    from ops.dbbackup_edge import Connector

    assert f"{Connector.__module__}.{Connector.__name__}" == CONNECTOR
