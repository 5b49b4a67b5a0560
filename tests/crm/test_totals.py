"""What a document comes to."""

from decimal import Decimal

import pytest

from crm.services.totals import LineAmounts, allocate, compute_totals

CENT = Decimal("0.01")
D = Decimal


def line(quantity: str, price: str, discount: str = "0", tax: str = "0") -> LineAmounts:
    return LineAmounts(D(quantity), D(price), D(discount), D(tax))


def test_a_line_is_rounded_half_up_to_the_cent() -> None:
    totals = compute_totals([line("1", "0.125"), line("1", "0.135")], minor_unit=CENT)
    assert totals.nets == (D("0.13"), D("0.14"))
    assert totals.total == D("0.27")


def test_tax_is_rounded_once_per_rate_and_not_per_line() -> None:
    # Per line 0.0475 would round to 0.05 three times; together it is 0.1425.
    totals = compute_totals([line("1", "0.25", tax="19")] * 3, minor_unit=CENT)
    assert totals.tax_total == D("0.14")
    assert totals.total == D("0.89")


def test_rates_are_taxed_apart() -> None:
    totals = compute_totals(
        [line("1", "100", tax="19"), line("1", "100", tax="7")], minor_unit=CENT
    )
    assert totals.tax_total == D("26.00")


def test_a_discount_lowers_each_rates_base_in_proportion() -> None:
    totals = compute_totals(
        [line("1", "75", tax="20"), line("1", "25", tax="0")], minor_unit=CENT, discount=D("10")
    )
    assert totals.subtotal == D("100.00")
    assert totals.discount_total == D("10.00")
    assert totals.tax_total == D("13.50")  # 20 % of 75 - 7.50
    assert totals.total == D("103.50")


def test_prices_that_include_tax_name_the_tax_within() -> None:
    totals = compute_totals([line("1", "119", tax="19")], minor_unit=CENT, prices_include_tax=True)
    assert (totals.subtotal, totals.tax_total, totals.total) == (D(100), D(19), D(119))


@pytest.mark.parametrize("included", [False, True])
def test_total_is_subtotal_minus_discount_plus_tax(included: bool) -> None:
    totals = compute_totals(
        [line("3", "33.3333", "12.5", "8.875"), line("0.5", "19.99", tax="8.875")],
        minor_unit=CENT,
        discount=D("7.77"),
        prices_include_tax=included,
    )
    assert totals.total == totals.subtotal - totals.discount_total + totals.tax_total


def test_yen_have_no_cents() -> None:
    totals = compute_totals([line("3", "33.5", tax="10")], minor_unit=D(1))
    assert (totals.nets, totals.tax_total, totals.total) == ((D(101),), D(10), D(111))


def test_nothing_comes_to_nothing() -> None:
    assert compute_totals([], minor_unit=CENT).total == 0


@pytest.mark.parametrize("discount", ["-0.01", "10.01"])
def test_a_discount_outside_of_the_lines_is_refused(discount: str) -> None:
    with pytest.raises(ValueError, match="does not fit lines of 10"):
        compute_totals([line("1", "10")], minor_unit=CENT, discount=D(discount))


def test_shares_add_up_to_what_was_split() -> None:
    shares = allocate(D("100"), [D(1), D(1), D(1)], CENT)
    assert shares == (D("33.34"), D("33.33"), D("33.33"))


def test_of_equal_remainders_the_first_takes_the_unit_left_over() -> None:
    # 1 1/3 cents and twice 1/3 of one: each lost a third.
    assert allocate(D("0.02"), [D(4), D(1), D(1)], CENT) == (D("0.02"), D("0.00"), D("0.00"))
    assert allocate(D("0.02"), [D(1), D(4), D(1)], CENT) == (D("0.01"), D("0.01"), D("0.00"))


def test_the_largest_remainder_takes_the_unit_left_over() -> None:
    assert allocate(D("0.10"), [D(1), D(2), D(4)], CENT) == (D("0.01"), D("0.03"), D("0.06"))
