"""Addresses and forms of the admin, as a browser sends them."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.test import Client
from django.urls import reverse

from crm.models import User


def sign_in(user: User) -> Client:
    """A browser in which somebody is signed in."""
    browser = Client()
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return browser


def address(model: type[models.Model], page: str, *args: Any) -> str:
    """The address of a page of a model, such as its changelist."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def lines(*rows: dict[str, Any], prefix: str = "lines", initial: int = 0) -> dict[str, Any]:
    """The posted fields of an inline."""
    data: dict[str, Any] = {
        f"{prefix}-TOTAL_FORMS": len(rows),
        f"{prefix}-INITIAL_FORMS": initial,
        f"{prefix}-MIN_NUM_FORMS": 0,
        f"{prefix}-MAX_NUM_FORMS": 1000,
    }
    for number, row in enumerate(rows):
        data |= {f"{prefix}-{number}-{name}": value for name, value in row.items()}
    return data


def errors_of(response: Any) -> dict[str, list[str]]:
    """The errors of the page's main form."""
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


def messages_of(response: Any) -> list[str]:
    """What the page tells on top."""
    return [str(message) for message in response.context["messages"]]


QUOTE = {"discount_total": "0", "title": "Boiler"}
CUSTOMER = {"status": "active", **lines(prefix="sites")}
