"""Wrong or missing values: the variable by name and the next step, all at once, never a crash."""

import os
from pathlib import Path

import environ
import pytest
from django.conf import settings
from django.core.checks import Error, Warning  # noqa: A004

from ops.postgres.endpoint import Endpoint
from srvc import checks
from srvc.configuration import Configuration, Problem
from tests.srvc.production import COMPLETE, problems, python
from tests.srvc.production import settings as settings_of


def reading(**variables: str) -> Configuration:
    env = environ.Env()
    env.ENVIRON = variables
    return Configuration(env, [])


def test_production_with_a_complete_environment_passes_every_deployment_check(
    tmp_path: Path,
) -> None:
    checked = ("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    lacking = python(*checked, SRVC_VAR=str(tmp_path))
    assert (lacking.returncode, lacking.stderr.count("srvc.E008")) == (1, 1)
    assert python("manage.py", "collectstatic", "--noinput", SRVC_VAR=str(tmp_path)).returncode == 0
    done = python(*checked, SRVC_VAR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "System check identified no issues (2 silenced).\n"
    # A file of the source that an earlier version did not have.
    manifest = tmp_path / "static" / "staticfiles.json"
    manifest.write_text(manifest.read_text().replace('"srvc/favicon.svg"', '"srvc/former.svg"'))
    assert "srvc/favicon.svg" in python(*checked, SRVC_VAR=str(tmp_path)).stderr


@pytest.mark.parametrize(
    "variable",
    # Trusted origins are needed only where a proxy changes the host. A site without the keys of
    # backups still serves (tests/ops/backups/test_keys_settings.py).
    sorted(
        set(COMPLETE)
        - {"SRVC_ENV", "SRVC_ENV_FILE", "CSRF_TRUSTED_ORIGINS"}
        - {"BACKUP_SIGNING_KEY", "BACKUP_AGE_RECIPIENTS"}
    ),
)
def test_production_without_a_variable_names_it(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert problems(monkeypatch, **{variable: None}) == [f"missing {variable} is not set"]


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("DATABASE_URL", "postgres://", "invalid is no address of a PostgreSQL database"),
        (
            "DATABASE_URL",
            "mysql://srvc_app:x@h/d",
            "invalid is no address of a PostgreSQL database",
        ),
        (
            "DATABASE_URL",
            "pgsql://srvc_app:x@h:p/d",
            "invalid is no address of a PostgreSQL database",
        ),
        (
            "DATABASE_URL",
            "postgres://srvc_owner:x@h/d",
            "unsafe signs in as srvc_owner, which is the other variable's login",
        ),
        (
            "DATABASE_REPLICATION_URL",
            "postgres://srvc_replication:x@",
            "invalid is no address of a PostgreSQL server",
        ),
        (
            "DATABASE_REPLICATION_URL",
            "postgres://srvc_owner:x@h:5432/",
            "unsafe signs in as srvc_owner, which has another task",
        ),
        ("DEBUG", "true", "unsafe shows settings and source code to visitors"),
        ("DEBUG", "maybe", "invalid is neither true nor false"),
        ("SECRET_KEY", "secret", "unsafe can be guessed"),
        ("SECRET_KEY", "a" * 80, "unsafe can be guessed"),
        ("ALLOWED_HOSTS", "*", "unsafe lets anybody choose the host of links in mails"),
        ("ALLOWED_HOSTS", "https://x.example", "invalid holds an address, not a host's name"),
        (
            "SITE_ADDRESS",
            "http://srvc.example.com",
            "invalid is http://, and the site is served over HTTPS",
        ),
        (
            "SITE_ADDRESS",
            "https://evil.example",
            "invalid names a host that is not in ALLOWED_HOSTS, so its links would be refused",
        ),
        ("SITE_ADDRESS", "https://srvc.example.com/?next=", "invalid is no address"),
        ("SITE_ADDRESS", "https://srvc.example.com:port", "invalid is no address"),
        ("CSRF_TRUSTED_ORIGINS", "x.example", "invalid holds an origin without its scheme"),
        ("EMAIL_URL", "mail.example.com", "invalid is no address of a mail server"),
        ("DEFAULT_FROM_EMAIL", "SRVC", "invalid is no e-mail address"),
        ("TRUSTED_PROXIES", "-1", "invalid is no whole number from 0 to 10"),
        ("DATABASE_POOL", "many", "invalid is no whole number from 0 to 200"),
        ("SIGN_IN_FAILURES", "0", "invalid is no whole number from 1 to 1000"),
        ("HTTPS", "false", "unsafe lets passwords cross the network in clear"),
        ("BACKUP_SIGNING_KEY", "secret", "unsafe can be guessed"),
    ],
)
def test_production_with_a_wrong_value_names_the_variable(
    variable: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, _, wrong = problem.partition(" ")
    assert problems(monkeypatch, **{variable: value}) == [f"{kind} {variable} {wrong}"]


def test_every_problem_is_told_at_once_and_without_a_traceback() -> None:
    done = python("manage.py", "check", DEBUG="true", SECRET_KEY=None, SRVC_ENV_FILE="/dev")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for line in (
        "(srvc.E002) SECRET_KEY is not set.",
        "(srvc.E003) DEBUG shows settings and source code to visitors.",
        "(srvc.E004) SRVC_ENV is production, whose file is of no use.",
    ):
        assert line in done.stderr
    assert done.stderr.count("HINT: ") == 3


def test_a_value_is_never_shown() -> None:
    done = python("manage.py", "check", DATABASE_URL="postgres://srvc_app:hunter2@h:x/srvc")
    assert "hunter2" not in done.stderr + done.stdout


def test_one_login_for_both_addresses_is_unsafe() -> None:
    read = reading()
    read.separate_logins({"USER": "postgres"}, {"USER": "postgres"})
    assert [(problem.kind, problem.variable) for problem in read.problems] == [
        ("unsafe", "DATABASE_URL")
    ]
    read = reading()
    read.separate_logins({"USER": "srvc_app.tenant"}, {"USER": "srvc_owner.tenant"})
    assert read.problems == []


def test_only_one_of_two_addresses_is_named_in_development_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert problems(monkeypatch, SRVC_ENV="development", DATABASE_OWNER_URL=None) == [
        "missing DATABASE_OWNER_URL is not set"
    ]


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, ""),
        (
            {"DATABASE_REPLICATION_URL": "postgres://srvc_replication:x@h:5432/?sslmode=require"},
            "postgres://srvc_replication:x@h:5432/?sslmode=require",
        ),
        # The embedded server's password says nothing about another server.
        ({"SRVC_REPLICATION_PASSWORD": "x"}, ""),
    ],
)
def test_base_backups_and_wal_come_from_where_it_is_said_or_nowhere(
    variables: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = settings_of(monkeypatch, **{"DATABASE_REPLICATION_URL": None, **variables})
    assert made["CONFIGURATION_ERRORS"] == []
    assert made["REPLICATION_URL"] == address


def test_the_embedded_server_has_a_login_for_them_by_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nothing = dict.fromkeys([*COMPLETE, "DATABASE_REPLICATION_URL"])
    made = settings_of(
        monkeypatch,
        **(nothing | {"SRVC_ENV_FILE": os.devnull}),
        SRVC_VAR=str(tmp_path),
        SRVC_REPLICATION_PASSWORD="a/b:c@d",
    )
    there = Endpoint.from_url(made["REPLICATION_URL"])
    assert (there.user, there.password) == ("srvc_replication", "a/b:c@d")
    assert (there.host, there.port) == (made["DATABASES"]["owner"]["HOST"], "5432")


def test_an_environment_without_file_and_variables_says_so_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = dict.fromkeys(COMPLETE)
    found = problems(monkeypatch, **(nothing | {"SRVC_ENV": "nowhere"}))
    assert found[0] == "file SRVC_ENV is nowhere, whose file is of no use"
    assert "missing DATABASE_URL is not set" in found


def test_a_name_that_is_none_takes_no_other_environments_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = settings_of(monkeypatch, SRVC_ENV="Prod!")
    assert made["CONFIGURATION_ERRORS"][0].kind == "file"
    assert (made["ENVIRONMENT"], made["PRODUCTION_LIKE"], made["EMBEDDED_POSTGRES"]) == (
        "unknown",
        True,
        False,
    )


def test_a_password_may_begin_with_a_dollar_sign() -> None:
    assert reading(A="$ecret").text("A") == "$ecret"
    config = reading(
        DATABASE_URL="postgres://srvc_app:%24x%2F%3A@%2Frun%2Fpostgresql:5432/srvc"
    ).database("DATABASE_URL", "srvc_app")
    assert (config["PASSWORD"], config["HOST"]) == ("$x/:", "/run/postgresql")


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("YES", True), ("1", True), ("off", False), ("", True)]
)
def test_yes_and_no(text: str, value: bool) -> None:
    assert reading(A=text).flag("A", default=True) is value


