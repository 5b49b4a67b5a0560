"""Reading settings from the environment, and remembering what is wrong with them.

Nothing here raises: a setting that could not be read gets a harmless value and a Problem, and the
system checks of srvc.checks tell every problem at once instead of a traceback for the first.
Messages name the variable and never show its value, which may be a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any, Literal
from urllib.parse import quote, unquote

import environ
from django.core.exceptions import ImproperlyConfigured

from ops.errors import OpsError
from ops.postgres.endpoint import Endpoint
from ops.postgres.places import PORT
from ops.postgres.roles import APP, OWNER, REPLICATION

Kind = Literal["invalid", "missing", "unsafe", "file", "exposed"]

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
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

    def flag(self, variable: str, default: bool) -> bool:
        """Yes or no; anything else would be a guess about safety, so it is a problem."""
        value = self.text(variable).lower()
        if value and value not in _TRUE + _FALSE:
            self.report("invalid", variable, "is neither true nor false", f"Set {variable}=true.")
        return value in _TRUE if value in _TRUE + _FALSE else default

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

    def hosts(self, variable: str, *, default: Sequence[str], strict: bool) -> list[str]:
        """Host names that this site answers to."""
        hosts = self.items(variable, default)
        fix = f"Set for example {variable}=srvc.example.com (several: separated by commas)."
        if not hosts:
            self.missing(variable, fix)
        if any("/" in host or "://" in host for host in hosts):
            self.report("invalid", variable, "holds an address, not a host's name", fix)
        if strict and "*" in hosts:
            self.report("unsafe", variable, "lets anybody choose the host of links in mails", fix)
        return hosts

    def origins(self, variable: str) -> list[str]:
        """Origins with their scheme."""
        origins = self.items(variable)
        if all(origin.startswith(("https://", "http://")) for origin in origins):
            return origins
        self.report(
            "invalid",
            variable,
            "holds an origin without its scheme",
            f"Set for example {variable}=https://srvc.example.com.",
        )
        return []

    def database(self, variable: str, login: str) -> dict[str, Any]:
        """Django's configuration of a database from its URL; empty when the URL is no good."""
        fix = f"Set {variable}=postgres://{login}:PASSWORD@HOST:5432/NAME (special characters"
        fix += " in the password as %XX)."
        if not self.text(variable):
            self.missing(variable, fix)
            return {}
        try:
            config = dict(self._env.db_url_config(self.text(variable)))
            config["HOST"] = unquote(config["HOST"] or "")  # a socket's folder: %2Frun%2Fpostgresql
            scheme = self.text(variable).partition("://")[0]
            port = config.get("PORT") or 5432
            complete = all(config.get(key) for key in ("NAME", "USER", "HOST"))
            if scheme in _POSTGRES and complete and 0 < int(port) < 2**16:
                return config
        except (ValueError, KeyError, ImproperlyConfigured):
            pass  # whatever the parser met, the address is the problem
        self.report("invalid", variable, "is no address of a PostgreSQL database", fix)
        return {}

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
            login = Endpoint.from_url(url).user
        except OpsError:
            self.report("invalid", variable, "is no address of a PostgreSQL server", fix)
            return ""
        if login.partition(".")[0] in {APP, OWNER}:
            wrong = f"signs in as {login}, which has another task"
            self.report("unsafe", variable, wrong, fix)
            return ""
        return url

    def email(self, variable: str, default: str) -> dict[str, Any]:
        """Django's EMAIL_* settings from a URL such as smtp+tls://user:password@host:587."""
        fix = f"Set for example {variable}=smtp+tls://LOGIN:PASSWORD@smtp.example.com:587."
        try:
            config: dict[str, Any] = self._env.email_url_config(self.text(variable) or default)
        except (ValueError, KeyError, ImproperlyConfigured):
            self.report("invalid", variable, "is no address of a mail server", fix)
            return {}
        if config["EMAIL_BACKEND"].endswith("smtp.EmailBackend") and not config["EMAIL_HOST"]:
            self.report("invalid", variable, "names no mail server", fix)
        return {key: value for key, value in config.items() if value is not None}

    def sender(self, variable: str, default: str) -> str:
        """The address that mails come from, with or without a name."""
        value = self.text(variable) or default
        if "@" not in parseaddr(value)[1]:
            fix = f"Set for example {variable}=SRVC <srvc@example.com>."
            self.report("invalid", variable, "is no e-mail address", fix)
        return value

    def separate_logins(self, app: dict[str, Any], owner: dict[str, Any]) -> None:
        """Report two database addresses that don't keep the web process and the owner apart."""
        logins = {"DATABASE_URL": (app, APP), "DATABASE_OWNER_URL": (owner, OWNER)}
        for variable, (config, login) in logins.items():
            other = OWNER if login == APP else APP
            # Some poolers want the tenant behind the login's name: srvc_app.tenant.
            if config.get("USER", "").partition(".")[0] == other:
                self.report(
                    "unsafe",
                    variable,
                    f"signs in as {other}, which is the other variable's login",
                    f"Let {variable} sign in as {login}; `manage.py provision` makes both logins.",
                )
                return
        if app.get("USER") and app.get("USER") == owner.get("USER"):
            self.report(
                "unsafe",
                "DATABASE_URL",
                "signs in with the same login as DATABASE_OWNER_URL",
                f"Let DATABASE_URL sign in as {APP} and DATABASE_OWNER_URL as {OWNER}; "
                "`manage.py provision` makes both logins.",
            )
