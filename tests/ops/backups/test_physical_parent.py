"""What an incremental backup adds to; and when it can't, the base and the reason for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from ops.backups import chain
from ops.backups.chain import NoParentError, parent_for
from ops.backups.manifest import Manifest
from ops.backups.physical import replicating_server
from ops.backups.vault import Vault
from ops.models import Backup, BackupKind, BackupState, Run
from ops.postgres.embedded import EmbeddedServer
from tests.ops.backups.conftest import SIGNING_KEY, Backups
from tests.ops.backups.replicating import server_of_a_module

server = server_of_a_module()


def reason() -> str:
    """Why there is no parent."""
    found = replicating_server()
    with (
        found.owner.connect() as connection,
        pytest.raises(NoParentError) as refused,
        parent_for(connection, found.system_identifier, found.timeline, Vault.primary()),
    ):
        pass
    return str(refused.value)


def edit(backups: Backups, backup: Backup, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite a manifest as somebody with the signing key could."""
    path = backups.folder / f"manifests/{backup.name}.json"
    document = json.loads(path.read_bytes())
    del document["signature"]
    change(document)
    path.write_bytes(Manifest.of_row(document).signed(SIGNING_KEY))


def test_without_a_base_there_is_one_taken(backups: Backups) -> None:
    taken = backups.take(kind=BackupKind.INCREMENTAL)
    assert (taken.kind, taken.parent) == (BackupKind.BASE, None)
    assert "-base-" in taken.name
    why = "there is no base backup in this storage yet"
    assert taken.manifest["details"]["why_base"] == why
    run = Run.objects.get()
    assert f"A base backup is taken instead of an incremental one: {why}." in run.message


def test_every_doubt_about_the_parent_is_told(backups: Backups, settings: Settings) -> None:
    base = backups.take(kind=BackupKind.BASE)
    manifest = backups.folder / f"manifests/{base.name}.json"
    whole = manifest.read_bytes()
    archive = backups.folder / f"physical/{base.name}.tar.zst.age"
    beside = backups.folder / f"physical/{base.name}.backup_manifest.zst"

    settings.BACKUP_CHAIN_LINKS = 1
    assert reason().startswith(f"the chain of {base} has 1 links, as many as BACKUP_CHAIN_LINKS")
    settings.BACKUP_CHAIN_LINKS = 24

    edit(backups, base, lambda document: document["server"].update(system_identifier="1"))
    assert reason() == f"{base} is of another server (another system identifier)"
    edit(backups, base, lambda document: document["wal"].update(timeline=7))
    assert reason() == f"{base} is of another server (another system identifier)"
    manifest.write_bytes(whole)
    edit(backups, base, lambda document: document["wal"].update(timeline=7))
    assert reason().startswith("the server is on timeline 1 since it was restored or promoted; ")
    manifest.write_bytes(whole.replace(b'"seconds"', b'"secundes"'))
    assert f"{base} can't be added to: The manifest of {base} was changed" in reason()
    manifest.unlink()
    assert f"{base} can't be added to: manifests/{base.name}.json is not in the" in reason()
    manifest.write_bytes(whole)

    kept = beside.read_bytes()
    beside.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    assert "was changed after it was stored: its SHA-256 is not the manifest's" in reason()
    beside.unlink()
    assert "backup_manifest.zst is not in the storage" in reason()
    beside.write_bytes(kept)

    with archive.open("ab") as file:
        file.write(b"more")
    assert reason().startswith(f"{base} has ")
    archive.unlink()
    assert reason().startswith(f"{base} is not whole: physical/{base.name}.tar.zst.age is not in")
    with archive.open("wb") as file:
        file.truncate(Manifest.of_row(base.manifest).archive.size)

    Backup.objects.update(taken_at=base.taken_at - timedelta(days=7))
    assert reason() == f"the base {base} is older than BACKUP_CHAIN_DAYS=7"
    Backup.objects.update(taken_at=base.taken_at, state=BackupState.FAILED)
    assert reason() == "there is no base backup in this storage yet"


def test_a_failed_link_breaks_the_chain_behind_it(backups: Backups) -> None:
    base = backups.take(kind=BackupKind.BASE)
    link = backups.take(kind=BackupKind.INCREMENTAL)
    Backup.objects.filter(pk=base.pk).update(state=BackupState.FAILED)
    assert reason() == f"{base}, which {link} stands on, is failed"


def test_a_gap_in_the_summaries_is_seen_before_and_by_the_server(
    backups: Backups, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = backups.take(kind=BackupKind.BASE)
    backups.execute("CREATE TABLE public.more AS SELECT 1 AS n")
    backups.execute("CHECKPOINT")
    backups.take(kind=BackupKind.INCREMENTAL).delete()
    for summary in (server.home / "pg_wal" / "summaries").iterdir():
        summary.unlink()
    assert reason() == (
        f"the server's WAL summaries since {base.name} have a gap (summarize_wal was off for a "
        "while, or they were removed: wal_summary_keep_time)"
    )
    # Had we overlooked it, the server would not.
    monkeypatch.setattr(chain, "_require_summaries", lambda connection, manifest: None)
    taken = backups.take(kind=BackupKind.INCREMENTAL)
    assert taken.kind == BackupKind.BASE
    why = taken.manifest["details"]["why_base"]
    assert why.startswith(f"the server refuses to add to {base.name} (pg_basebackup failed (1): ")
    assert "WAL summaries are required" in why


def test_summaries_that_are_off(backups: Backups) -> None:
    backups.take(kind=BackupKind.BASE)
    with backups.connect() as connection:
        connection.execute("ALTER SYSTEM SET summarize_wal = off")
        connection.execute("SELECT pg_reload_conf()")
    try:
        assert reason().startswith("summarize_wal is off, so the server does not note what changes")
    finally:
        with backups.connect() as connection:
            connection.execute("ALTER SYSTEM RESET summarize_wal")
            connection.execute("SELECT pg_reload_conf()")
