"""After fifty accidents, each recovered from, the database is hash by hash what it was."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property

import pytest

from crm.models import Customer
from ops.backups.fingerprint import Fingerprint, fingerprint
from ops.backups.manifest import Manifest
from ops.backups.proof import Proof, SequenceProof, TableProof
from ops.models import Backup
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.restores.partial.carrying_out import Origin
from ops.restores.partial.recreating import Definitions, definitions_of
from ops.restores.past.pasts import past
from ops.restores.private import PrivateDatabase
from ops.restores.requests import RecoverRequest
from ops.rls.session import acting_as
from tests.factories import make_customer
from tests.ops.backups.conftest import Backups
from tests.ops.restores.between import OTHERS, Between, Sessions, make_books

SCENARIOS = 50
SEED = 20261123


@dataclass(frozen=True)
class FromBackup(Between):
    """Today's database, and a backup that was restored to a private server."""

    private: PrivateDatabase
    open: Sessions
    backup: Backup
    read_definitions: Definitions

    def origin(self) -> Origin:
        """Return what rows are recovered from."""
        return Origin(
            self.private.origin,
            self.private.holds,
            self.read_definitions,
            self.private.manifest,
            self.backup,
        )

    @contextmanager
    def sessions(self) -> Iterator[Sessions]:
        """Lend the same two sessions again, as if they were new: they know the catalog already."""
        for each in self.open:
            each.execute("DISCARD ALL")
        yield self.open

    def definitions(self) -> tuple[str, Fingerprint, Sequence[SequenceProof]]:
        """Return what the dump defines."""
        return self.read_definitions()

    @cached_property
    def proven(self) -> dict[tuple[str, str], TableProof]:
        """What the backup's manifest says of the tables of the business."""
        tables = Proof.from_json(Manifest.of_row(self.backup.manifest).proof or {}).tables
        return {(t.schema, t.name): t for t in tables if not t.name.startswith(OTHERS)}


@pytest.fixture
def books(fresh_database: str) -> None:
    """Two businesses, and a customer of whom history alone is left."""
    first = make_books("First")
    make_books("Second")
    with acting_as(first.owner, via="test"):
        Customer.objects.filter(pk=make_customer().pk).delete()


@pytest.fixture
def between(books: None, backups: Backups) -> Iterator[FromBackup]:
    """The books, and a full backup of them, decrypted and restored once."""
    backup = backups.take(kind="full")
    with (
        past(RecoverRequest(backup=backup.name), None, Counter()) as private,
        closing(Endpoint.of("owner").connect()) as live,
        closing(private.connect()) as then,
    ):
        read = cache(definitions_of(private, backup, Counter()))
        yield FromBackup(backups.database, "", private, (live, then), backup, read)


@dataclass(frozen=True)
class Accident:
    """What happened, and the tables that it happened to."""

    statement: str
    tables: list[str]


def _definitions(between: FromBackup) -> Fingerprint:
    with between.connect() as connection:
        return fingerprint(connection)


def _columns(between: FromBackup) -> dict[str, list[str]]:
    """Return the tables that have rows, and columns of each that any text fits."""
    tables = [name for (_, name), held in between.proof().items() if held.rows]
    rows = between.rows(
        "SELECT c.relname, array_agg(a.attname::text ORDER BY 1) FILTER (WHERE a.attname IN"
        " ('notes', 'city', 'last_name', 'title', 'reference', 'description', 'pgh_label'))"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        " AND c.relname <> 'django_migrations' GROUP BY 1 ORDER BY 1"
    )
    return {name: columns or [] for name, columns in rows if name in tables}


def _referring(between: FromBackup, table: str) -> list[str]:
    """Return the tables that a TRUNCATE … CASCADE of one empties."""
    rows = between.rows(
        f"WITH RECURSIVE hit(number) AS (SELECT '{table}'::regclass::oid UNION"
        " SELECT k.conrelid FROM pg_constraint k JOIN hit ON k.confrelid = hit.number"
        " WHERE k.contype = 'f') SELECT relname FROM hit JOIN pg_class c ON c.oid = hit.number"
        " ORDER BY 1"
    )
    return [name for (name,) in rows if not name.startswith(OTHERS)]


def _accident(
    chance: random.Random, between: FromBackup, columns: dict[str, list[str]]
) -> Accident:
    table = chance.choice(sorted(columns))
    kind = chance.choice(["delete", "update", "truncate", "drop"])
    if kind == "drop":
        return Accident(f"DROP TABLE {table} CASCADE", [table])
    if kind == "truncate":
        return Accident(f"TRUNCATE {table} CASCADE", _referring(between, table))
    if kind == "update" and columns[table]:
        column, text = chance.choice(columns[table]), chance.randrange(1000)
        return Accident(f"UPDATE {table} SET {column} = '{text}'", [table])
    # Some rows, whatever refers to them.
    some = f"DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} ORDER BY random() LIMIT 3)"
    return Accident(f"SET LOCAL session_replication_role = replica; {some}", [table])


@pytest.mark.simulation
def test_fifty_random_accidents_are_recovered_from(between: FromBackup) -> None:
    chance = random.Random(SEED)
    columns = _columns(between)
    before, defined = between.proof(), _definitions(between).objects
    assert before == between.proven
    lost = 0
    for number in range(SCENARIOS):
        accident = _accident(chance, between, columns)
        as_owner = "session_replication_role" not in accident.statement
        between.execute(accident.statement, ignoring=as_owner)

        recovery = between.recover(tables=tuple(accident.tables), exact=True, related=False)

        said = f"{number}: {accident}"
        lost += sum(sum(each["planned"].values()) for each in recovery.plan["tables"])
        now = between.proof(*accident.tables)
        assert now == {key: before[key] for key in now}, said
        assert len(now) == len(accident.tables), said
    assert lost > SCENARIOS
    assert _definitions(between).objects == defined
    assert between.proof() == before
    assert between.sequences_behind() == []
