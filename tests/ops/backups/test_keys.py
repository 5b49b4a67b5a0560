"""Keys: made once and never over another, told without their secret half, changed without loss."""

from __future__ import annotations

import io
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pyrage
import pytest
from django.core.checks import Error, Warning  # noqa: A004
from django.core.management import CommandError, call_command
from pytest_django import Settings

from ops.backups import keys
from ops.backups.errors import BackupError, KeyMissingError
from ops.backups.incoming import receive
from ops.backups.keymaking import make_identity, public_keys
from ops.backups.keyreport import Recipient, key_report
from ops.backups.manifest import Manifest
from ops.backups.vault import Vault
from ops.models import Backup
from srvc import checks
from tests.ops.backups.conftest import Backups


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("backupkeys", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def opened(backup: Backup) -> bytes:
    """Read a backup back to what was dumped."""
    manifest = Manifest.of_row(backup.manifest)
    sink = io.BytesIO()
    with Vault.primary().open(manifest.archive.name) as file:
        receive(file, manifest.archive, sink)
    return sink.getvalue()


def test_a_key_is_a_private_file_that_stock_age_reads(tmp_path: Path) -> None:
    file = tmp_path / "new" / "key.txt"
    public = make_identity(file)
    assert public_keys(file) == [public]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]
    assert re.fullmatch(
        r"# created: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n# public key: age1[a-z0-9]{58}\n"
        r"AGE-SECRET-KEY-1[A-Z0-9]{58}\n",
        file.read_text(),
    )


def test_a_key_is_never_written_over_something(tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_text("the only key")
    (tmp_path / "link.txt").symlink_to("nowhere")
    for taken in (file, tmp_path / "link.txt"):
        with pytest.raises(BackupError, match=r"is there already\. Nothing was written over it"):
            make_identity(taken)
    assert file.read_text() == "the only key"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.txt", "link.txt"]


def test_a_place_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackupError, match=r"can't be written: Not a directory\. No key was made"):
        make_identity(tmp_path / "file" / "folder" / "key.txt")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"AGE-SECRET-KEY-1NONSENSE", b"hello"])
