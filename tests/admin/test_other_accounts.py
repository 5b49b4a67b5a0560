"""Another account's rows answer as rows that never existed, through every door of the admin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import models
from django.test import Client

from crm.models import Customer, Invoice, Job, Payment, Product, Quote, ServiceSite, User
from ops.rls.session import acting_as
from tests.admin.pages import CUSTOMER, QUOTE, address, errors_of, lines, messages_of, sign_in
from tests.factories import A_DAY, make_customer, make_invoice, make_quote

NEVER = 987_654_321


@pytest.fixture
def theirs(stranger: User) -> dict[type[models.Model], models.Model]:
    """One row of the other business per table."""
    with acting_as(stranger):
        customer = make_customer(company_name="Secret Ltd")
        return {
            Customer: customer,
            ServiceSite: ServiceSite.objects.create(customer=customer, name="Vault"),
            Product: Product.objects.create(name="Secret product", unit_price=1),
            Job: Job.objects.create(customer=customer, title="Secret job"),
            Quote: make_quote(customer, "10"),
            Invoice: make_invoice(customer, "10"),
            Payment: Payment.objects.create(
                customer=customer, amount=5, currency="EUR", received_on=A_DAY
            ),
        }


MODELS = [Customer, ServiceSite, Product, Job, Quote, Invoice, Payment]


def _answer(client: Client, url: str, key: Any, data: Any = None) -> tuple[Any, ...]:
    response = client.get(url) if data is None else client.post(url, data)
    body = _without(key, response.content.decode())
    messages = messages_of(client.get("/admin/"))
    location = _without(key, response.headers.get("Location", ""))
    return response.status_code, location, body, [_without(key, m) for m in messages]


def _without(key: Any, text: str) -> str:
    """The text without the key, where addresses and messages have it: a key of 1 is also in h1."""
    return re.sub(rf"(?<=[/“]){re.escape(str(key))}(?=[/”])", "KEY", text)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("page", ["change", "history", "delete"])
def test_a_page_of_another_accounts_row_answers_as_for_no_row(
    client: Client, theirs: Any, model: type[models.Model], page: str
) -> None:
    key = theirs[model].pk
    there = _answer(client, address(model, page, key), key)
    nowhere = _answer(client, address(model, page, NEVER), NEVER)
    assert there == nowhere
    if (model, page) == (Payment, "delete"):
        assert there[0] == 403  # payments are never deleted, whosever they are
        return
    assert there[0] == 302
    assert there[1] == "/admin/"
    assert len(there[3]) == 1
    assert "with ID “KEY”" in there[3][0]


@pytest.mark.parametrize(
    ("model", "button"),
    [
        (Customer, "archive_one"),
        (Customer, "new_job"),
        (Job, "complete_one"),
        (Quote, "send_one"),
        (Invoice, "issue_one"),
        (Payment, "reverse"),
    ],
)
def test_a_button_on_another_accounts_row_answers_as_for_no_row(
    client: Client, theirs: Any, stranger: User, model: type[models.Model], button: str
) -> None:
    key = theirs[model].pk
    there = _answer(client, address(model, button, key), key, {})
    assert there == _answer(client, address(model, button, NEVER), NEVER, {})
    assert there[:2] == (302, "/admin/")
    with acting_as(stranger):
        row: Any = model._default_manager.get(pk=key)
        assert getattr(row, "status", None) == theirs[model].status


def test_a_posted_change_of_another_accounts_row_changes_nothing(
    client: Client, theirs: Any, stranger: User
) -> None:
    key = theirs[Customer].pk
    data = {**CUSTOMER, "company_name": "Mine now"}
    there = _answer(client, address(Customer, "change", key), key, data)
    assert there == _answer(client, address(Customer, "change", NEVER), NEVER, data)
    with acting_as(stranger):
        assert Customer.objects.get(pk=key).company_name == "Secret Ltd"


@pytest.mark.parametrize(
    ("model", "field", "target", "data"),
    [
        (ServiceSite, "customer", Customer, {"name": "Shed"}),
        (Job, "customer", Customer, {"title": "Dig", "priority": "normal"}),
        (Quote, "customer", Customer, {**QUOTE, **lines()}),
        (Quote, "site", ServiceSite, {**QUOTE, **lines()}),
        (Invoice, "customer", Customer, {**QUOTE, **lines()}),
        (Invoice, "quote", Quote, {**QUOTE, **lines()}),
        (Invoice, "job", Job, {**QUOTE, **lines()}),
        (
            Payment,
            "customer",
            Customer,
            {
                "amount": "1",
                "method": "cash",
                "received_on": "2026-03-02",
                **lines(prefix="allocations"),
            },
        ),
    ],
)
def test_a_posted_foreign_key_of_another_account_is_a_form_error_as_for_no_row(
    client: Client,
    owner: User,
    theirs: Any,
    model: type[models.Model],
    field: str,
    target: type[models.Model],
    data: dict[str, Any],
) -> None:
    with acting_as(owner):
        own = make_customer()
    found = []
    for key in (theirs[target].pk, NEVER):
        response = client.post(address(model, "add"), {"customer": own.pk, **data, field: key})
        found.append(errors_of(response))
    assert found[0] == found[1]
    assert found[0][field] == [
        "Select a valid choice. That choice is not one of the available choices."
    ]
    with acting_as(owner):
        assert not model._default_manager.exclude(pk=own.pk).exists()


def test_a_posted_product_of_another_account_is_an_error_of_the_line(
    client: Client, owner: User, theirs: Any
) -> None:
    with acting_as(owner):
        own = make_customer()
    line = {"product": theirs[Product].pk, "quantity": "1", "discount_percent": "0"}
    response = client.post(address(Quote, "add"), {**QUOTE, "customer": own.pk, **lines(line)})
    errors = response.context["inline_admin_formsets"][0].formset.errors
    assert errors[0]["product"] == [
        "Select a valid choice. That choice is not one of the available choices."
    ]
    with acting_as(owner):
        assert not Quote.objects.exists()


def test_a_posted_account_is_ignored(client: Client, owner: User, stranger: User) -> None:
    response = client.post(
        address(Customer, "add"),
        {**CUSTOMER, "first_name": "Eve", "account": stranger.pk, "user_id": stranger.pk},
    )
    assert response.status_code == 302
    with acting_as(owner):
        assert Customer.objects.get().account_id == owner.pk
    with acting_as(stranger):
        assert not Customer.objects.exists()


def test_actions_on_another_accounts_rows_touch_nothing(
    client: Client, theirs: Any, stranger: User
) -> None:
    client.post(
        address(Customer, "changelist"),
        {"action": "archive", "_selected_action": [theirs[Customer].pk]},
    )
    with acting_as(stranger):
        assert Customer.objects.get().status == "active"


def test_lists_searches_and_suggestions_show_no_other_accounts_rows(
    client: Client, theirs: Any
) -> None:
    for model in MODELS:
        for query in ("", "?q=secret"):
            page = client.get(address(model, "changelist") + query)
            assert page.status_code == 200
            assert b"Secret" not in page.content
    suggestions = client.get(
        "/admin/autocomplete/",
        {"term": "secret", "app_label": "crm", "model_name": "job", "field_name": "customer"},
    )
    assert suggestions.json() == {"results": [], "pagination": {"more": False}}


def test_a_prefilled_form_tells_nothing_of_another_accounts_row(
    client: Client, theirs: Any
) -> None:
    page = client.get(address(Job, "add"), {"customer": theirs[Customer].pk})
    assert page.status_code == 200
    assert b"Secret" not in page.content


def test_the_other_business_sees_its_own_rows(stranger: User, theirs: Any) -> None:
    page = sign_in(stranger).get(address(Customer, "change", theirs[Customer].pk))
    assert page.status_code == 200
    assert b"Secret Ltd" in page.content
