"""Where a database is and as whom one signs in: for psycopg and for PostgreSQL's own programs.

Both get the same address, TLS options and password. Everybody on the machine can read a
program's arguments, so no secret enters them.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ops.postgres import pooler, tools
from ops.postgres.errors import ServerError, ToolError, one_line
from ops.postgres.session_settings import make_our_settings

Connection = psycopg.Connection[tuple[Any, ...]]

APPLICATION = "srvc backup"
_ADDRESS = {"host", "port", "user", "dbname", "password", "application_name"}
# Programs take these from their arguments only, where every user of the machine could read them.
_SECRET = {"sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
# Each of these makes libpq refuse a connection in clear, and a libpq without TLS refuse to try.
_ONLY_BY_TLS = {
    "sslmode": {"require", "verify-ca", "verify-full"},
    "channel_binding": {"require"},
    "sslcertmode": {"require"},
}


@dataclass(frozen=True)
class Endpoint:
    """One database on one server, and a login of it."""

    host: str
    port: str
    user: str
    database: str
    password: str | None = field(repr=False)
    # libpq's own, such as sslmode and sslrootcert.
    options: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    # Whether a connection pooler may stand in between: for the web process's login alone.
    may_be_pooled: bool = field(default=False, repr=False)

    @classmethod
    def of(cls, alias: str) -> Self:
        """Return the endpoint of a database of settings.DATABASES."""
        config = connections[alias].settings_dict
        return cls(
            host=str(config["HOST"] or ""),
            port=str(config["PORT"] or ""),
            user=str(config["USER"] or ""),
            database=str(config["NAME"] or ""),
            password=config["PASSWORD"] or None,
            options=_options(config["OPTIONS"]),
            may_be_pooled=alias == DEFAULT_DB_ALIAS,
        )

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Return the endpoint of an address such as postgres://NAME:PASSWORD@HOST:5432/DATABASE.

        Raises ServerError, which does not repeat the address: it may hold a password.
        """
        try:
            found = conninfo_to_dict(url)
        except (psycopg.Error, UnicodeError):
            found = {}
        if not (found.get("host") and found.get("user")):
            raise ServerError(
                "This is no address of a PostgreSQL server with a login. Nothing was changed. Its "
                "form is postgres://NAME:PASSWORD@HOST:5432/DATABASE (special characters in the "
                "password as %XX)."
            )
        return cls(
            host=str(found["host"]),
            port=str(found.get("port") or ""),
            user=str(found["user"]),
            database=str(found.get("dbname") or found["user"]),
            password=str(found["password"]) if found.get("password") else None,
            options=_options(found),
        )

    @classmethod
    def replication(cls) -> Self | None:
        """Return where the replication login signs in, or None when settings name none.

        It takes base backups and streams WAL; it enters no database.
        """
        url: str = settings.REPLICATION_URL
        if not url:
            return None
        found = cls.from_url(url)
        return replace(found, options={**found.options, "replication": "true"})

    def at(self, database: str) -> Self:
        """Return the same login on another database of the server."""
        return replace(self, database=database)

    def connect(self, **settings: Any) -> Connection:
        """Connect in autocommit mode; `settings` are psycopg's and libpq's and win over ours.

        Raises ServerError when the server cannot be reached or does not let the login in, and
        PoolerError, before anything is done, when a pooler stands where PostgreSQL itself has to.
        """
        since = time.monotonic()
        wanted: dict[str, Any] = {
            "connect_timeout": 10,  # seconds
            **self._address(),
            "password": self.password,
            "application_name": APPLICATION,
            "autocommit": True,
            **settings,
        }
        try:
            connection = psycopg.connect(**wanted)
            if not self.may_be_pooled and not self.is_replication:
                pooler.require_direct(connection, self.user, self.place, since=since)
                make_our_settings(connection)
        except psycopg.Error as error:
            reason = one_line(error).rstrip("?")  # libpq asks whether the server is running
            if not self.may_be_pooled and pooler.is_word_of_a_pooler(reason):
                raise pooler.refusal(self.user, self.place) from None
            raise ServerError(
                f"{self.user} cannot sign in to {self.place}: {reason}. Nothing was "
                "changed. Check that the server runs, its address, the login's password and the "
                "server's pg_hba.conf."
            ) from None
        return connection

    @property
    def is_replication(self) -> bool:
        """Whether it is a connection for replication, which understands a few commands only."""
        return self.options.get("replication") in {"true", "on", "yes", "1"}

    @property
    def place(self) -> str:
        """The database and its server, for people to read."""
        return f"{self.database} on {self.host or 'this machine'}, port {self.port or '5432'}"

    @property
    def major(self) -> int:
        """The server's major version. Raises ServerError when it does not let the login in."""
        return self._asked[0]

    def program(self, name: str) -> Path:
        """Return the program of the server's major version that can reach it.

        Raises ToolError, which says what to install, and ServerError when the server is away.
        """
        major, by_tls = self._asked
        if self._demands_tls or (by_tls and not self._answers_in_clear):
            return tools.find(name, major, tls=True)
        if by_tls:
            try:
                return tools.find(name, major, tls=True)
            except ToolError:
                pass  # the options merely prefer TLS, and the server answers without
        return tools.find(name, major)

    def arguments(self) -> list[str]:
        """Return what tells a program where to sign in and as whom, without the password.

        Raises ToolError for an option that is a secret and has no other way than argv.
        """
        if secret := sorted(_SECRET & set(self.options)):
            raise ToolError(
                f"The address of {self.place} holds {', '.join(secret)}, which PostgreSQL's "
                "programs would show to every user of this machine. Nothing was started. Use a "
                "client key without a password, or a login with one."
            )
        return [f"--dbname={make_conninfo(**self._address())}"]

    def environment(self) -> dict[str, str]:
        """Return the environment of such a program, the password in it."""
        return tools.environment(self.password, {"PGAPPNAME": APPLICATION})

    def _address(self) -> dict[str, str]:
        address = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "dbname": self.database,
            **self.options,
        }
        return {key: value for key, value in address.items() if value}

    @functools.cached_property
    def _asked(self) -> tuple[int, bool]:
        """The server's major version, and whether it was reached by TLS."""
        with self.connect() as connection:
            return connection.info.server_version // 10_000, connection.pgconn.ssl_in_use

    @property
    def _demands_tls(self) -> bool:
        return any(self.options.get(name) in wanted for name, wanted in _ONLY_BY_TLS.items())

    @functools.cached_property
    def _answers_in_clear(self) -> bool:
        """Whether the server lets this login in without TLS, as a program without it would try."""
        try:
            self.connect(sslmode="disable").close()
        except ServerError:
            return False
        return True


def _options(given: Mapping[str, Any]) -> dict[str, str]:
    """Keep what libpq understands: Django's own options (pool, isolation_level …) are not its."""
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    return {
        name: str(value)
        for name, value in given.items()
        if name in known - _ADDRESS and value is not None
    }
