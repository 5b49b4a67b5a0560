"""Wrong or missing values: the variable by name and the next step, all at once, never a crash."""

import os
from pathlib import Path

import environ
import pytest
from django.conf import settings
from django.core.checks import Error, Warning  # noqa: A004

from srvc import checks
from srvc.configuration import Configuration, Problem
from tests.srvc.production import COMPLETE, python


def reading(**variables: str) -> Configuration:
    env = environ.Env()
    env.ENVIRON = variables
    return Configuration(env, [])


def test_production_with_a_complete_environment_passes_every_deployment_check() -> None:
    done = python("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "System check identified no issues (2 silenced).\n"


@pytest.mark.parametrize(
    "variable",
    # Trusted origins are needed only where a proxy changes the host.
    sorted(set(COMPLETE) - {"SRVC_ENV", "SRVC_ENV_FILE", "CSRF_TRUSTED_ORIGINS"}),
)
def test_production_without_a_variable_names_it(variable: str) -> None:
    done = python("manage.py", "check", **{variable: None})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"(srvc.E002) {variable} is not set." in done.stderr
    assert done.stderr.count("srvc.E0") == 1


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DATABASE_URL", "postgres://", "srvc.E001) DATABASE_URL is no address of a PostgreSQL"),
        ("DATABASE_URL", "mysql://srvc_app:x@h/srvc", "srvc.E001) DATABASE_URL is no address"),
        ("DATABASE_URL", "postgres://srvc_app:x@h:port/srvc", "srvc.E001) DATABASE_URL is no"),
        (
            "DATABASE_URL",
            "postgres://srvc_owner:x@h/srvc",
            "srvc.E003) DATABASE_URL signs in as srvc_owner, which is the other variable's login.",
        ),
        ("DEBUG", "true", "srvc.E003) DEBUG shows settings and source code to visitors."),
        ("DEBUG", "maybe", "srvc.E001) DEBUG is neither true nor false."),
        ("SECRET_KEY", "secret", "srvc.E003) SECRET_KEY can be guessed."),
        ("SECRET_KEY", "a" * 80, "srvc.E003) SECRET_KEY can be guessed."),
        ("ALLOWED_HOSTS", "*", "srvc.E003) ALLOWED_HOSTS lets anybody choose the host of links"),
        ("ALLOWED_HOSTS", "https://x.example", "srvc.E001) ALLOWED_HOSTS holds an address, not"),
        ("CSRF_TRUSTED_ORIGINS", "x.example", "srvc.E001) CSRF_TRUSTED_ORIGINS holds an origin"),
        ("EMAIL_URL", "mail.example.com", "srvc.E001) EMAIL_URL is no address of a mail server."),
        ("DEFAULT_FROM_EMAIL", "SRVC", "srvc.E001) DEFAULT_FROM_EMAIL is no e-mail address."),
        ("TRUSTED_PROXIES", "-1", "srvc.E001) TRUSTED_PROXIES is no whole number from 0 to 10."),
        ("DATABASE_POOL", "many", "srvc.E001) DATABASE_POOL is no whole number from 0 to 200."),
        ("HTTPS", "false", "srvc.E003) HTTPS lets passwords cross the network in clear."),
        ("SRVC_ENV_FILE", "/dev", "srvc.E004) SRVC_ENV is production, whose file is of no use."),
    ],
)
def test_production_with_a_wrong_value_names_the_variable(
    variable: str, value: str, message: str
) -> None:
    done = python("manage.py", "check", **{variable: value})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert message in done.stderr
    assert "HINT: " in done.stderr


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


def test_only_one_of_two_addresses_is_named_in_development_too() -> None:
    done = python(
        "manage.py", "check", SRVC_ENV="development", DATABASE_OWNER_URL=None, TRUSTED_PROXIES=None
    )
    assert done.returncode == 1
    assert "(srvc.E002) DATABASE_OWNER_URL is not set." in done.stderr


def test_staging_without_file_and_variables_says_so_first() -> None:
    nothing = dict.fromkeys(COMPLETE)
    done = python("manage.py", "check", **(nothing | {"SRVC_ENV": "nowhere"}))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "(srvc.E004) SRVC_ENV is nowhere, whose file is of no use." in done.stderr
    assert "The environment nowhere has no .env.nowhere in " in done.stderr


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


def test_production_is_closed_by_default() -> None:
    code = (
        "from django.conf import settings as s; import json; print(json.dumps([s.DEBUG,"
        " s.SECURE_SSL_REDIRECT, s.SECURE_HSTS_SECONDS, s.SESSION_COOKIE_SECURE,"
        " s.CSRF_COOKIE_SECURE, s.SESSION_COOKIE_HTTPONLY, s.REQUIRE_TWO_FACTOR,"
        " s.SESSION_COOKIE_NAME, s.PASSWORD_HASHERS[0].rsplit('.')[-1],"
        " s.DATABASES['default']['PASSWORD']]))"
    )
    done = python("-c", code, DJANGO_SETTINGS_MODULE="srvc.settings")
    assert done.stdout == (
        '[false, true, 31536000, true, true, true, true, "__Host-srvc_session", '
        '"Argon2PasswordHasher", "pa$s"]\n'
    )
