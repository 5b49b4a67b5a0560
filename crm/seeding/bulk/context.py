"""What writing one account's work needs."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from crm.seeding.bulk.accounts import SeededAccount
from crm.seeding.bulk.buffers import Buffers
from crm.seeding.bulk.copying import Value
from crm.seeding.bulk.documents import Draft, moment

PAST_DAYS = 365


@dataclass
class Context:
    """One account, where its rows go, and the numbers it has given out."""

    account: SeededAccount
    rows: Buffers
    today: datetime.date
    last_numbers: dict[str, int] = field(default_factory=dict)

    @property
    def rng(self) -> Random:
        """The account's own source of chance."""
        return self.account.rng

    def share(self, per_customer: float) -> int:
        """How many of something the account has; at least one."""
        return max(1, round(self.account.customers * per_customer))

    def new_id(self, table: str) -> int:
        """A new id of a table."""
        return self.rows.new_id(table)

    def number(self, series: str) -> int:
        """The series' next number; they run from 1 without a gap."""
        self.last_numbers[series] = number = self.last_numbers.get(series, 0) + 1
        return number

    def customer(self) -> int:
        """The id of some customer."""
        return self.rng.choice(self.account.customer_ids)

    def days(self, many: int, first: int, last: int) -> Iterator[datetime.date]:
        """So many days in ascending order, `first` to `last` counted from today."""
        for offset in sorted(self.rng.randint(first, last) for _ in range(many)):
            yield self.today + datetime.timedelta(days=offset)

    def add_document(
        self,
        table: str,
        draft: Draft,
        *rest: Value,
        id: int,  # noqa: A002 (the column's name)
        day: datetime.date,
        number: int | None,
        customer: int,
        title: str,
        status: str,
    ) -> None:
        """A row of quotes or invoices with its lines; `rest` is what only that table has."""
        account, totals, at = self.account, draft.totals, moment(day, 9)
        self.rows.add(
            table, id, account.id, at, at, number, customer, title, account.country.currency,
            totals.discount_total, totals.subtotal, totals.tax_total, totals.total, status,
            None if number is None else day, *rest,
        )  # fmt: skip
        for line in draft.lines(id, account, at):
            self.rows.add(f"{table[:-1]}_lines", *line)

    def add_counters(self) -> None:
        """Leave the account's counters where the next number goes on."""
        at = moment(self.today, 0)
        for series, last in self.last_numbers.items():
            self.rows.add("document_counters", self.account.id, at, at, series, last)
