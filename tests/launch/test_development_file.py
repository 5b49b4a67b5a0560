"""The secrets of a development machine: made once, completed as SRVC wants more of them."""

from pathlib import Path

import pytest

from ops.backups.keymaking import make_identity, public_keys
from srvc.launch.configuration import complete_development_file

EMBEDDED = ["SRVC_OWNER_PASSWORD", "SRVC_APP_PASSWORD", "SRVC_REPLICATION_PASSWORD"]
BACKUPS = ["BACKUP_SIGNING_KEY", "BACKUP_AGE_RECIPIENTS", "BACKUP_AGE_IDENTITY_FILES"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the place of a `.env`, with none of its variables set."""
    monkeypatch.setenv("SRVC_ENV_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("SRVC_VAR", str(tmp_path / "var"))
    for name in ("SECRET_KEY", "DEMO_PASSWORD", *EMBEDDED, *BACKUPS, "BACKUP_GPG_RECIPIENT"):
        # Set and removed, so that what the launcher sets is removed again after the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path / ".env"


def test_a_file_of_an_earlier_version_gets_what_it_lacks_and_keeps_the_rest(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = "# mine\nSECRET_KEY=s\nDEMO_PASSWORD=d\nSRVC_OWNER_PASSWORD=o\nSRVC_APP_PASSWORD=a\n"
    file.write_text(earlier)
    for name in ("SECRET_KEY", "DEMO_PASSWORD", "SRVC_OWNER_PASSWORD", "SRVC_APP_PASSWORD"):
        monkeypatch.setenv(name, "as in the file")
    assert complete_development_file(embedded=True) == file
    text = file.read_text()
    assert text.startswith(earlier)
    added = dict(line.split("=", 1) for line in text.removeprefix(earlier).splitlines())
    assert list(added) == ["SRVC_REPLICATION_PASSWORD", *BACKUPS]
    assert len(added["SRVC_REPLICATION_PASSWORD"]) == len(added["BACKUP_SIGNING_KEY"]) == 64
    assert complete_development_file(embedded=True) is None
    assert file.read_text() == text


def test_a_server_of_ones_own_needs_no_passwords_of_the_embedded_one(file: Path) -> None:
    complete_development_file(embedded=False)
    names = [line.partition("=")[0] for line in file.read_text().splitlines() if "=" in line]
    assert names == ["SECRET_KEY", "DEMO_PASSWORD", *BACKUPS]


def test_a_development_machine_gets_a_key_for_its_backups(file: Path) -> None:
    complete_development_file(embedded=False)
    values = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
    identity = Path(values["BACKUP_AGE_IDENTITY_FILES"])
    assert identity == file.parent / "var" / "keys" / "backup-identity.txt"
    assert [values["BACKUP_AGE_RECIPIENTS"]] == public_keys(identity)
    assert identity.stat().st_mode & 0o777 == 0o600
    assert identity.parent.stat().st_mode & 0o777 == 0o700
    assert "AGE-SECRET-KEY" not in file.read_text()


def test_a_key_that_an_earlier_env_file_left_is_used_again(file: Path) -> None:
    public = make_identity(file.parent / "var" / "keys" / "backup-identity.txt")
    complete_development_file(embedded=False)
    assert f"\nBACKUP_AGE_RECIPIENTS={public}\n" in file.read_text()


@pytest.mark.parametrize(
    "variable", ["BACKUP_AGE_RECIPIENTS", "BACKUP_AGE_IDENTITY_FILES", "BACKUP_GPG_RECIPIENT"]
)
def test_who_has_keys_of_their_own_gets_none(
    variable: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "somebody")
    complete_development_file(embedded=False)
    assert "BACKUP_AGE" not in file.read_text()
    assert not (file.parent / "var").exists()
