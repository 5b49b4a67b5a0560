"""Wrong values of every variable in .env.example: each is told with its name and the next step.

The table is what an installation was tried with; each row once was, or could be, accepted in
silence. A value never appears in what is said: any of them may be a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest

from srvc.environment import BASE_DIR
from tests.srvc.production import KEY, python
from tests.srvc.production import settings as settings_of

NAMED = re.compile(r"^#?([A-Z][A-Z0-9_]+)=", re.MULTILINE)
IDENTITY = str(pyrage.x25519.Identity.generate())
APP = "postgres://srvc_app:hunter2@db.example.com:5432/srvc"
OWNER = "postgres://srvc_owner:hunter2@db.example.com:5432/srvc"
BUCKET = "s3://srvc/production?endpoint=https://s3.example.com"

# variable, value, kind of the problem
TABLE: list[tuple[str, str, str]] = [
    ("SRVC_ENV", "Production", "file"),
    ("SRVC_ENV", "prodution", "invalid"),
    ("SRVC_ENV_FILE", "/nowhere/srvc.env", "file"),
    ("SRVC_VAR", "~/srvc", "invalid"),
    ("SRVC_VAR", "/dev/null", "invalid"),
    ("SECRET_KEY", "change-me", "unsafe"),
    ("SECRET_KEY", "ab" * 40, "unsafe"),
    ("SECRET_KEY_FALLBACKS", "old", "unsafe"),
    ("SECRET_KEY_FALLBACKS", f"former-{KEY},django-insecure-{KEY}", "unsafe"),
    ("DEBUG", "ture", "invalid"),
    ("DEBUG", "false # never", "invalid"),
    ("DEBUG", "1", "unsafe"),
    ("HOST", "http://127.0.0.1", "invalid"),
    ("HOST", "127.0.0.1:8000", "invalid"),
    ("PORT", "80a", "invalid"),
    ("PORT", "0", "invalid"),
    ("PORT", "99999", "invalid"),
    ("WEB_CONCURRENCY", "auto", "invalid"),
    ("WEB_CONCURRENCY", "0", "invalid"),
    ("ALLOWED_HOSTS", "srvc.example.com:8000", "invalid"),
    ("ALLOWED_HOSTS", "*.example.com", "invalid"),
    ("ALLOWED_HOSTS", "srvc.example.com;www.example.com", "invalid"),
    ("ALLOWED_HOSTS", "srvc.example.com www.example.com", "invalid"),
    ("ALLOWED_HOSTS", ".com", "unsafe"),
    ("ALLOWED_HOSTS", "srvc.example.com,*", "unsafe"),
    ("CSRF_TRUSTED_ORIGINS", "srvc.example.com", "invalid"),
    ("CSRF_TRUSTED_ORIGINS", "https://srvc.example.com/", "invalid"),
    ("CSRF_TRUSTED_ORIGINS", "https://", "invalid"),
    ("CSRF_TRUSTED_ORIGINS", "https://*", "invalid"),
    ("CSRF_TRUSTED_ORIGINS", "https://*.com", "unsafe"),
    ("CSRF_TRUSTED_ORIGINS", "http://srvc.example.com", "unsafe"),
    ("TRUSTED_PROXIES", "yes", "invalid"),
    ("TRUSTED_PROXIES", "1.0", "invalid"),
    ("TRUSTED_PROXIES", "127.0.0.1", "invalid"),
    ("HTTPS", "ja", "invalid"),
    ("HTTPS", "off", "unsafe"),
    ("HSTS_SECONDS", "1y", "invalid"),
    ("HSTS_SECONDS", "-1", "invalid"),
    ("HSTS_INCLUDE_SUBDOMAINS", "maybe", "invalid"),
    ("HSTS_PRELOAD", "t", "invalid"),
    ("SIGN_IN_FAILURES", "0", "invalid"),
    ("SIGN_IN_FAILURES", "unlimited", "invalid"),
    ("SIGN_IN_COOL_OFF_MINUTES", "0", "invalid"),
    ("SIGN_IN_COOL_OFF_MINUTES", "15m", "invalid"),
    ("REQUIRE_TWO_FACTOR", "fasle", "invalid"),
    ("EMAIL_URL", "consolemail://", "unsafe"),
    ("EMAIL_URL", "dummymail://", "unsafe"),
    ("EMAIL_URL", "memorymail://", "unsafe"),
    ("EMAIL_URL", "filemail:///tmp/mails", "unsafe"),
    ("EMAIL_URL", "smtp.example.com", "invalid"),
    ("EMAIL_URL", "smtp+tls://", "invalid"),
    ("EMAIL_URL", "smtp+tls://smtp.example.com:0", "invalid"),
    ("EMAIL_URL", "smtp+tls://smtp.example.com:many", "invalid"),
    ("EMAIL_URL", "smtp+tls://LOGIN:PASSWORD@smtp.example.com:587", "invalid"),
    ("EMAIL_URL", "smtp://srvc:hunter2@smtp.example.com:25", "unsafe"),
    ("DEFAULT_FROM_EMAIL", "SRVC", "invalid"),
    ("DEFAULT_FROM_EMAIL", "srvc@", "invalid"),
    ("DEFAULT_FROM_EMAIL", "SRVC <@example.com>", "invalid"),
    ("DATABASE_URL", "db.example.com", "invalid"),
    ("DATABASE_URL", "sqlite:///srvc.db", "invalid"),
    ("DATABASE_URL", "srvc_app:hunter2@db.example.com:5432/srvc", "invalid"),
    ("DATABASE_URL", "postgres://srvc_app:hunter2@db.example.com:5432/", "invalid"),
    ("DATABASE_URL", "postgres://srvc_app:hunter2@:5432/srvc", "invalid"),
    ("DATABASE_URL", "postgres://srvc_app:hunter2@db.example.com:99999/srvc", "invalid"),
    ("DATABASE_URL", "postgres://srvc_app:hunter2@[::1/srvc", "invalid"),
    ("DATABASE_URL", "postgres://postgres:hunter2@db.example.com:5432/srvc", "invalid"),
    ("DATABASE_URL", f"{APP}?sslmod=require", "invalid"),
    ("DATABASE_URL", f"{APP}?sslmode=on", "invalid"),
    ("DATABASE_URL", f"{APP}?dbname=other", "invalid"),
    ("DATABASE_URL", f"{APP}?connect_timeout=soon", "invalid"),
    ("DATABASE_URL", "postgres://srvc_app:PASSWORD@db.example.com:5432/srvc", "invalid"),
    ("DATABASE_OWNER_URL", "postgres://", "invalid"),
    ("DATABASE_OWNER_URL", APP, "unsafe"),
    ("DATABASE_OWNER_URL", "postgres://postgres:hunter2@db.example.com:5432/srvc", "invalid"),
    ("DATABASE_OWNER_URL", f"{OWNER}_test", "unsafe"),
    ("DATABASE_OWNER_URL", f"{OWNER}?AUTOCOMMIT=false", "invalid"),
    ("DATABASE_OWNER_URL", "postgres://srvc_owner:PASSWORD@db.example.com:5432/srvc", "invalid"),
    ("DATABASE_DIRECT_URL", "pgbouncer:6432", "invalid"),
    ("DATABASE_DIRECT_URL", APP, "unsafe"),
    ("DATABASE_DIRECT_URL", "postgres://postgres:hunter2@db.example.com:5432/srvc", "invalid"),
    ("DATABASE_DIRECT_URL", f"{OWNER}_test", "unsafe"),
    ("DATABASE_DIRECT_URL", f"{OWNER}?sslmode=on", "invalid"),
    ("DATABASE_DIRECT_URL", "postgres://srvc_owner:PASSWORD@db.example.com:5432/srvc", "invalid"),
    ("DATABASE_REPLICATION_URL", "nonsense", "invalid"),
    ("DATABASE_REPLICATION_URL", OWNER, "unsafe"),
    ("DATABASE_REPLICATION_URL", "postgres://postgres:hunter2@db.example.com:5432/", "invalid"),
    ("DATABASE_REPLICATION_URL", "postgres://srvc_replication:PASSWORD@db:5432/", "invalid"),
    ("DATABASE_REPLICATION_URL", "postgres://srvc_replication:x@db:5432/?sslmode=1", "invalid"),
    ("DATABASE_ADMIN_URL", "root", "invalid"),
    ("CONN_MAX_AGE", "forever", "invalid"),
    ("CONN_MAX_AGE", "-1", "invalid"),
    ("DATABASE_POOL", "201", "invalid"),
    ("BACKUP_STORAGE", "backups", "invalid"),
    ("BACKUP_STORAGE", "~/backups", "invalid"),
    ("BACKUP_STORAGE", "/", "unsafe"),
    ("BACKUP_STORAGE", "VAR/static", "unsafe"),
    ("BACKUP_STORAGE", "VAR/media/backups", "unsafe"),
    ("BACKUP_STORAGE", "/dev/null", "invalid"),
    ("BACKUP_STORAGE", "s3://", "invalid"),
    ("BACKUP_STORAGE", "s3://a bucket/x", "invalid"),
    ("BACKUP_STORAGE", "s3://srvc/x?endpont=https://s3.example.com", "invalid"),
    ("BACKUP_STORAGE", "s3://srvc/x?endpoint=s3.example.com", "invalid"),
    ("BACKUP_STORAGE", "s3://AKIA:hunter2@srvc/x", "unsafe"),
    ("BACKUP_STORAGE", f"{BUCKET}&part=1", "invalid"),
    ("BACKUP_S3_ACCESS_KEY", "AKIA", "invalid"),
    ("BACKUP_S3_SECRET_KEY", "hunter2", "invalid"),
    ("BACKUP_COPY_STORAGE", "copy", "invalid"),
    ("BACKUP_COPY_STORAGE", "VAR/backups", "unsafe"),
    ("BACKUP_COPY_S3_ACCESS_KEY", "AKIA", "invalid"),
    ("BACKUP_COPY_S3_SECRET_KEY", "hunter2", "invalid"),
    ("BACKUP_AGE_RECIPIENTS", "ops@example.com", "invalid"),
    ("BACKUP_AGE_RECIPIENTS", "age1qqqq", "invalid"),
    ("BACKUP_AGE_RECIPIENTS", "/srv/keys/backup.txt", "invalid"),
    ("BACKUP_AGE_RECIPIENTS", IDENTITY, "unsafe"),
    ("BACKUP_AGE_IDENTITY_FILES", "keys/backup.txt", "invalid"),
    ("BACKUP_AGE_IDENTITY_FILES", IDENTITY, "unsafe"),
    ("BACKUP_AGE_IDENTITY_FILES", str(BASE_DIR / "README.md"), "invalid"),
    ("BACKUP_GPG_ALWAYS_TRUST", "always", "invalid"),
    ("BACKUP_SIGNING_KEY", "hunter2", "unsafe"),
    ("BACKUP_SIGNING_KEY", KEY, "unsafe"),
    ("BACKUP_SIGNING_KEY_FALLBACKS", "hunter2", "unsafe"),
    ("BACKUP_CHAIN_LINKS", "0", "invalid"),
    ("BACKUP_CHAIN_DAYS", "week", "invalid"),
    ("BACKUP_WAL_SWITCH_SECONDS", "1", "invalid"),
    ("RESTORE_KEEP_DAYS", "-7", "invalid"),
    ("RESTORE_TWO_PERSONS", "ture", "invalid"),
    ("RESTORE_WAL_WAIT_SECONDS", "30s", "invalid"),
    ("ACCOUNT_ARCHIVE_HOURS", "0", "invalid"),
    ("ACCOUNT_ARCHIVE_MAX_MEGABYTES", "2 GB", "invalid"),
    ("SITE_ADDRESS", "srvc.example.com", "invalid"),
    ("HEALTH_NOTIFY_EMAILS", "ops", "invalid"),
    ("HEALTH_NOTIFY_EMAILS", "ops@example.com,ann@", "invalid"),
    ("HEALTH_NOTIFY_WEBHOOK_URL", "hooks.example.com/hunter2", "invalid"),
    ("HEALTH_NOTIFY_WEBHOOK_URL", "http://hooks.example.com/hunter2", "invalid"),
    ("HEALTH_QUIET_HOURS", "night", "invalid"),
    ("HEALTH_QUIET_HOURS", "22:00-25:00", "invalid"),
    ("HEALTH_TIME_ZONE", "Mars", "invalid"),
    ("HEALTH_TIME_ZONE", "America", "invalid"),
    ("HEALTH_KEEP_DAYS", "30", "invalid"),
    ("METRICS_TOKEN", "hunter2", "unsafe"),
    ("METRICS_ALLOW", "monitoring", "invalid"),
    ("METRICS_ALLOW", "0.0.0.0/0", "unsafe"),
    ("IMPORT_MAX_MEGABYTES", "0", "invalid"),
]
# Nothing that could be found out without asking: a password, a key's name in a keyring.
FREE = {
    "SRVC_APP_PASSWORD",
    "SRVC_OWNER_PASSWORD",
    "SRVC_REPLICATION_PASSWORD",
    "BACKUP_GPG_RECIPIENT",
    "DEMO_PASSWORD",
}
# Read by scripts/install and by the tests, which say themselves what is wrong.
ELSEWHERE = {"SRVC_PYTHON", "SRVC_TEST_ADMIN_URL", "SRVC_CHROMIUM"}


@pytest.fixture(autouse=True)
def environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever reads a file puts its variables into the process's own."""
    before = dict(os.environ)
    yield
    monkeypatch.undo()
    os.environ.clear()
    os.environ.update(before)


