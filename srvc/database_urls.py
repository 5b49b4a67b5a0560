"""What is wrong with the address of a database, found without connecting to it.

No reason repeats a part of the address: any of them may be a misplaced password.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from psycopg import pq

# An option of one of these names would win over the same part of the address.
_PARTS_OF_AN_ADDRESS = {
    "host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service", "replication",
}  # fmt: skip
_CHOICES = {
    "sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
    "target_session_attrs": {
        "any", "read-write", "read-only", "primary", "standby", "prefer-standby",
    },
    "channel_binding": {"disable", "prefer", "require"},
    "gssencmode": {"disable", "prefer", "require"},
    "sslnegotiation": {"postgres", "direct"},
}  # fmt: skip
_NUMBERS = {"connect_timeout", "keepalives_idle", "keepalives_interval", "tcp_user_timeout"}
_EXAMPLE_PASSWORD = "PASSWORD"  # noqa: S105 (as .env.example and our hints write it)
# Where nothing listens: a bad address leads nowhere, and no check ends in a traceback for it.
NOWHERE = {
    "NAME": "not-configured",
    "USER": "",
    "PASSWORD": "",
    "HOST": "/nonexistent",
    "PORT": "5432",
}


def wrong_login(user: str, login: str) -> str:
    """Say that an address signs in as somebody else; "" when it is the login's own."""
    # Some poolers want the tenant behind the login's name: srvc_app.tenant.
    return "" if user.partition(".")[0] == login else f"does not sign in as {login}"


def wrong_options(url: str) -> str:
    """Say what is wrong behind the question mark of an address; "" for nothing."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    try:
        given = parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return "" if not urlsplit(url).query else "has something behind ? that is no NAME=VALUE"
    for name, value in given:
        if name in _PARTS_OF_AN_ADDRESS:
            return f"says {name} twice: in the address and behind the ?"
        if name not in known:
            return "has an option behind ? that PostgreSQL's clients don't know"
        if name in _CHOICES and value not in _CHOICES[name]:
            return f"has a value of {name} that is none ({', '.join(sorted(_CHOICES[name]))})"
        if name in _NUMBERS and not (value.isascii() and value.isdigit()):
            return f"has a value of {name} that is no number"
    return ""


def is_an_example(password: str) -> bool:
    """Tell whether the password is the word that stands for one in the manuals."""
    return password == _EXAMPLE_PASSWORD


def other_database(app: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Tell whether two usable addresses name different databases.

    Hosts and ports may differ: the web process may come through a pooler, the owner must not.
    """
    names = app.get("NAME"), owner.get("NAME")
    return all(names) and NOWHERE["NAME"] not in names and names[0] != names[1]
