"""A database that is away or empty is told in a sentence, and bugs keep their traceback."""

import psycopg
import pytest
from django.core.management import CommandError
from django.db import DataError, OperationalError

from billing.errors import BillingError
from billing.management.edge import told_plainly
from crm.errors import CrmError


@pytest.mark.parametrize(
    "error", [BillingError("No. Nothing changed."), CrmError("No. Nothing changed.")]
)
def test_a_refusal_is_shown_as_it_is(error: Exception) -> None:
    with pytest.raises(CommandError) as caught, told_plainly():
        raise error
    assert str(caught.value) == "No. Nothing changed."
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("through_django", [True, False])
def test_a_database_that_is_away_is_one_sentence(through_django: bool) -> None:
    cause = psycopg.OperationalError("connection\n refused")
    error: Exception = cause
    if through_django:
        error = OperationalError()
        error.__cause__ = cause
    with pytest.raises(CommandError) as caught, told_plainly():
        raise error
    assert str(caught.value).startswith(
        "The database gave up: connection refused. Nothing was created;"
    )


def test_missing_tables_name_the_command_that_makes_them() -> None:
    with pytest.raises(CommandError, match=r"run `manage\.py migrate` first"), told_plainly():
        raise psycopg.errors.UndefinedTable


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(DataError), told_plainly():
        raise DataError from psycopg.DataError("numeric field overflow")
