"""Whatever is wrong, every line is told and nothing is imported."""

from __future__ import annotations

import pytest

from crm.errors import CrmError
from crm.imports.files import Options
from crm.imports.problems import ImportCancelledError, ImportRefusedError
from crm.imports.reading import Source
from crm.imports.run import run_import
from crm.models import Customer
from ops.rls.session import acting_as
from tests.crm.imports.bring import FILES, bring, problems_of
from tests.factories import account_of, make_business

pytestmark = pytest.mark.django_db
FORMULA = "begins like a spreadsheet's formula. Put a word in front, or take the sign away."
SEPARATOR = "A separator may be missing, or text with one in it not be quoted."


def test_every_bad_row_is_told_by_line_and_column_and_the_good_ones_stay_out() -> None:
    owner = make_business()
    assert problems_of(owner, "customers", FILES / "bad_customers.csv") == [
        f"line 3, column First Name: “=cmd()” {FORMULA}",
        "line 4, column Email: “no address” is no e-mail address.",
        "line 4, column Phone: “none” is no phone number.",
        f"line 7: The row has 3 fields, the header has 5. {SEPARATOR}",
        "line 8, column Zip: The text has 31 characters; 20 fit.",
        "line 9: The customer has neither a first name nor a last or company name.",
        f"line 10, column Notes: “-cmd|' /C calc'!A0” {FORMULA}",
    ]
    with acting_as(owner):
        assert not Customer.objects.exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "The file is empty."),
        (b"Name,Email\n", "line 1: The file has a header and no rows below it."),
        (b"\x89PNG\r\n\x1a\n" + bytes(2000), "The file is no CSV: it is an image."),
        (b"Email,Phone\na@example.com,\n", "line 1: No column holds the customer's name."),
        (b"Name,name\nA,B\n", "line 1: The column “name” is there twice"),
        (b"Name\nZo\xc3\xab\n\xff\xfe\n", "line 3: The file is UTF-8 up to here"),
        (b"Name\nAda\nG\0\n", "line 3: The text has a NUL byte in it."),
        (b'Name\nAda\n"Grace\n', "line 3: A quoted field that begins in this row has no end"),
        (b"n," * 499_999 + b"n\nx\n", "line 1: The file has 500,000 columns"),
    ],
)
def test_a_file_that_is_no_table_is_refused_and_the_connection_still_works(
    content: bytes, problem: str
) -> None:
    owner = make_business()
    (told,) = problems_of(owner, "customers", content)
    assert told.startswith(problem)
    assert bring(owner, "customers", "Name\nAda\n").created_rows == 1


def test_problems_before_a_break_in_the_file_are_told_with_it() -> None:
    owner = make_business()
    told = problems_of(owner, "customers", b'Name,Email\nAda,x\nGrace,\n"Open,\n')
    assert [problem.split(":")[0] for problem in told] == ["line 2, column Email", "line 4"]


def test_a_second_file_that_is_refused_keeps_the_first_one_out() -> None:
    owner = make_business()
    assert problems_of(owner, "customers", "Name\nAda\n", "Name,Email\nGrace,x\n") == [
        "file2.csv, line 2, column Email: “x” is no e-mail address."
    ]
    with acting_as(owner):
        assert not Customer.objects.exists()


def test_of_very_many_problems_the_first_hundred_are_kept_and_all_counted() -> None:
    owner = make_business()
    rows = "Name,Email\n" + "Ada,x\n" * 1_234
    with pytest.raises(ImportRefusedError) as caught:
        bring(owner, "customers", rows)
    assert (len(caught.value.problems), caught.value.count) == (100, 1_234)
    assert str(caught.value).startswith("1,234 problems found.")


def test_a_row_that_only_the_database_refuses_is_told_in_a_sentence() -> None:
    owner = make_business()
    with acting_as(owner):
        # One that comes in between the check and the writing, as from another session.
        def progress(phase: str, done: int, total: int) -> None:
            if phase == "Writing" and done == 0:
                Customer.objects.create(first_name="Late", external_id="7")

        with pytest.raises(CrmError, match="Another row of this account has this external id"):
            run_import(
                kind="customers",
                sources=[Source.from_bytes("a.csv", b"id,Name\n7,Ada\n")],
                account=account_of(owner),
                by=owner,
                progress=progress,
            )
        assert not Customer.objects.exists()


@pytest.mark.parametrize("phase", ["Reading", "Writing"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ImportCancelledError])
def test_an_import_stopped_at_any_step_leaves_nothing(
    phase: str, error: type[BaseException]
) -> None:
    owner = make_business()

    def stop(now: str, done: int, total: int) -> None:
        if now == phase and done > 0:
            raise error

    rows = "Name\n" + "".join(f"Customer {number}\n" for number in range(7_000))
    with pytest.raises(error), acting_as(owner):
        run_import(
            kind="customers",
            sources=[Source.from_bytes("a.csv", rows.encode())],
            account=account_of(owner),
            by=owner,
            options=Options(),
            progress=stop,
        )
    with acting_as(owner):
        assert not Customer.objects.exists()
