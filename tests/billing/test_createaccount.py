"""`manage.py createaccount`: a business, its owner and its plan, all or nothing."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from billing.models import SubscriptionStatus, UserSubscription
from billing.services.accounts import generate_password
from crm.models import OWNER_GROUP, Account, User
from ops.rls.session import acting_as, acting_as_admin

pytestmark = pytest.mark.django_db


def create(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("createaccount", *arguments, stdout=out, **options)
    return out.getvalue()


def refused(*arguments: str, **options: Any) -> str:
    with acting_as_admin():
        before = Account.objects.count(), User.objects.count(), UserSubscription.objects.count()
    with pytest.raises(CommandError) as caught:
        create(*arguments, **options)
    with acting_as_admin():
        after = Account.objects.count(), User.objects.count(), UserSubscription.objects.count()
    assert after == before
    assert caught.value.returncode == 1
    return str(caught.value)


def test_it_makes_an_account_an_owner_and_a_starter_trial_of_14_days() -> None:
    create(
        "ann@x.example", "--name", "Ann's Plumbing", "--currency", "eur",
        "--time-zone", "Europe/Berlin", "--phone-region", "de",
    )  # fmt: skip
    with acting_as_admin():
        account = Account.objects.get(user__email="ann@x.example")
        assert (account.name, account.currency) == ("Ann's Plumbing", "EUR")
        assert (account.time_zone, account.phone_region) == ("Europe/Berlin", "DE")
        assert account.user.account_id == account.pk
        assert [group.name for group in account.user.groups.all()] == [OWNER_GROUP]
        subscription = UserSubscription.objects.select_related("plan").get(account=account)
        assert subscription.plan.code == "starter"
        assert subscription.status == SubscriptionStatus.TRIALING
        assert subscription.trial_end is not None
        assert (subscription.trial_end - timezone.now()).days in {13, 14}
        event = account.history.get()
        assert (event.changed_via, event.changed_role) == ("createaccount", "srvc_admin")
    # The owner sees their own subscription under the policies.
    with acting_as(account.user):
        assert UserSubscription.objects.get().pk == subscription.pk


def test_a_password_is_made_up_and_shown_once() -> None:
    told = create("ann@x.example")
    password = told.split("with the password ")[1].split()[0]
    assert User.objects.get(email="ann@x.example").check_password(password)
    assert len(password) == 19
    assert generate_password() != generate_password()


def test_a_password_comes_from_standard_input_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("quiet marble lantern\n"))
    told = create("ann@x.example", "--password-stdin")
    monkeypatch.setenv("ACCOUNT_PASSWORD", "copper river stone")
    told += create("bea@x.example")
    assert "password" not in told
    assert User.objects.get(email="ann@x.example").check_password("quiet marble lantern")
    assert User.objects.get(email="bea@x.example").check_password("copper river stone")


def test_json_is_for_programs() -> None:
    facts = json.loads(create("ann@x.example", "--name", "Ann", "--plan", "professional", "--json"))
    user = User.objects.get(email="ann@x.example")
    assert user.check_password(facts["generated_password"])
    assert facts["account_id"] == user.pk
    assert (facts["name"], facts["plan"], facts["subscription_status"]) == (
        "Ann",
        "professional",
        "trialing",
    )


def test_an_address_in_use_is_refused_in_any_case_of_letters() -> None:
    create("ann@x.example")
    message = refused("ANN@x.example")
    assert message == "Somebody signs in with this e-mail address already. Nothing was changed."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "'nonsense' is no e-mail address. Nothing was created."),
        (
            ["a@x.example", "--plan", "gold"],
            "Nothing was created; the plans are: starter, professional, enterprise.",
        ),
        (
            ["a@x.example", "--time-zone", "Mars/Olympus"],
            "Mars/Olympus is not a time zone such as Europe/Berlin. Nothing was created.",
        ),
        (["a@x.example", "--currency", "XXX"], "'XXX' is not a valid choice. Nothing was created."),
        (
            ["a@x.example", "--phone-region", "ZZ"],
            "'ZZ' is no country code such as US or DE. Nothing was created.",
        ),
        (
            ["a@x.example", "--name", "x" * 201],
            "Ensure this value has at most 200 characters (it has 201). Nothing was created.",
        ),
    ],
)
def test_what_cannot_be_is_named_and_nothing_is_made(arguments: list[str], message: str) -> None:
    assert message in refused(*arguments).replace("“", "'").replace("Value ", "")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("short", "too short"),
        ("1234567890123", "entirely numeric"),
        ("", "Standard input held no password"),
    ],
)
def test_a_weak_or_missing_password_is_refused(
    given: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(given + "\n"))
    assert message in refused("a@x.example", "--password-stdin")
