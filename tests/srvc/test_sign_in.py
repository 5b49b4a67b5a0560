"""Signing in: by e-mail in any case of letters, throttled, telling a guesser nothing."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.hashers import identify_hasher
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from crm.models import User
from ops.rls.session import acting_as_admin
from srvc.throttling import client_address
from tests.factories import make_business

pytestmark = pytest.mark.django_db

PASSWORD = "a long pass phrase"
INSIDE = "/admin/password_change/done/"


@pytest.fixture
def sign_in(client: Client) -> Callable[..., int]:
    def post(email: str, password: str = PASSWORD, **environment: str) -> int:
        answer = client.post(
            reverse("admin:login") + "?next=" + INSIDE,
            {"username": email, "password": password},
            **environment,  # type: ignore[arg-type]
        )
        return answer.status_code

    return post


def test_an_owner_signs_in_in_any_case_of_letters(
    client: Client, sign_in: Callable[..., int]
) -> None:
    owner = make_business(email="Ada@Business.example")
    assert sign_in("aDA@business.EXAMPLE") == 302
    assert client.get(INSIDE).status_code == 200
    with acting_as_admin():
        assert User.objects.get(pk=owner.pk).last_login is not None


def test_sign_out_ends_the_session(client: Client, sign_in: Callable[..., int]) -> None:
    owner = make_business()
    sign_in(owner.email)
    assert client.post(reverse("admin:logout")).status_code == 200
    assert client.get(INSIDE).status_code == 302


def test_passwords_are_hashed_by_argon2(settings: Settings) -> None:
    from srvc import settings as real

    settings.PASSWORD_HASHERS = real.PASSWORD_HASHERS
    owner = make_business()
    assert identify_hasher(owner.password).algorithm == "argon2"


def test_every_wrong_sign_in_is_answered_alike(client: Client) -> None:
    owner, idle = make_business(), make_business()
    with acting_as_admin():
        User.objects.filter(pk=idle.pk).update(is_active=False)
        outsider = User.objects.create_user("out@business.example", PASSWORD, is_staff=False)
    errors = set()
    for email, password in (
        (owner.email, "wrong"),
        ("nobody@business.example", PASSWORD),
        (idle.email, PASSWORD),
        (outsider.email, PASSWORD),
    ):
        answer = client.post(reverse("admin:login"), {"username": email, "password": password})
        assert answer.status_code == 200
        errors.add(str(answer.context["form"].non_field_errors()))
    assert len(errors) == 1, errors


def test_the_fifth_failure_locks_the_address_out_with_a_page_without_detail(
    client: Client, sign_in: Callable[..., int], settings: Settings
) -> None:
    owner = make_business()
    assert [sign_in(owner.email, "wrong") for _ in range(5)] == [200, 200, 200, 200, 429]
    # Also with the right password, and in other letters.
    answer = client.post(
        reverse("admin:login"), {"username": owner.email.upper(), "password": PASSWORD}
    )
    assert answer.status_code == 429
    assert answer["Retry-After"] == "900"
    text = answer.content.decode()
    assert "Too many tries" in text
    assert owner.email not in text
    assert "5" not in text.partition("<main>")[2].partition("</main>")[0]


def test_others_and_the_owner_elsewhere_are_not_locked_out(sign_in: Callable[..., int]) -> None:
    owner, other = make_business(), make_business()
    for _ in range(5):
        sign_in(owner.email, "wrong")
    assert sign_in(other.email) == 302
    assert sign_in(owner.email, REMOTE_ADDR="192.0.2.7") == 302


def test_one_address_trying_many_e_mails_is_locked_out_as_a_whole(
    sign_in: Callable[..., int],
) -> None:
    owner = make_business()
    statuses = [sign_in(f"guess{number}@x.example", "wrong") for number in range(50)]
    assert statuses == [200] * 49 + [429]
    assert sign_in(owner.email) == 429
    assert sign_in(owner.email, REMOTE_ADDR="192.0.2.7") == 302


def test_after_the_cool_off_signing_in_works_and_waiting_is_not_prolonged(
    sign_in: Callable[..., int], settings: Settings
) -> None:
    owner = make_business()
    for _ in range(5):
        sign_in(owner.email, "wrong")
    before = AccessAttempt.objects.get().attempt_time
    assert sign_in(owner.email, "wrong") == 429
    assert AccessAttempt.objects.get().attempt_time == before
    past = timezone.now() - settings.AXES_COOLOFF_TIME - timedelta(seconds=1)
    AccessAttempt.objects.update(attempt_time=past)
    assert sign_in(owner.email) == 302


def test_a_success_forgets_the_failures_before_it(sign_in: Callable[..., int]) -> None:
    owner = make_business(email="Mixed@business.example")
    for _ in range(4):
        sign_in(owner.email, "wrong")
    assert sign_in(owner.email) == 302
    assert AccessAttempt.objects.count() == 0


def test_what_is_kept_of_a_failure_holds_no_secret(sign_in: Callable[..., int]) -> None:
    sign_in("who@x.example", "my real password")
    attempt = AccessAttempt.objects.get()
    assert attempt.username == "who@x.example"
    assert "my real password" not in attempt.post_data + attempt.get_data


def test_an_administrator_sees_failures_and_lets_people_try_again(
    client: Client, sign_in: Callable[..., int]
) -> None:
    owner = make_business()
    for _ in range(5):
        sign_in(owner.email, "wrong")
    with acting_as_admin():
        root = User.objects.create_superuser("root@platform.example", PASSWORD)
    client.force_login(root)
    page = reverse("admin:axes_accessattempt_changelist")
    assert owner.email in client.get(page).content.decode()
    answer = client.post(
        page,
        {"action": "delete_selected", "_selected_action": [AccessAttempt.objects.get().pk]}
        | {"post": "yes"},
    )
    assert answer.status_code == 302
    client.logout()
    assert sign_in(owner.email) == 302


def test_a_member_has_no_page_of_failures_or_second_factors(
    client: Client, sign_in: Callable[..., int]
) -> None:
    sign_in(make_business().email)
    assert client.get(reverse("admin:axes_accessattempt_changelist")).status_code == 403
    assert client.get("/admin/otp_totp/totpdevice/").status_code == 404


@pytest.mark.parametrize(
    ("proxies", "forwarded", "seen"),
    [
        (0, "203.0.113.9", "198.51.100.1"),
        (1, "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (2, "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (2, "203.0.113.9", "198.51.100.1"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (1, "::ffff:203.0.113.9", "203.0.113.9"),
        (1, "not an address", None),
    ],
)
def test_a_clients_address_is_believed_from_our_own_proxies_only(
    rf: object, settings: Settings, proxies: int, forwarded: str, seen: str | None
) -> None:
    settings.TRUSTED_PROXIES = proxies
    request = rf.get("/", REMOTE_ADDR="198.51.100.1", HTTP_X_FORWARDED_FOR=forwarded)  # type: ignore[attr-defined]
    assert client_address(request) == seen