def test_a_file_that_is_no_identity_is_told(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_bytes(content)
    with pytest.raises(BackupError, match=r"(is no age identity file|can't be read)"):
        public_keys(file)
    with pytest.raises(BackupError, match="can't be read"):
        public_keys(tmp_path / "away.txt")


def test_new_prints_what_to_do_and_never_the_secret_half(
    tmp_path: Path, settings: Settings
) -> None:
    settings.VAR_DIR = tmp_path
    settings.BACKUP_AGE_RECIPIENTS = ["age1former"]
    said = command("--new")
    (file,) = (tmp_path / "keys").iterdir()
    (public,) = public_keys(file)
    secret = file.read_text().splitlines()[-1]
    assert secret not in said
    assert f"  public key    {public}\n" in said
    assert f"     BACKUP_AGE_RECIPIENTS=age1former,{public}\n" in said
    assert f"     BACKUP_AGE_IDENTITY_FILES={file}\n" in said
    assert "Take the secret half away from here: into a password manager" in said
    told = json.loads(command("--new", "--output", str(tmp_path / "k.txt"), "--json"))
    assert told["file"] == str(tmp_path / "k.txt")
    assert [told["public_key"]] == public_keys(tmp_path / "k.txt")
    with pytest.raises(CommandError, match="is there already"):
        command("--new", "--output", str(tmp_path / "k.txt"))
    with pytest.raises(CommandError, match="--output belongs to --new"):
        command("--output", "x")


def test_rotation_leaves_every_backup_readable(
    backups: Backups, tmp_path: Path, settings: Settings
) -> None:
    former = backups.recipient
    old = backups.take(kind="schema")
    file = tmp_path / "second.txt"
    new = make_identity(file)
    # Both for a while: either key opens what is taken meanwhile.
    settings.BACKUP_AGE_RECIPIENTS = [former, new]
    between = backups.take(kind="schema")
    # Then the new one alone; the former identity is kept.
    settings.BACKUP_AGE_RECIPIENTS = [new]
    latest = backups.take(kind="schema")
    settings.BACKUP_AGE_IDENTITY_FILES = [str(backups.identity), str(file)]
    for backup in (old, between, latest):
        assert opened(backup).startswith(b"PGDMP")
    report = key_report()
    assert report.recipients == [
        Recipient(new, "age", current=True, opens_here=True, backups=2),
        Recipient(former, "age", current=False, opens_here=True, backups=2),
    ]
    assert (report.locked, report.clear) == (0, 0)
    # Only the new identity is here: what was encrypted to the former alone is closed, and told.
    settings.BACKUP_AGE_IDENTITY_FILES = [str(file)]
    for backup in (between, latest):
        assert opened(backup).startswith(b"PGDMP")
    with pytest.raises(KeyMissingError, match=f"It is encrypted to {former}, and no identity"):
        opened(old)
    assert key_report().locked == 1
    assert (
        "1 backup can be opened by no key that is here. On a server that is as it should be; see "
        "that the secret half is where you think it is."
    ) in command()


def test_a_server_with_the_public_half_alone_takes_backups_and_opens_none(
    backups: Backups, settings: Settings
) -> None:
    settings.BACKUP_AGE_IDENTITY_FILES = [str(backups.var / "somewhere" / "else.txt")]
    backup = backups.take(kind="schema")
    with pytest.raises(KeyMissingError):
        opened(backup)
    assert key_report().recipients[0].opens_here is False


def test_how_things_stand(backups: Backups, settings: Settings) -> None:
    backups.take(kind="schema")
    settings.BACKUP_SIGNING_KEY_FALLBACKS = ["a former one"]
    assert command().splitlines() == [
        "Keys of the backups of development",
        f"  age {backups.recipient}: opens here, 1 backup",
        "Signing key: set, and 1 former",
        f"Identity files here: {backups.identity}",
        (
            "There is one recipient only: who loses its secret half loses every backup. Make a "
            "second one and keep it elsewhere."
        ),
    ]
    told = json.loads(command("--json"))
    assert told["recipients"] == [
        {
            "key": backups.recipient,
            "kind": "age",
            "current": True,
            "opens_here": True,
            "backups": 1,
        }
    ]
    assert (told["locked"], told["clear"], told["has_signing_key"]) == (0, 0, True)


def test_risks_are_named(backups: Backups, settings: Settings) -> None:
    beside = backups.folder / "identity.txt"
    public = make_identity(beside)
    beside.chmod(0o644)
    settings.BACKUP_AGE_RECIPIENTS = [public, backups.recipient]
    settings.BACKUP_AGE_IDENTITY_FILES = [str(beside)]
    assert key_report().warnings == [
        (
            f"{beside} lies in {backups.folder}, with the backups it opens: whoever takes them has "
            "the key as well, and what burns burns with it. Move it."
        ),
        f"{beside} can be read by others on this machine. Run: chmod 600 {beside}",
    ]
    settings.PRODUCTION_LIKE = True
    settings.BACKUP_AGE_IDENTITY_FILES = [str(backups.identity)]
    assert key_report().warnings == [
        (
            f"{backups.identity} is on this machine: whoever takes it over can read its backups. "
            "Where backups are only taken, it is not needed."
        )
    ]


def test_production_without_keys_takes_nothing_and_says_why(
    backups: Backups, settings: Settings
) -> None:
    settings.PRODUCTION_LIKE, settings.ENVIRONMENT = True, "production"
    settings.BACKUP_AGE_RECIPIENTS = []
    with pytest.raises(BackupError, match="production has no key to encrypt its backups to"):
        backups.take(kind="schema")
    with pytest.raises(BackupError, match=r"are always encrypted\. Nothing was taken"):
        backups.take(kind="schema", encrypt=False)
    settings.BACKUP_SIGNING_KEY = ""
    with pytest.raises(BackupError, match="BACKUP_SIGNING_KEY is not set"):
        backups.take(kind="schema")
    assert backups.stored == []
    assert [sentence.partition(",")[0] for sentence in key_report().refusals] == [
        "production has no key to encrypt its backups to",
        "BACKUP_SIGNING_KEY is not set",
    ]
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 1


def test_a_recipient_that_is_none_is_told(backups: Backups, settings: Settings) -> None:
    settings.BACKUP_AGE_RECIPIENTS = ["age1nonsense"]
    refusal = "'age1nonsense' in BACKUP_AGE_RECIPIENTS is no age recipient (age1…)."
    assert key_report().refusals[0].startswith(refusal)
    with pytest.raises(BackupError) as caught:
        backups.take(kind="schema")
    assert str(caught.value).startswith(refusal)


def test_keys_are_shown_also_when_the_catalogue_is_away() -> None:
    said = _without_database()
    assert "its secret half is not here\n" in said
    assert "The catalogue could not be asked how many backups need which key." in said


def _without_database() -> str:
    import subprocess
    import sys

    from srvc.environment import BASE_DIR

    address = "postgres://srvc_owner@127.0.0.1:1/nowhere"
    done = subprocess.run(
        [sys.executable, "manage.py", "backupkeys"],
        cwd=BASE_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "srvc.settings",
            "DATABASE_URL": address.replace("owner", "app"),
            "DATABASE_OWNER_URL": address,
            "BACKUP_AGE_RECIPIENTS": str(pyrage.x25519.Identity.generate().to_public()),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_site_without_keys_is_warned_and_not_deployed(settings: Settings) -> None:
    settings.PRODUCTION_LIKE, settings.ENVIRONMENT = True, "production"
    settings.BACKUP_AGE_RECIPIENTS = [str(pyrage.x25519.Identity.generate().to_public())]
    assert checks.check_backup_keys(None) == []
    settings.BACKUP_AGE_RECIPIENTS = []
    settings.BACKUP_SIGNING_KEY = ""
    messages: list[Any] = [
        (
            "BACKUP_AGE_RECIPIENTS is not set: no backup can be taken.",
            (
                "Run: manage.py backupkeys production --new; it says what to set here and what to "
                "keep elsewhere."
            ),
        ),
        (
            "BACKUP_SIGNING_KEY is not set: no backup can be taken, and none be trusted.",
            (
                "Set it to a long random value: python3 -c 'import secrets; "
                "print(secrets.token_urlsafe(64))' prints one. Keep a copy with the key of the "
                "backups."
            ),
        ),
    ]
    assert checks.check_backup_keys(None) == [
        Warning(message, hint=hint, id="srvc.W003") for message, hint in messages
    ]
    assert checks.check_backup_keys_before_deployment(None) == [
        Error(message, hint=hint, id="srvc.E005") for message, hint in messages
    ]
    settings.DBBACKUP_GPG_RECIPIENT = ["somebody"]
    assert len(checks.check_backup_keys(None)) == 1
    settings.PRODUCTION_LIKE = False
    assert checks.check_backup_keys(None) == []


def test_an_identity_in_a_folder_that_may_not_be_entered_is_not_here(
    tmp_path: Path, settings: Settings
) -> None:
    settings.BACKUP_AGE_IDENTITY_FILES = [str(tmp_path / ("x" * 300)), str(tmp_path)]
    assert keys.identity_files() == []
