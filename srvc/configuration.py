"""Reading settings from the environment, and remembering what is wrong with them.

Nothing here raises: a setting that could not be read gets a harmless value and a Problem, and the
system checks of srvc.checks tell every problem at once instead of a traceback for the first.
Messages name the variable and never show its value, which may be a secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any, Literal
from urllib.parse import quote, unquote

import environ
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

from ops.errors import OpsError
from ops.postgres.endpoint import Endpoint
from ops.postgres.places import PORT
from ops.postgres.roles import APP, OWNER, REPLICATION
from srvc import database_urls

Kind = Literal["invalid", "missing", "unsafe", "file", "misspelt", "exposed"]

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_EXAMPLE = "still has the word PASSWORD of the example for its password"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_NAMED = re.compile(_NAME)
_HOST = re.compile(rf"\.?{_NAME}\.?|\[[0-9A-Fa-f:.]+\]")
_ORIGIN = re.compile(rf"https?://(?:(?:\*\.)?{_NAME}|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")
_POSTGRES = ("postgres", "postgresql", "psql", "pgsql")


@dataclass(frozen=True)
class Problem:
    """One setting that is missing or wrong, as srvc.checks reports it."""

    kind: Kind
    variable: str
    wrong: str
    fix: str


class Configuration:
    """The variables of one environment, each read once and with its kind."""

    def __init__(self, env: environ.Env, problems: list[Problem]) -> None:
        self._env, self.problems = env, problems

    def report(self, kind: Kind, variable: str, wrong: str, fix: str) -> None:
        """Remember a problem for the system checks."""
        self.problems.append(Problem(kind, variable, wrong, fix))

    def missing(self, variable: str, fix: str) -> None:
        """Remember that a variable has to be set."""
        self.report("missing", variable, "is not set", fix)

    def text(self, variable: str, default: str = "") -> str:
        """A line of text, without the space around it."""
        # Not env.str: it takes a password that begins with a dollar sign for another variable.
        value: str = self._env.ENVIRON.get(variable, default)
        return value.strip()

    def items(self, variable: str, default: Sequence[str] = ()) -> list[str]:
        """Texts separated by commas."""
        value = self.text(variable)
        return [item.strip() for item in value.split(",") if item.strip()] or list(default)

    def flag(self, variable: str, default: bool, *, safe: bool | None = None) -> bool:
        """Yes or no; anything else would be a guess about safety, so it is a problem.

        `safe` is the side that such a value counts as, and the only one that the hint names.
        """
        value = self.text(variable).lower()
        if value in _TRUE + _FALSE:
            return value in _TRUE
        if not value:
            return default
        if safe is None:
            fix = f"Set {variable}=true or {variable}=false; it is {str(default).lower()} without."
        else:
            fix = f"Set {variable}={str(safe).lower()}, which is the safe side."
        self.report("invalid", variable, "is neither true nor false", fix)
        return default if safe is None else safe

    def number(self, variable: str, default: int, *, least: int = 0, most: int = 2**31) -> int:
        """A whole number within limits."""
        value = self.text(variable)
        if not value:
            return default
        if value.isascii() and value.isdigit() and least <= int(value) <= most:
            return int(value)
        self.report(
            "invalid",
            variable,
            f"is no whole number from {least} to {most}",
            f"Set for example {variable}={default}.",
        )
        return default

    def refuse_debug(self, variable: str, value: bool) -> None:
        """Report pages that show settings and source when something fails."""
        if value:
            wrong = "shows settings and source code to visitors"
            self.report("unsafe", variable, wrong, f"Remove {variable} or set {variable}=false.")

    def refuse_weak_key(self, variable: str, value: str) -> None:
        """Report a key that could be guessed: it signs sessions and password reset links."""
        fix = (
            f"Set {variable} to a long random value: python3 -c "
            "'import secrets; print(secrets.token_urlsafe(64))' prints one."
        )
        if not value:
            self.missing(variable, fix)
        elif len(value) < 50 or len(set(value)) < 10 or value.startswith("django-insecure-"):
            self.report("unsafe", variable, "can be guessed", fix)

    def listens(self, variable: str) -> None:
        """Look at the address that the web server listens on."""
        value = self.text(variable)
        if value and not _NAMED.fullmatch(value) and not _is_network_address(value):
            fix = f"Set {variable}=127.0.0.1, or 0.0.0.0 for every interface."
            self.report("invalid", variable, "is no address of a machine", fix)

    def hosts(self, variable: str, *, default: Sequence[str], strict: bool) -> list[str]:
        """Host names that this site answers to."""
        hosts = self.items(variable, default)
        fix = f"Set for example {variable}=srvc.example.com (several: separated by commas)."
        if not hosts:
            self.missing(variable, fix)
        if any("/" in host or "://" in host for host in hosts):
            self.report("invalid", variable, "holds an address, not a host's name", fix)
        elif any(host != "*" and not _HOST.fullmatch(host) for host in hosts):
            self.report("invalid", variable, "holds something that no host is called", fix)
        if strict and any(_is_anybodys(host) for host in hosts):
            self.report("unsafe", variable, "lets anybody choose the host of links in mails", fix)
        return hosts

    def origins(self, variable: str, *, strict: bool = False) -> list[str]:
        """Origins with their scheme; `strict` ones are reached by HTTPS and name a host."""
        origins = self.items(variable)
        fix = f"Set for example {variable}=https://srvc.example.com."
        if not all(origin.startswith(("https://", "http://")) for origin in origins):
            self.report("invalid", variable, "holds an origin without its scheme", fix)
        elif not all(_ORIGIN.fullmatch(origin) for origin in origins):
            wrong = "holds something else than a scheme and a host, which no browser's origin is"
            self.report("invalid", variable, wrong, fix)
        elif strict and any(_is_forged_easily(origin) for origin in origins):
            self.report("unsafe", variable, "accepts forms that anybody could have sent", fix)
        else:
            return origins
        return []

    def database(self, variable: str, login: str) -> dict[str, Any]:
        """Django's configuration from an address; from a bad one, of a place that is nowhere."""
        fix = f"Set {variable}=postgres://{login}:PASSWORD@HOST:5432/NAME (special characters"
        fix += " in the password as %XX)."
        if not self.text(variable):
            self.missing(variable, fix)
            return dict(database_urls.NOWHERE)
        config = self._parsed(self.text(variable))
        wrong = (
            "is no address of a PostgreSQL database"
            if config is None
            else database_urls.wrong_login(config["USER"], login)
            or database_urls.wrong_options(self.text(variable))
        )
        if config is None or wrong:
            other = OWNER if login == APP else APP
            if config and config["USER"].partition(".")[0] == other:
                return config  # separate_logins says it better
            self.report("invalid", variable, wrong, fix)
            return dict(database_urls.NOWHERE)
        if database_urls.is_an_example(config["PASSWORD"]):
            self.report("invalid", variable, _EXAMPLE, fix)
        return config

    def _parsed(self, url: str) -> dict[str, Any] | None:
        """Return the parts of a database's address as Django names them; None for no address."""
        if url.partition("://")[0] not in _POSTGRES:
            return None  # before the parser, which warns of others with the password in its words
        try:
            config = dict(self._env.db_url_config(url))
            config["HOST"] = unquote(config["HOST"] or "")  # a socket's folder: %2Frun%2Fpostgresql
            port = config.get("PORT") or 5432
            complete = all(config.get(key) for key in ("NAME", "USER", "HOST"))
            usable = complete and 0 < int(port) < 2**16
        except (ValueError, KeyError, ImproperlyConfigured):
            return None  # whatever the parser met, the address is the problem
        return config if usable else None

    def replication(
        self, variable: str, *, embedded_host: str | None, embedded_password: str
    ) -> str:
        """The address that base backups and WAL come from; empty without one, which is allowed."""
        url = self.text(variable)
        if not url:
            if embedded_host is None or not embedded_password:
                return ""
            host, password = quote(embedded_host, safe=""), quote(embedded_password, safe="")
            return f"postgres://{REPLICATION}:{password}@{host}:{PORT}/"
        fix = f"Set {variable}=postgres://{REPLICATION}:PASSWORD@HOST:5432/ (special characters in "
        fix += "the password as %XX), or remove it: then there are no base backups and no WAL."
        try:
            endpoint = Endpoint.from_url(url)
        except OpsError:
            self.report("invalid", variable, "is no address of a PostgreSQL server", fix)
            return ""
        login = endpoint.user
        if login.partition(".")[0] in {APP, OWNER}:
            wrong = f"signs in as {login}, which has another task"
            self.report("unsafe", variable, wrong, fix)
            return ""
        wrong = database_urls.wrong_login(login, REPLICATION)
        wrong = wrong or database_urls.wrong_options(url)
        if not wrong and database_urls.is_an_example(endpoint.password or ""):
            wrong = _EXAMPLE
        if wrong:
            self.report("invalid", variable, wrong, fix)
            return ""
        return url

    def administrator(self, variable: str, *, kept_in_file: bool) -> None:
        """Look at the superuser's address, which one command needs and nothing else may have."""
        fix = f"Give {variable}=postgres://postgres:PASSWORD@HOST:5432/postgres to the one command "
        fix += "that needs it (manage.py provision), and keep it in no file."
        if not (url := self.text(variable)):
            return
        try:
            Endpoint.from_url(url)
        except OpsError:
            self.report("invalid", variable, "is no address of a PostgreSQL server", fix)
        if kept_in_file:
            wrong = "is kept in the environment's file: whoever reads that owns the whole server"
            self.report("unsafe", variable, wrong, fix)

    def email(self, variable: str, default: str, *, strict: bool = False) -> dict[str, Any]:
        """Django's EMAIL_* settings from a URL such as smtp+tls://user:password@host:587.

        `strict` ones have to reach people, and carry no password in clear.
        """
        fix = f"Set for example {variable}=smtp+tls://LOGIN:PASSWORD@smtp.example.com:587."
        try:
            config: dict[str, Any] = self._env.email_url_config(self.text(variable) or default)
        except (ValueError, KeyError, ImproperlyConfigured):
            self.report("invalid", variable, "is no address of a mail server", fix)
            return {}
        sends = config["EMAIL_BACKEND"].endswith("smtp.EmailBackend")
        if sends and not config["EMAIL_HOST"]:
            self.report("invalid", variable, "names no mail server", fix)
        elif sends and config["EMAIL_PORT"] == 0:
            self.report("invalid", variable, "has a port that is none", fix)
        elif strict and self.text(variable):
            self._refuse_unsent_mail(variable, config, sends, fix)
        return {key: value for key, value in config.items() if value is not None}

    def _refuse_unsent_mail(
        self, variable: str, config: dict[str, Any], sends: bool, fix: str
    ) -> None:
        secure = config.get("EMAIL_USE_TLS") or config.get("EMAIL_USE_SSL")
        if not sends:
            wrong = "sends no mail: links for new passwords and critical findings reach nobody"
            self.report("unsafe", variable, wrong, fix)
        elif database_urls.is_an_example(config["EMAIL_HOST_PASSWORD"] or ""):
            self.report("invalid", variable, _EXAMPLE, fix)
        elif config["EMAIL_HOST_PASSWORD"] and not secure and not _is_here(config["EMAIL_HOST"]):
            wrong = "sends the mail server's password across the network in clear"
            self.report("unsafe", variable, wrong, fix)

    def sender(self, variable: str, default: str) -> str:
        """The address that mails come from, with or without a name."""
        value = self.text(variable) or default
        if not is_email_address(value):
            fix = f"Set for example {variable}=SRVC <srvc@example.com>."
            self.report("invalid", variable, "is no e-mail address", fix)
        return value

    def separate_logins(
        self,
        app: dict[str, Any],
        owner: dict[str, Any],
        *,
        variable: str = "DATABASE_OWNER_URL",
    ) -> None:
        """Report two database addresses that don't keep the web process and the owner apart.

        `variable` has the owner's.
        """
        logins = {"DATABASE_URL": (app, APP), variable: (owner, OWNER)}
        for each, (config, login) in logins.items():
            other = OWNER if login == APP else APP
            # Some poolers want the tenant behind the login's name: srvc_app.tenant.
            if config.get("USER", "").partition(".")[0] == other:
                self.report(
                    "unsafe",
                    each,
                    f"signs in as {other}, which is the other variable's login",
                    f"Let {each} sign in as {login}; `manage.py provision` makes both logins.",
                )
                return
        if app.get("USER") and app.get("USER") == owner.get("USER"):
            self.report(
                "unsafe",
                "DATABASE_URL",
                f"signs in with the same login as {variable}",
                f"Let DATABASE_URL sign in as {APP} and {variable} as {OWNER}; "
                "`manage.py provision` makes both logins.",
            )
            return
        if database_urls.other_database(app, owner):
            self.report(
                "unsafe",
                variable,
                "names another database than DATABASE_URL: backups and migrations would be of "
                "that one",
                "Let both name the same database.",
            )


def is_email_address(text: str) -> bool:
    """Tell whether mail can be addressed so: ann@example.com, or Ann <ann@example.com>."""
    try:
        validate_email(parseaddr(text)[1])
    except ValidationError:
        return False
    return "\n" not in text


def _is_network_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_anybodys(host: str) -> bool:
    """Tell whether a host's pattern covers everybody's hosts: *, .com."""
    return host == "*" or (host.startswith(".") and "." not in host.strip("."))


def _is_forged_easily(origin: str) -> bool:
    host = origin.partition("://")[2].partition(":")[0]
    return origin.startswith("http://") or _is_anybodys(host.removeprefix("*"))


def _is_here(host: str) -> bool:
    return host in {"localhost", "127.0.0.1", "::1"}