def test_the_table_has_every_variable() -> None:
    named = set(NAMED.findall((BASE_DIR / ".env.example").read_text()))
    assert named - {variable for variable, _, _ in TABLE} - FREE - ELSEWHERE == set()
    assert len(TABLE) >= 84


@pytest.mark.parametrize(
    ("variable", "value", "kind"), TABLE, ids=[f"{row[0]}-{i}" for i, row in enumerate(TABLE)]
)
def test_a_wrong_value_is_told_by_its_variable_and_the_next_step(
    variable: str, value: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = value.replace("VAR/", f"{os.environ['SRVC_VAR']}/")
    found = settings_of(monkeypatch, **{variable: value})["CONFIGURATION_ERRORS"]
    mine = [problem for problem in found if problem.variable == variable]
    assert [problem.kind for problem in mine[:1]] == [kind], found
    for problem in found:
        said = f"{problem.wrong} {problem.fix}"
        assert "hunter2" not in said
        assert IDENTITY not in said
        assert problem.fix.endswith((".", ")"))


def test_the_hint_for_a_misspelt_debug_never_says_to_switch_it_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = settings_of(monkeypatch, DEBUG="ture")
    (problem,) = made["CONFIGURATION_ERRORS"]
    assert "DEBUG=false" in problem.fix
    assert "=true" not in problem.fix
    assert made["DEBUG"] is False


@pytest.mark.parametrize(
    ("variable", "setting", "safe"),
    [
        ("REQUIRE_TWO_FACTOR", "REQUIRE_TWO_FACTOR", True),
        ("RESTORE_TWO_PERSONS", "RESTORE_TWO_PERSONS", True),
        ("HTTPS", "HTTPS", True),
        ("HSTS_PRELOAD", "SECURE_HSTS_PRELOAD", False),
        ("BACKUP_GPG_ALWAYS_TRUST", "DBBACKUP_GPG_ALWAYS_TRUST", False),
    ],
)
def test_what_is_neither_yes_nor_no_counts_as_the_safe_side(
    variable: str, setting: str, safe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings_of(monkeypatch, **{variable: "treu"})[setting] is safe


@pytest.mark.parametrize(
    ("variable", "value", "arguments"),
    [
        (
            "DATABASE_URL",
            "postgres://srvc_app:hunter2@h:x/srvc",
            ["check", "--deploy", "--database", "default", "--database", "owner"],
        ),
        ("DATABASE_URL", "srvc_app:hunter2@h/srvc", ["check", "--deploy"]),
        ("DATABASE_URL", "nonsense", ["provision"]),
        ("DATABASE_OWNER_URL", "postgres://srvc_owner:hunter2@[::1/srvc", ["migrate", "--check"]),
        ("DATABASE_OWNER_URL", "sqlite://:memory:", ["check", "--database", "owner"]),
    ],
)
def test_a_bad_address_ends_no_command_in_a_traceback(
    variable: str, value: str, arguments: list[str]
) -> None:
    done = python("manage.py", *arguments, **{variable: value, "PYTHONWARNINGS": "default"})
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert variable in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BACKUP_STORGE", "BACKUP_STORAGE"),
        ("BACKUP_STORAGES", "BACKUP_STORAGE"),
        ("DATABASE_OWNER_ULR", "DATABASE_OWNER_URL"),
        ("RESTORE_TWO_PERSON", "RESTORE_TWO_PERSONS"),
        ("SECRETKEY", "SECRET_KEY"),
        ("Allowed_Hosts", "ALLOWED_HOSTS"),
    ],
)
def test_a_misspelt_name_in_the_file_is_told_with_the_nearest_known_one(
    name: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env.production"
    file.write_text(f"# a file\n{name}=hunter2\n")
    found = settings_of(monkeypatch, SRVC_ENV_FILE=str(file))["CONFIGURATION_ERRORS"]
    monkeypatch.delenv(name)
    assert [problem.kind for problem in found] == ["misspelt"]
    assert "line 2" in found[0].wrong
    assert f"Rename it to {meant} " in found[0].fix


def test_a_name_that_resembles_none_is_a_warning_and_other_programs_are_none(
    tmp_path: Path,
) -> None:
    file = tmp_path / ".env.production"
    file.write_text(
        "COFFEE=black\nPYTHONUNBUFFERED=1\nAWS_CA_BUNDLE=/x\nHTTPS_PROXY=http://p\nTZ=UTC\n"
        "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQ=\n"
    )
    file.chmod(0o600)
    done = python("manage.py", "check", SRVC_ENV_FILE=str(file))
    assert done.returncode == 0
    assert done.stderr.count("srvc.W004") == 2
    assert "COFFEE" in done.stderr
    assert "line 6" in done.stderr
    assert "MIIE" not in done.stderr


def test_a_misspelt_name_in_the_process_is_a_warning() -> None:
    done = python("manage.py", "check", BACKUP_STORGE="/srv/backups")
    assert done.returncode == 0
    assert "srvc.W004" in done.stderr
    assert "BACKUP_STORAGE" in done.stderr
    assert "/srv/backups" not in done.stderr


def test_an_administrators_address_kept_in_the_file_is_unsafe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env.production"
    file.write_text("DATABASE_ADMIN_URL=postgres://postgres:hunter2@db.example.com:5432/postgres\n")
    monkeypatch.delenv("DATABASE_ADMIN_URL", raising=False)
    found = settings_of(monkeypatch, SRVC_ENV_FILE=str(file))["CONFIGURATION_ERRORS"]
    assert [(problem.kind, problem.variable) for problem in found] == [
        ("unsafe", "DATABASE_ADMIN_URL")
    ]


def test_the_example_as_it_stands_is_a_file_without_unknown_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from srvc import environment_names

    assert environment_names.unknown_in(BASE_DIR / ".env.example") == []
    assert "BACKUP_STORAGE" in environment_names.known_names()
