"""The tests' databases: a template migrated once per run, cloned for every worker.

Both aliases point at the same clone under the logins they have in production: `default` is
srvc_app, who owns nothing, and `owner` is srvc_owner. A test that passes here passes with row
security as it stands in production.
"""

import base64
import fcntl
import hashlib
import hmac
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any
from urllib.parse import quote

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test.testcases import _DatabaseFailure
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ops.postgres import roles, server
from ops.postgres.provisioning import Provisioning, provision
from tests.harness import run

PASSWORD = "test"
ALIASES = {"default": roles.APP, "owner": roles.OWNER}
_VARIABLES = {"default": "DATABASE_URL", "owner": "DATABASE_OWNER_URL"}
_REPLICATION_VARIABLE = "DATABASE_REPLICATION_URL"
VARIABLES = {*_VARIABLES.values(), _REPLICATION_VARIABLE}  # that lead there too
_numbers = itertools.count(1)
# Where both aliases lead, the innermost last.
_addresses: list[dict[str, dict[str, str]]] = []


def admin() -> dict[str, Any]:
    """Return psycopg's arguments for the run's server, as its superuser."""
    if given := os.environ.get(run.ADMIN_URL):
        return dict(conninfo_to_dict(given))
    return run.server().connection


def connect(database: str | None = None) -> psycopg.Connection[tuple[Any, ...]]:
    """Connect as the superuser."""
    arguments = admin()
    if database:
        arguments["dbname"] = database
    return psycopg.connect(**arguments, autocommit=True)


def start_server() -> None:
    """Start the run's server, unless one was given."""
    if not os.environ.get(run.ADMIN_URL):
        run.server().start()


def template() -> str:
    """Return the migrated template, made by the first worker that needs it."""
    name = f"{run.name()}_template"
    with (run.folder() / "template.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with connect() as connection:
            ready = connection.execute(
                "SELECT FROM pg_database WHERE datname = %s AND NOT datallowconn", [name]
            ).fetchone()
        if ready is None:
            _make_template(name)
    return name


@contextmanager
def clone(label: str) -> Iterator[str]:
    """Clone the template, and drop the clone afterwards."""
    source = template()
    name = f"{run.name()}_{label}_{next(_numbers)}"
    with connect() as connection:
        server.clone_database(connection, source, name)
    try:
        yield name
    finally:
        with connect() as connection:
            server.drop_database(connection, name, end_sessions=True)
            _drop_all(connection, f"{name}_")  # what restores made of it


def provide_template(name: str) -> None:
    """Give a clone the template that provisioning gives a database, for restores beside it."""
    with connect() as connection:
        source, made = roles.template_of(template()), roles.template_of(name)
        server.clone_database(connection, source, made)
        for statement in roles.template_close_statements(name):
            connection.execute(statement.sql.encode())


@contextmanager
def pointed_at(database: str) -> Iterator[None]:
    """Let both aliases and the replication login, here and in processes, use this database."""
    # Whole copies: commands change options of their own process, which here is every test's.
    before = {alias: deepcopy(connections[alias].settings_dict) for alias in ALIASES}
    variables = {variable: os.environ[variable] for variable in _VARIABLES.values()}
    replication, variable = settings.REPLICATION_URL, os.environ.get(_REPLICATION_VARIABLE)
    for alias, login in ALIASES.items():
        connections[alias].close()
        connections[alias].settings_dict.update(_address(login, database))
        os.environ[_VARIABLES[alias]] = url(login, database)
    _addresses.append({alias: _address(login, database) for alias, login in ALIASES.items()})
    settings.REPLICATION_URL = os.environ[_REPLICATION_VARIABLE] = url(roles.REPLICATION, "")
    try:
        yield
    finally:
        _addresses.pop()
        os.environ.update(variables)
        settings.REPLICATION_URL = replication
        if variable is None:
            os.environ.pop(_REPLICATION_VARIABLE, None)
        else:
            os.environ[_REPLICATION_VARIABLE] = variable
        for alias, config in before.items():
            connections[alias].close()
            connections[alias].settings_dict.update(config)


def _address(login: str, database: str) -> dict[str, str]:
    arguments = admin()
    host, port = str(arguments.get("host", "")), str(arguments.get("port", 5432))
    return {"NAME": database, "HOST": host, "PORT": port, "USER": login, "PASSWORD": PASSWORD}


def take_back() -> list[str]:
    """Take back what a test left that would fail later ones of its worker; return what that was.

    One that could not begin or end properly leaves Django's connections shut to it or within its
    transaction, and whatever comes next fails in its stead.
    """
    found = []
    for alias in ALIASES:
        wrapper = connections[alias]
        shut = any(isinstance(value, _DatabaseFailure) for value in vars(wrapper).values())
        if shut or wrapper.in_atomic_block:
            found.append(f"{alias} {'shut' if shut else 'within a transaction'}")
            if (driver := wrapper.connection) is not None:
                driver.close()
            del connections[alias]
        config, wanted = wrapper.settings_dict, _addresses[-1].get(alias) if _addresses else None
        if wanted and (changed := [key for key, value in wanted.items() if config[key] != value]):
            found.append(f"{alias} with another {', '.join(changed)}")
            connections[alias].close()
            config.update(wanted)
    if found:
        # The others may be in the same state, without a sign of it.
        for alias in ALIASES:
            connections[alias].close()
    return found


def url(login: str, database: str) -> str:
    """Return the address of a database as DATABASE_URL has it."""
    arguments = admin()
    host, port = str(arguments.get("host", "")), arguments.get("port", 5432)
    return f"postgres://{login}:{PASSWORD}@{quote(host, safe='')}:{port}/{database}"


def drop_databases() -> None:
    """Drop what this run made on a server that outlives it."""
    drop_with_prefix(run.name())


def drop_with_prefix(prefix: str) -> None:
    """Drop every database whose name begins so, templates too."""
    with connect() as connection:
        _drop_all(connection, prefix)


def _drop_all(connection: psycopg.Connection[tuple[Any, ...]], prefix: str) -> None:
    for name in server.databases(connection, prefix):
        connection.execute(
            sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(name))
        )
        server.drop_database(connection, name, end_sessions=True)


def _make_template(name: str) -> None:
    passwords = dict.fromkeys(roles.LOGINS, PASSWORD)
    with connect() as connection:
        server.drop_database(connection, name, end_sessions=True)
    provision(Provisioning(admin(), name, passwords))
    with connect() as connection:
        _set_quick_verifiers(connection)
    with pointed_at(name):
        call_command("migrate", database="owner", interactive=False, verbosity=0)
    # Nobody may connect any more: a session in the template would make cloning fail.
    with connect() as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name))
        )


def _set_quick_verifiers(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Let signing in take one round of hashing instead of 4,096, on servers that can't be told so.

    PostgreSQL has scram_iterations since 16; what a verifier is made of says RFC 5803.
    """
    if connection.info.server_version >= 160_000:
        return
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, 1)
    client = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = (base64.b64encode(part).decode() for part in (salt, client, server_key))
    verifier = "SCRAM-SHA-256$1:{}${}:{}".format(*parts)
    for login in roles.LOGINS:
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(login), sql.Literal(verifier)
            )
        )
