"""What a field's text means, and what is no number, date, phone or harmless text."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from crm.imports.values import (
    ValueRefusedError,
    clean,
    to_amount,
    to_bool,
    to_date,
    to_datetime,
    to_decimal,
    to_email,
    to_line,
    to_notes,
    to_phone,
)

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", "5"),
        ("-5", "-5"),
        ("+5.25", "5.25"),
        (".5", "0.5"),
        ("1,234.50", "1234.50"),
        ("1,234", "1234"),
        ("1.234,50", "1234.50"),
        ("1.234.567", "1234567"),
        ("12,5", "12.5"),
        ("$1,234.50", "1234.50"),
        ("€ 12,50", "12.50"),
        ("12.50 USD", "12.50"),
        ("-$5", "-5"),
        ("(12.00)", "-12.00"),
        ("1 234,50", "1234.50"),
        ("1.234", "1.234"),
    ],
)
def test_numbers_are_read_as_spreadsheets_write_them(text: str, number: str) -> None:
    assert to_decimal(text) == Decimal(number)


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "1e5", "five", "1,2,3", "12-3", "٣", "--5", ""]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueRefusedError, match="is no number"):
        to_decimal(text)


def test_money_is_not_guessed_where_a_dot_could_be_either() -> None:
    assert to_decimal("1,234", comma_decimals=True) == Decimal("1.234")
    assert to_decimal("0.125", comma_decimals=True) == Decimal("0.125")
    with pytest.raises(ValueRefusedError, match=r"could be 1234 or 1\.234"):
        to_decimal("1.234", comma_decimals=True)


def test_amounts_have_the_columns_digits_and_are_not_below_zero() -> None:
    def amount(text: str) -> Decimal:
        return to_amount(text, digits=14, places=4, comma_decimals=False)

    assert amount("9.50000") == Decimal("9.5")
    for text, why in (("-0.01", "below zero"), ("1.23456", "4 decimals"), ("1" * 11, "too large")):
        with pytest.raises(ValueRefusedError, match=why):
            amount(text)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("1996-07-04", "1996-07-04"),
        ("1996-07-04 00:00:00.000", "1996-07-04"),
        ("1996/7/4", "1996-07-04"),
        ("1996-07-03T23:30:00Z", "1996-07-04"),
        ("4.7.1996", "1996-07-04"),
        ("Jul 4, 1996", "1996-07-04"),
        ("4 July 1996", "1996-07-04"),
        ("04-Jul-1996", "1996-07-04"),
    ],
)
def test_dates_that_need_no_convention(text: str, day: str) -> None:
    for day_first in (True, False):
        assert str(to_date(text, day_first=day_first, zone=BERLIN)) == day


def test_the_order_of_numeric_dates_is_the_accounts() -> None:
    assert to_date("07/04/1996", day_first=False, zone=BERLIN) == dt.date(1996, 7, 4)
    assert to_date("07/04/1996", day_first=True, zone=BERLIN) == dt.date(1996, 4, 7)


def test_times_are_the_accounts_unless_they_name_their_own() -> None:
    def read(text: str) -> str:
        return to_datetime(text, day_first=False, zone=BERLIN).astimezone(dt.UTC).isoformat()

    assert read("1996-07-04 10:30") == "1996-07-04T08:30:00+00:00"
    assert read("07/04/1996 10:30 PM") == "1996-07-04T20:30:00+00:00"
    assert read("1996-07-04T10:30:00-05:00") == "1996-07-04T15:30:00+00:00"


@pytest.mark.parametrize(
    "text",
    ["2024-02-30", "13/13/2024", "31/12/2024", "yesterday", "0000-00-00", "1024-01-01", "45123"],
)
def test_dates_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(ValueRefusedError, match=r"is no date|1900 and 2200"):
        to_date(text, day_first=False, zone=BERLIN)


@pytest.mark.parametrize(
    "text",
    ["=cmd()", "=1+1", "+SUM(A1)", "-cmd|' /C calc'!A0", "@SUM(1)", "＝cmd()"],  # noqa: RUF001
)
def test_formulas_are_refused_in_text_of_any_length(text: str) -> None:
    for read in (lambda: to_line(text, 200), lambda: to_notes(text)):
        with pytest.raises(ValueRefusedError, match="begins like a spreadsheet's formula"):
            read()


def test_signs_that_are_no_formula_stay() -> None:
    assert to_line("+49 30 123456", 60) == "+49 30 123456"
    assert to_line("-12.50", 60) == "-12.50"
    assert to_notes("- ring twice\n- mind the dog") == "- ring twice\n- mind the dog"


def test_phone_numbers_keep_their_plus() -> None:
    for text in ("+1 (555) 010-0199", "030-0074321", "1-800-GOT-JUNK", "555 0199 x12"):
        assert to_phone(text, 60) == text
    for text in ("=1+1", "none", "12", "@SUM(1)", "+cmd|'!A0"):
        with pytest.raises(ValueRefusedError, match="is no phone number"):
            to_phone(text, 60)
    with pytest.raises(ValueRefusedError, match="60 fit"):
        to_phone("5" * 61, 60)


def test_text_has_its_columns_length_and_no_control_characters() -> None:
    assert to_line("two\n lines", 20) == "two lines"
    with pytest.raises(ValueRefusedError, match="21 characters; 20 fit"):
        to_line("x" * 21, 20)
    with pytest.raises(ValueRefusedError, match="control characters"):
        to_line("bell\x07", 20)


def test_emails_are_checked_and_several_are_taken_apart() -> None:
    assert to_email("ada@example.com") == ("ada@example.com", "")
    assert to_email("a@example.com; b@example.com, c@example.com") == (
        "a@example.com",
        "b@example.com, c@example.com",
    )
    for text in ("ada", "=cmd()", "ada@", "@SUM(1)"):
        with pytest.raises(ValueRefusedError, match="is no e-mail address"):
            to_email(text)


def test_null_written_out_is_empty_and_mister_null_is_not() -> None:
    assert [clean(text) for text in (" NULL ", "\\N", "Null", " x ")] == ["", "", "Null", "x"]


def test_yes_and_no_in_other_words() -> None:
    assert [to_bool(text) for text in ("1", "TRUE", "Yes", "0", "false", "N")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    with pytest.raises(ValueRefusedError, match="neither yes nor no"):
        to_bool("maybe")
