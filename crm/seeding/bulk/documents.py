"""Lines and totals of a made-up document, by the same rules as every other one's."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal

from crm.models.currencies import minor_unit
from crm.seeding.bulk.accounts import SeededAccount
from crm.seeding.bulk.copying import Value
from crm.seeding.trades import Work
from crm.services.totals import LineAmounts, Totals, compute_totals

_LINE_DISCOUNT, _DOCUMENT_DISCOUNT = Decimal(10), Decimal(5)
_ZERO = Decimal(0)


@dataclass(frozen=True)
class Draft:
    """A document's content, added up."""

    articles: tuple[int, ...]  # positions in the trade's articles
    amounts: tuple[LineAmounts, ...]
    totals: Totals

    def lines(self, document: int, account: SeededAccount, moment: str) -> list[tuple[Value, ...]]:
        """The rows of its lines, as `_LINE` in buffers.py has their columns."""
        rows: list[tuple[Value, ...]] = []
        for position, (article, amounts, net) in enumerate(
            zip(self.articles, self.amounts, self.totals.nets, strict=True)
        ):
            sold = account.trade.articles[article]
            rows.append(
                (document, account.id, moment, moment, position, account.product_ids[article],
                 sold.name, amounts.quantity, sold.unit, amounts.unit_price,
                 amounts.discount_percent, account.country.tax_name, amounts.tax_rate, net)
            )  # fmt: skip
        return rows


def draft(work: Work, account: SeededAccount) -> Draft:
    """What a piece of work comes to, with now and then a discount."""
    rng, tax_rate = account.rng, Decimal(account.country.tax_rate)
    articles = tuple(article for article, _, _ in work.parts)
    amounts = tuple(
        LineAmounts(
            Decimal(rng.randint(least, most)),
            Decimal(account.trade.articles[article].price),
            _LINE_DISCOUNT if rng.random() < 0.05 else _ZERO,
            tax_rate,
        )
        for article, least, most in work.parts
    )
    totals = compute_totals(
        amounts,
        minor_unit=minor_unit(account.country.currency),
        discount=_DOCUMENT_DISCOUNT if rng.random() < 0.05 else _ZERO,
    )
    return Draft(articles, amounts, totals)


def moment(day: datetime.date, hour: int, minutes: int = 0) -> str:
    """So many minutes after an hour of a day (UTC), as PostgreSQL reads it; before midnight."""
    hour, minute = hour + minutes // 60, minutes % 60
    return f"{day} {hour:02d}:{minute:02d}:00+00"
