"""Base and incremental backups of a real server: what is stored, and that it comes back."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import psycopg
import zstandard

from ops.backups.incoming import receive
from ops.backups.manifest import Manifest
from ops.backups.take import Request, ask_for_backup, take_backup
from ops.models import Backup, BackupKind, Run
from tests.ops.backups.conftest import ASKER, SIGNING_KEY, Backups
from tests.ops.backups.replicating import During, restored, server_of_a_module

server = server_of_a_module()


def manifest_of(backups: Backups, backup: Backup) -> Manifest:
    content = (backups.folder / f"manifests/{backup.name}.json").read_bytes()
    return Manifest.read(content, [SIGNING_KEY], name=backup.name)


def open_tar(backups: Backups, backup: Backup) -> tarfile.TarFile:
    stored = manifest_of(backups, backup).archive
    content = io.BytesIO()
    with (backups.folder / stored.name).open("rb") as source:
        receive(source, stored, content)
    content.seek(0)
    return tarfile.open(fileobj=content)


def unpack(backups: Backups, backup: Backup, folder: Path) -> Path:
    """Decrypt and unpack a backup's tar into a folder of its name."""
    target = folder / backup.name
    with open_tar(backups, backup) as tar:
        tar.extractall(target, filter="tar")
    return target


def test_a_base_is_a_tar_with_postgresqls_manifest_beside_it(backups: Backups) -> None:
    taken = backups.take(kind=BackupKind.BASE, label="first")

    assert backups.stored == [
        f"manifests/{taken.name}.json",
        f"physical/{taken.name}.backup_manifest.zst",
        f"physical/{taken.name}.tar.zst.age",
    ]
    manifest = manifest_of(backups, taken)
    archive, beside = manifest.objects
    assert (archive.role, archive.encryption) == ("archive", "age")
    assert (beside.role, beside.encryption) == ("backup_manifest", "none")
    content = (backups.folder / beside.name).read_bytes()
    assert beside.sha256 == hashlib.sha256(content).hexdigest()
    told = json.loads(zstandard.decompress(content))
    with open_tar(backups, taken) as tar:
        names = tar.getnames()
        kept = tar.extractfile("backup_manifest")
        assert kept is not None
        assert json.load(kept) == told
        files = sum(member.isfile() for member in tar.getmembers())
    assert "backup_label" in names
    assert not [name for name in names if name.endswith((".pid", ".log", ".s.PGSQL.5432"))]
    (range_,) = told["WAL-Ranges"]
    assert manifest.wal == {
        "timeline": range_["Timeline"],
        "start_lsn": range_["Start-LSN"],
        "stop_lsn": range_["End-LSN"],
    }
    assert (taken.timeline, taken.start_lsn) == (1, range_["Start-LSN"])
    assert manifest.server["system_identifier"] == str(told["System-Identifier"])
    details = manifest.details
    assert details["files"] == files
    assert details["links"] == 1
    assert details["databases"][backups.database] > 1_000_000
    assert details["witness"] == Run.objects.get().pk
    assert details["fingerprint"]["digest"]
    assert "why_base" not in details
    assert taken.taken_at.isoformat() <= details["whole_at"] <= manifest.finished_at
    assert taken.parent is None


def test_a_chain_is_combined_and_started_and_has_the_rows(backups: Backups, scratch: Path) -> None:
    backups.execute("CREATE TABLE public.seen AS SELECT 'before' AS word")
    base = backups.take(kind=BackupKind.BASE)
    backups.execute("INSERT INTO seen VALUES ('between')")
    first = backups.take(kind=BackupKind.INCREMENTAL)
    backups.execute("INSERT INTO seen VALUES ('late')")
    second = backups.take(kind=BackupKind.INCREMENTAL)
    backups.execute("INSERT INTO seen VALUES ('too late')")

    assert [each.parent for each in (base, first, second)] == [None, base, first]
    assert [each.kind for each in (base, first, second)] == ["base", "incremental", "incremental"]
    assert first.raw_size < base.raw_size / 2
    assert backups.unfinished == []
    links = [unpack(backups, each, scratch) for each in (base, first, second)]
    with restored(links, scratch) as connection:
        dsn = {**connection.info.get_parameters(), "dbname": backups.database}
        with psycopg.connect(**dsn) as copy:
            words = [word for (word,) in copy.execute("SELECT word FROM seen").fetchall()]
            witness = copy.execute(
                "SELECT status FROM ops_run WHERE id = %s",
                [manifest_of(backups, second).details["witness"]],
            ).fetchone()
    assert words == ["before", "between", "late"]
    assert witness == ("running",)


def test_without_the_secret_key_a_chain_goes_on(backups: Backups) -> None:
    base = backups.take(kind=BackupKind.BASE)
    backups.identity.unlink()
    assert backups.take(kind=BackupKind.INCREMENTAL).parent == base


def test_a_schema_change_meanwhile_leaves_no_fingerprint(backups: Backups) -> None:
    during = During(lambda: backups.execute("CREATE TABLE public.meanwhile ()"))
    run = ask_for_backup(Request(kind=BackupKind.BASE), by=ASKER)
    taken = take_backup(run, during)
    assert "fingerprint" not in manifest_of(backups, taken).details
