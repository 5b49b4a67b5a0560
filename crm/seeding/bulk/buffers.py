"""Rows of many tables at once, written in an order that foreign keys allow."""

from __future__ import annotations

from collections import deque

import pgtrigger

from crm.seeding.bulk.copying import BATCH_ROWS, Copier, Value, text_line

_IDS_AT_ONCE = 500
_STAMPS = ("created_at", "updated_at")
_DOCUMENT = (
    "id", "user_id", *_STAMPS, "number", "customer_id", "title", "currency", "discount_total",
    "subtotal", "tax_total", "total", "status", "issue_date",
)  # fmt: skip
_LINE = (
    "user_id", *_STAMPS, "position", "product_id", "description", "quantity", "unit",
    "unit_price", "discount_percent", "tax_name", "tax_rate", "net",
)  # fmt: skip
# Parents before children.
COLUMNS: dict[str, tuple[str, ...]] = {
    "service_sites": ("id", "user_id", *_STAMPS, "customer_id", "name", "address_line1", "city",
                      "region", "postal_code", "country"),
    "quotes": (*_DOCUMENT, "valid_until", "sent_at", "decided_at", "decline_reason"),
    "quote_lines": ("quote_id", *_LINE),
    "jobs": ("id", "user_id", *_STAMPS, "number", "customer_id", "site_id", "quote_id",
             "assigned_to_id", "title", "status", "status_reason", "priority", "scheduled_start",
             "scheduled_end", "started_at", "completed_at"),
    "invoices": (*_DOCUMENT, "job_id", "quote_id", "status_reason", "due_date", "issued_at",
                 "allocated_total"),
    "invoice_lines": ("invoice_id", *_LINE),
    "payments": ("id", "user_id", *_STAMPS, "customer_id", "amount", "currency", "method",
                 "status", "received_on", "reference", "allocated_total"),
    "payment_allocations": ("user_id", *_STAMPS, "payment_id", "invoice_id", "amount"),
    "document_counters": ("user_id", *_STAMPS, "series", "last_number"),
}  # fmt: skip
# These triggers would refuse documents that are numbered, and partly paid, from the start, and
# would add up sums that are written complete. What they guard is computed here and checked by a
# test in SQL.
_NOT_NEEDED = (
    "crm.QuoteLine:b_frozen_with_document",
    "crm.InvoiceLine:b_frozen_with_document",
    "crm.PaymentAllocation:carry_to_totals",
    "crm.Quote:a_begins_as_draft",
    "crm.Invoice:a_begins_as_draft",
    "crm.Invoice:c_allocated_as_recorded",
    "crm.Payment:c_allocated_as_recorded",
)


def ignored_triggers() -> str:
    """What `pgtrigger.ignore` is set to, for the transaction only, while rows are copied."""
    triggers = pgtrigger.registered(*_NOT_NEEDED)
    return "{" + ",".join(trigger.get_pgid(model) for model, trigger in triggers) + "}"


class Buffers:
    """Collects rows of the tables in COLUMNS and copies them out when there are enough."""

    def __init__(self, copier: Copier) -> None:
        self._copier = copier
        self._lines: dict[str, list[str]] = {table: [] for table in COLUMNS}
        self._ids: dict[str, deque[int]] = {}
        self._count = 0
        copier.execute("SELECT set_config('pgtrigger.ignore', %s, true)", [ignored_triggers()])

    def add(self, table: str, *values: Value) -> None:
        """Keep a row for the next flush."""
        self._lines[table].append(text_line(values))
        self._count += 1

    def new_id(self, table: str) -> int:
        """A new id of a table."""
        if not self._ids.get(table):
            self._ids[table] = deque(self._copier.new_ids(table, _IDS_AT_ONCE))
        return self._ids[table].popleft()

    def flush_if_full(self) -> None:
        """Copy the rows out if there are enough. Only between accounts' documents."""
        if self._count >= BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Copy all rows out, parents before children."""
        for table, lines in self._lines.items():
            self._copier.copy(table, COLUMNS[table], lines)
            lines.clear()
        self._count = 0
