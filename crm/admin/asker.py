"""Who asks, typed: behind the admin's sign-in it is always one of our users."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest

from crm.models import User


def asker(request: HttpRequest) -> User:
    """The user in whose name a page writes."""
    return cast("User", request.user)
