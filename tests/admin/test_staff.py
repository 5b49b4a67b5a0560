"""Owners manage their own people, and nobody makes a platform administrator of themselves."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from crm.models import User
from crm.services.accounts import add_staff
from ops.rls.session import acting_as, acting_as_admin, acting_as_login
from tests.admin.pages import address, errors_of, messages_of, sign_in
from tests.factories import account_of


def group(name: str) -> int:
    with acting_as_admin():
        return Group.objects.get(name=name).pk


NEW = {"email": "new@business.example", "first_name": "Nia", "password": "a long pass phrase"}


def test_an_owner_adds_a_person_who_can_sign_in(client: Client, owner: User) -> None:
    response = client.post(address(User, "add"), {**NEW, "group": group("Office")})
    assert response.status_code == 302
    with acting_as(owner):
        person = User.objects.get(email="new@business.example")
        assert (person.account_id, person.is_staff, person.is_superuser) == (owner.pk, True, False)
        assert [g.name for g in person.groups.all()] == ["Office"]
    with acting_as_login():
        assert person.check_password("a long pass phrase")


def test_a_person_without_a_password_waits_for_one(client: Client, owner: User) -> None:
    client.post(address(User, "add"), {**NEW, "password": "", "group": group("Technician")})
    with acting_as_login():
        assert not User.objects.get(email="new@business.example").has_usable_password()


def test_nobody_is_made_a_platform_administrator(client: Client, owner: User) -> None:
    response = client.post(
        address(User, "add"),
        {**NEW, "group": group("Platform administrator"), "is_superuser": "on", "account": ""},
    )
    assert errors_of(response)["group"] == [
        "Select a valid choice. That choice is not one of the available choices."
    ]
    changed = client.post(
        address(User, "change", owner.pk),
        {
            "email": owner.email,
            "group": group("Owner"),
            "is_active": "on",
            "is_superuser": "on",
            "is_staff": "",
        },
    )
    assert changed.status_code == 302
    with acting_as(owner):
        person = User.objects.get(pk=owner.pk)
        assert (person.is_superuser, person.is_staff) == (False, True)


def test_a_taken_address_and_a_weak_password_are_told(client: Client, owner: User) -> None:
    office = group("Office")
    taken = {**NEW, "email": owner.email.upper(), "group": office}
    assert errors_of(client.post(address(User, "add"), taken))["__all__"] == [
        "Somebody signs in with this e-mail address already."
    ]
    weak = {**NEW, "password": "password", "group": office}
    assert "password" in errors_of(client.post(address(User, "add"), weak))


def test_an_address_taken_elsewhere_is_refused_like_one_taken_here(
    client: Client, stranger: User
) -> None:
    taken = {**NEW, "email": stranger.email, "group": group("Office")}
    assert errors_of(client.post(address(User, "add"), taken))["__all__"] == [
        "Somebody signs in with this e-mail address already."
    ]


def test_a_person_is_deactivated_but_not_oneself_nor_the_owner(
    client: Client, owner: User, technician: User
) -> None:
    page = client.post(address(User, "deactivate", technician.pk), follow=True)
    assert messages_of(page) == [f"{technician} can't sign in any more."]
    with acting_as(owner):
        assert not User.objects.get(pk=technician.pk).is_active
    errors = errors_of(
        client.post(
            address(User, "change", owner.pk), {"email": owner.email, "group": group("Owner")}
        )
    )
    assert errors["is_active"] == ["You can't deactivate yourself; ask a colleague."]


def test_a_colleague_does_not_deactivate_the_business_owner(owner: User) -> None:
    with acting_as_admin():
        colleague = add_staff(
            account=account_of(owner),
            email="second@business.example",
            group="Owner",
            password=None,
            by=None,
        )
    response = sign_in(colleague).post(
        address(User, "change", owner.pk), {"email": owner.email, "group": group("Owner")}
    )
    assert errors_of(response)["is_active"] == ["The business belongs to this person."]


def test_a_password_is_set_by_the_owner(client: Client, owner: User, technician: User) -> None:
    form = address(User, "set_password", technician.pk)
    secret = "another long phrase"
    weak = client.post(form, {"password1": "12345678901", "password2": "x"})
    assert weak.context["form"].errors["password1"] == [
        "This password is too common.",
        "This password is entirely numeric.",
    ]
    assert client.post(form, {"password1": secret, "password2": secret}).status_code == 302
    with acting_as_login():
        assert User.objects.get(pk=technician.pk).check_password(secret)


@pytest.mark.parametrize("page", ["changelist", "add"])
def test_a_technician_manages_nobody(technician: User, page: str) -> None:
    assert sign_in(technician).get(address(User, page)).status_code == 403


def test_a_platform_administrator_places_people(platform: Client, owner: User) -> None:
    office = {**NEW, "group": group("Office")}
    errors = errors_of(platform.post(address(User, "add"), office))
    assert "platform administrators" in errors["group"][0]
    assert platform.post(address(User, "add"), {**office, "account": owner.pk}).status_code == 302
    with acting_as(owner):
        assert User.objects.filter(email="new@business.example").exists()


def test_whoever_sets_their_own_password_stays_signed_in(client: Client, owner: User) -> None:
    secret = "another long phrase"
    client.post(address(User, "set_password", owner.pk), {"password1": secret, "password2": secret})
    assert client.get("/admin/").status_code == 200


def test_hashes_are_not_told_by_a_filter(client: Client, owner: User) -> None:
    response = client.get(address(User, "changelist"), {"password__startswith": "a"})
    assert response.status_code == 400
