"""A whole scale, in the transaction the caller opened."""

from __future__ import annotations

import datetime
from random import Random
from typing import Any

from psycopg import Cursor

from crm.seeding.bulk.accounts import SeededAccount, copy_accounts
from crm.seeding.bulk.buffers import Buffers
from crm.seeding.bulk.context import Context
from crm.seeding.bulk.copying import Copier
from crm.seeding.bulk.customers import copy_customers
from crm.seeding.bulk.invoices import add_invoices
from crm.seeding.bulk.work import add_jobs, add_quotes, add_sites
from crm.seeding.progress import Progress
from crm.seeding.scales import Scale

# Counted anew once the rows are there: a planner without statistics picks the wrong index.
SEEDED_TABLES = (
    "users", "accounts", "products", "customers", "service_sites", "quotes", "quote_lines", "jobs",
    "invoices", "invoice_lines", "payments", "payment_allocations", "document_counters",
)  # fmt: skip


def load(
    cursor: Cursor[Any], scale: Scale, *, seed: int, today: datetime.date, progress: Progress
) -> list[SeededAccount]:
    """Write a scale's accounts, customers and work as the owner's login, and return the accounts.

    Memory stays bounded: what is kept is eight bytes a customer and one batch of rows.
    """
    copier = Copier(cursor, progress)
    accounts = copy_accounts(copier, scale, seed, today)
    # Users and accounts refer to each other; from here on every batch is checked as it comes,
    # rather than a million checks waiting for the commit in the server's memory.
    copier.execute("SET CONSTRAINTS ALL IMMEDIATE")
    copy_customers(copier, accounts, Random(f"{seed}/{scale.name}"), today)  # noqa: S311
    rows = Buffers(copier)
    for account in accounts:
        _write_work(Context(account, rows, today), scale)
        rows.flush_if_full()
    rows.flush()
    return accounts


def _write_work(context: Context, scale: Scale) -> None:
    add_sites(context, context.share(scale.sites))
    add_quotes(context, context.share(scale.quotes))
    done = list(add_jobs(context, context.share(scale.jobs)))
    add_invoices(context, done[-context.share(scale.invoices) :])
    context.add_counters()