def test_problems_become_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        settings, "CONFIGURATION_ERRORS", [Problem("missing", "X", "is not set", "Set X=1.")]
    )
    assert checks.check_configuration(None) == [
        Error("X is not set.", hint="Set X=1.", id="srvc.E002")
    ]


def test_a_file_that_others_can_read_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env.production"
    file.write_text("A=1\n")
    monkeypatch.setenv("SRVC_ENV_FILE", str(file))
    monkeypatch.setattr(settings, "PRODUCTION_LIKE", True)
    file.chmod(0o600)
    assert checks.check_file_is_private(None) == []
    file.chmod(0o640)
    assert checks.check_file_is_private(None) == [
        Warning(
            f"{file} can be read by other users of this machine, and holds passwords.",
            hint=f"Run: chmod 600 {file}",
            id="srvc.W001",
        )
    ]
    assert os.environ["SRVC_ENV_FILE"] == str(file)


def test_production_is_closed_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings_of(monkeypatch)
    assert {
        name: made[name] for name in ("DEBUG", "SECURE_SSL_REDIRECT", "REQUIRE_TWO_FACTOR")
    } == {
        "DEBUG": False,
        "SECURE_SSL_REDIRECT": True,
        "REQUIRE_TWO_FACTOR": True,
    }
    assert made["SECURE_HSTS_SECONDS"] == 31_536_000
    assert made["SECURE_PROXY_SSL_HEADER"] == ("HTTP_X_FORWARDED_PROTO", "https")
    for cookie in ("SESSION_COOKIE", "CSRF_COOKIE"):
        assert made[f"{cookie}_SECURE"]
        assert made[f"{cookie}_HTTPONLY"]
        assert made[f"{cookie}_SAMESITE"] == "Lax"
        assert made[f"{cookie}_NAME"].startswith("__Host-")
    assert made["PASSWORD_HASHERS"][0].endswith(".Argon2PasswordHasher")
    assert made["DATABASES"]["default"]["PASSWORD"] == "pa$s"


def test_without_a_proxy_nobodys_word_is_taken_for_https(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(monkeypatch, TRUSTED_PROXIES="0")["SECURE_PROXY_SSL_HEADER"] is None
