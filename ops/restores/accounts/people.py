"""Those who sign in, as Django's user model names their table and columns."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model


def people() -> str:
    """Return the table of users."""
    return f"public.{get_user_model()._meta.db_table}"


def user_column(field: str) -> str:
    """Return the column of a field of the user model; "login" is what one signs in with."""
    model: Any = get_user_model()
    if field == "login":
        field = model.USERNAME_FIELD
    found = model._meta.pk if field == "pk" else model._meta.get_field(field)
    return str(found.column)
