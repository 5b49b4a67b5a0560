"""What a document comes to. The one function that adds up; every door shows what it returned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

_HUNDRED = Decimal(100)


@dataclass(frozen=True)
class LineAmounts:
    """What one line is made of. Percentages, not fractions; quantity and price not below zero."""

    quantity: Decimal
    unit_price: Decimal
    discount_percent: Decimal = Decimal(0)
    tax_rate: Decimal = Decimal(0)


@dataclass(frozen=True)
class Totals:
    """A document's amounts; `total == subtotal - discount_total + tax_total` always."""

    nets: tuple[Decimal, ...]
    subtotal: Decimal
    discount_total: Decimal
    tax_total: Decimal
    total: Decimal


def line_net(line: LineAmounts, minor_unit: Decimal) -> Decimal:
    """Quantity x unit price x (1 - discount), rounded half up to the currency's minor unit."""
    gross = line.quantity * line.unit_price
    return _round(gross * (_HUNDRED - line.discount_percent) / _HUNDRED, minor_unit)


def compute_totals(
    lines: Sequence[LineAmounts],
    *,
    minor_unit: Decimal,
    discount: Decimal = Decimal(0),
    prices_include_tax: bool = False,
) -> Totals:
    """Add a document up: line nets, then the discount over the lines, then tax once per rate.

    With prices that include tax, lines and discount include it too and the subtotal is what is
    left without it. Raises ValueError for a discount below zero or above the lines' sum.
    """
    nets = tuple(line_net(line, minor_unit) for line in lines)
    lines_sum = sum(nets, Decimal(0))
    discount = _round(discount, minor_unit)
    if not 0 <= discount <= lines_sum:
        raise ValueError(f"a discount of {discount} does not fit lines of {lines_sum}")
    bases: dict[Decimal, Decimal] = defaultdict(Decimal)
    for line, net, share in zip(lines, nets, allocate(discount, nets, minor_unit), strict=True):
        bases[line.tax_rate] += net - share
    tax_total = Decimal(0)
    for rate, base in bases.items():
        divisor = _HUNDRED + rate if prices_include_tax else _HUNDRED
        tax_total += _round(base * rate / divisor, minor_unit)
    total = lines_sum - discount + (0 if prices_include_tax else tax_total)
    return Totals(nets, total + discount - tax_total, discount, tax_total, total)


def allocate(
    amount: Decimal, weights: Sequence[Decimal], minor_unit: Decimal
) -> tuple[Decimal, ...]:
    """Split an amount in proportion to weights, to the minor unit, losing nothing.

    Largest remainder: each share is rounded down, and the units left over go to the shares that
    lost most, the first of equals first. All zero for no amount or no weight.
    """
    whole = sum(weights, Decimal(0))
    if not amount or not whole:
        return tuple(Decimal(0) for _ in weights)
    units = int(amount / minor_unit)
    # Fractions: the 28 digits of a decimal would tell 1 1/3 from 1/3 by what they lack.
    exact = [units * Fraction(weight) / Fraction(whole) for weight in weights]
    shares = [int(share) for share in exact]
    by_loss = sorted(range(len(shares)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_loss[: units - sum(shares)]:
        shares[i] += 1
    return tuple(share * minor_unit for share in shares)


def _round(amount: Decimal, minor_unit: Decimal) -> Decimal:
    return amount.quantize(minor_unit, rounding=ROUND_HALF_UP)
