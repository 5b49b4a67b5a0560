"""Refusals of the database as sentences for people."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.apps import apps
from django.db import IntegrityError
from psycopg.errors import Diagnostic

from crm.errors import CrmError
from crm.models.rules import REFUSAL


def explain_refusal(error: IntegrityError) -> str | None:
    """The sentence that tells people why the database refused a change; None if it was a bug."""
    diagnostic: Diagnostic | None = getattr(error.__cause__, "diag", None)
    if diagnostic is None or diagnostic.constraint_name is None:
        return None
    if diagnostic.constraint_name == REFUSAL:
        return diagnostic.message_primary
    if diagnostic.constraint_name.endswith("_same_account"):
        # Said alike for a stranger's row and for one that never existed.
        return "The row it refers to doesn't exist."
    for model in apps.get_models():
        if model._meta.db_table != diagnostic.table_name:
            continue
        for constraint in model._meta.constraints:
            if constraint.name == diagnostic.constraint_name:
                return str(constraint.get_violation_error_message())
    return None


def told_by_the_database[**P, R](service: Callable[P, R]) -> Callable[P, R]:
    """Turn a refusal by a constraint or trigger into a CrmError with its sentence."""

    @wraps(service)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return service(*args, **kwargs)
        except IntegrityError as error:
            sentence = explain_refusal(error)
            if sentence is None:
                raise
            raise CrmError(f"{sentence} Nothing was changed.") from error

    return wrapper
