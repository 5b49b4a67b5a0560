"""How a database is defined: every object by name, with a digest of its definition.

Two databases with equal fingerprints have the same tables, columns, constraints, indexes, policies,
triggers, functions, types, grants and comments, owned by the same roles. Nothing in it depends on
internal numbers, so it survives a dump and a restore, also on another major version.
"""

from __future__ import annotations

from typing import Any

from ops.backups.fingerprint import code, others, relations, rights
from ops.backups.fingerprint.canonical import canonical, unqualified
from ops.backups.fingerprint.dumped import dumped
from ops.backups.fingerprint.model import Fingerprint, digest_of
from ops.backups.fingerprint.properties import database_properties, extensions, roles
from ops.backups.pinned import Connection, pinned

__all__ = [
    "Fingerprint",
    "database_properties",
    "definitions",
    "dumped",
    "extensions",
    "fingerprint",
    "roles",
]

_QUERIES = (*relations.QUERIES, *code.QUERIES, *others.QUERIES, *rights.QUERIES)


def fingerprint(connection: Connection) -> Fingerprint:
    """Return a database's fingerprint. It takes a fraction of a second, and no right on any row."""
    return Fingerprint({key: digest_of(facts) for key, facts in definitions(connection).items()})


def definitions(connection: Connection) -> dict[str, list[Any]]:
    """Return what the fingerprint is made of: each object's facts, by kind and name."""
    found: dict[str, list[Any]] = {}
    with pinned(connection):
        for query in _QUERIES:
            for kind, name, *facts in connection.execute(query.encode()).fetchall():
                if kind in {"view", "materialized view"}:
                    facts[-1] = unqualified(facts[-1])
                found[f"{kind} {name}"] = [_canonical(fact) for fact in facts]
    return found


def _canonical(fact: Any) -> Any:
    if isinstance(fact, list):
        return [_canonical(each) for each in fact]
    return canonical(fact) if isinstance(fact, str) else fact
