"""Whatever stands in an address of the admin, whoever asks: no page crashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from django.test import Client

from crm.models import User
from crm.services.accounts import add_staff
from ops.rls.session import acting_as, acting_as_admin
from tests.admin.hostile import addresses
from tests.admin.pages import sign_in
from tests.factories import account_of, make_customer, make_invoice, make_quote


def _office(owner: User) -> Client:
    with acting_as_admin():
        person = add_staff(
            account=account_of(owner),
            email="olga@business.example",
            group="Office",
            password=None,
            by=None,
        )
    return sign_in(person)


@pytest.fixture
def browsers(
    client: Client, technician: User, owner: User, platform: Client
) -> dict[str, Callable[[], Client]]:
    with acting_as(owner):
        customer = make_customer()
        make_invoice(customer, "1")
        make_quote(customer, "1")
    return {
        "owner": lambda: client,
        "technician": lambda: sign_in(technician),
        "office": lambda: _office(owner),
        "platform": lambda: platform,
        "visitor": Client,
    }


# All of them take minutes, and what goes wrong does so for every model alike: each goes through
# a part, and no two through the same.
PARTS = {
    "owner": slice(0, None, 12),
    "platform": slice(1, None, 12),
    "technician": slice(2, None, 48),
    "office": slice(3, None, 48),
    "visitor": slice(4, None, 48),
}


@pytest.mark.simulation
@pytest.mark.parametrize("who", PARTS)
def test_no_address_of_the_admin_crashes(
    who: str, browsers: dict[str, Callable[[], Client]]
) -> None:
    browser = browsers[who]()
    browser.raise_request_exception = False
    crashed, statuses = [], Counter[int]()
    for address in list(addresses())[PARTS[who]]:
        status = browser.get(address).status_code
        statuses[status] += 1
        if status >= 500:
            crashed.append((status, address[:200]))
    assert crashed == []
    assert statuses.total() > 50
