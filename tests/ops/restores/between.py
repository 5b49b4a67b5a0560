"""A live database and its past: a clone made before something went wrong, on the same server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from django.db import connections

from crm.models import Customer, Invoice
from crm.services.documents import issue_invoice
from crm.services.payments import pay_invoice
from ops.backups.fingerprint import Fingerprint, fingerprint
from ops.backups.proof import SequenceProof, TableProof
from ops.backups.proving import sequence_proofs, table_proofs
from ops.backups.selection import all_tables
from ops.models import Recovery, Run
from ops.postgres import server
from ops.postgres.endpoint import Endpoint
from ops.progress import Counter
from ops.restores.partial.carrying_out import Confirm, Origin, recover_between
from ops.restores.partial.dropped import script_of_database
from ops.restores.partial.recover import ask_for_recovery
from ops.restores.requests import RecoverRequest
from ops.rls.session import acting_as
from ops.runs import running
from tests.factories import A_DAY, make_business, make_customer, make_invoice
from tests.harness import database
from tests.ops.backups.conftest import ASKER

# What recoveries and people's sessions write while they are about.
OTHERS = ("ops_", "django_tasks_", "django_session")


type Sessions = tuple[psycopg.Connection[tuple[Any, ...]], psycopg.Connection[tuple[Any, ...]]]


@dataclass(frozen=True)
class Between:
    """Today's database, and one of the past to recover from."""

    live: str
    past: str

    def execute(self, statement: str, *, ignoring: bool = True) -> None:
        """Change today's rows by SQL, as an operator who switched the guards off."""
        with self.connect() as connection, connection.transaction():
            if ignoring:
                connection.execute("SET LOCAL ROLE srvc_owner")
                connection.execute(
                    "SELECT set_config('pgtrigger.ignore', (SELECT array_agg(tgname)::text FROM"
                    " pg_trigger WHERE starts_with(tgname, 'pgtrigger_')), true)"
                )
            connection.execute(statement.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask today's database, as its superuser."""
        with self.connect() as connection:
            return connection.execute(query.encode()).fetchall()

    def connect(self, name: str = "") -> psycopg.Connection[tuple[Any, ...]]:
        """Connect as the superuser."""
        return database.connect(name or self.live)

    def recover(self, confirm: Confirm | None = None, **choices: Any) -> Recovery:
        """Recover from the past, as the service does once it is opened."""
        origin = self.origin()
        choices |= {"backup": origin.backup.name} if origin.backup else {"moment": origin.text}
        run: Run = ask_for_recovery(RecoverRequest(**choices), by=ASKER)
        with running(run), self.sessions() as (live, past):
            request = RecoverRequest.of_run(run)
            return recover_between(run, request, live, past, origin, Counter(), confirm=confirm)

    def origin(self) -> Origin:
        """Return what rows are recovered from."""
        return Origin("a clone", None, self.definitions)

    @contextmanager
    def sessions(self) -> Iterator[Sessions]:
        """Lend a session of the owner's login on today's database, and one on the past."""
        with (
            closing(Endpoint.of("owner").connect()) as live,
            closing(self.connect(self.past)) as past,
        ):
            yield live, past

    def definitions(self) -> tuple[str, Fingerprint, Sequence[SequenceProof]]:
        """Return how the past is defined, as its dump would tell."""
        address = {key: str(value) for key, value in database.admin().items()}
        endpoint = Endpoint(
            address.get("host", ""),
            address.get("port", ""),
            address["user"],
            self.past,
            address.get("password"),
        )
        with self.connect(self.past) as connection:
            return (
                script_of_database(endpoint),
                fingerprint(connection),
                sequence_proofs(connection),
            )

    def proof(self, *names: str) -> dict[tuple[str, str], TableProof]:
        """Return what tables of the business hold, by hashes: these, or all of them."""
        with self.connect() as connection:
            tables = [
                table
                for table in all_tables(connection)
                if not table.name.startswith(OTHERS) and (not names or table.name in names)
            ]
            return {(t.schema, t.name): t for t in table_proofs(connection, tables)}

    def sequences_behind(self) -> list[str]:
        """Return the sequences of today that would give out what they gave out in the past."""
        with self.connect() as now:
            stood = {each.name: each.last_value for each in self.definitions()[2]}
            return [
                each.name for each in sequence_proofs(now) if each.last_value < stood[each.name]
            ]


@contextmanager
def cloned(live: str) -> Iterator[Between]:
    """Clone a database as its past, and drop that afterwards."""
    past = f"{live}_past"
    for alias in connections:
        connections[alias].close()
    with database.connect() as connection:
        server.clone_database(connection, live, past)
    try:
        yield Between(live, past)
    finally:
        for alias in connections:
            connections[alias].close()
        with contextlib.suppress(psycopg.Error), database.connect() as connection:
            server.drop_database(connection, past, end_sessions=True)


@dataclass(frozen=True)
class Business:
    """A customer with a paid invoice, of one of two businesses."""

    owner: Any
    customer: Customer
    invoice: Invoice


def make_books(name: str) -> Business:
    """A business, a customer, and an invoice of 120.00 that is issued and half paid."""
    owner = make_business(name)
    with acting_as(owner, via="test"):
        customer = make_customer()
        invoice = make_invoice(customer, "100", "20", issue_date=A_DAY)
        issue_invoice(invoice=invoice, by=owner)
        pay_invoice(invoice=invoice, amount=Decimal(60), received_on=A_DAY, by=owner)
        invoice.refresh_from_db()
    return Business(owner, customer, invoice)
