"""Second factors, with real codes: required of administrators, offered to members."""

import time
from base64 import b32decode
from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import reverse
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp import models as otp_models
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from crm.models import User
from ops.rls.session import acting_as_admin
from srvc.two_factor import services
from tests.factories import make_business

pytestmark = pytest.mark.django_db

PASSWORD = "a long pass phrase"
INSIDE = "/admin/password_change/done/"
ENROL, VERIFY = "/admin/two-factor/", "/admin/two-factor/verify/"


@pytest.fixture(autouse=True)
def required(settings: Settings) -> None:
    settings.REQUIRE_TWO_FACTOR = True


@pytest.fixture(autouse=True)
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no step of 30 s end between a code's making and its use, however slow the machine."""
    now = time.time()
    monkeypatch.setattr(otp_models, "time", SimpleNamespace(time=lambda: now))


@pytest.fixture
def root() -> User:
    with acting_as_admin():
        return User.objects.create_superuser("root@platform.example", PASSWORD)


def sign_in(user: User, *, then: str = INSIDE) -> Client:
    client = Client()
    answer = client.post(
        reverse("admin:login") + "?next=" + then, {"username": user.email, "password": PASSWORD}
    )
    assert answer.status_code == 302
    return client


def code_for(key: bytes, *, steps: int = 0) -> str:
    """What an authenticator shows now, or so many steps of 30 s later."""
    totp = TOTP(key)
    totp.time = otp_models.time.time() + 30 * steps
    return f"{totp.token():06d}"


def enrol(client: Client) -> tuple[bytes, list[str]]:
    """Set up an authenticator through the page; returns its key and the recovery codes."""
    page = client.get(ENROL)
    key = b32decode(page.context["secret"].replace(" ", ""))
    answer = client.post(ENROL, {"code": code_for(key, steps=-1)})
    assert answer.templates[0].name == "two_factor/codes.html"
    return key, answer.context["codes"]


def forget_throttling() -> None:
    for model in (TOTPDevice, StaticDevice):
        model.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)


def test_an_administrator_without_a_second_factor_reaches_only_its_page(root: User) -> None:
    client = sign_in(root)
    for path in ("/", "/admin/", INSIDE, "/admin/password_change/", VERIFY, "/nowhere/"):
        answer = client.get(path)
        assert answer.status_code == 302
        assert answer["Location"].startswith(ENROL + "?next=")
    assert client.post("/admin/password_change/", {"x": "y"})["Location"] == ENROL
    page = client.get(ENROL)
    assert page.status_code == 200
    assert page.context["sidebar_navigation"] == []
    assert client.post(reverse("admin:logout")).status_code == 200


def test_enrolment_shows_code_and_secret_without_fetching_anything(root: User) -> None:
    page = sign_in(root).get(ENROL)
    text = page.content.decode()
    device = TOTPDevice.objects.get()
    assert not device.confirmed
    assert b32decode(page.context["secret"].replace(" ", "")) == device.bin_key
    assert '<svg viewBox="0 0 ' in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert "no-store" in page["Cache-Control"]


def test_a_right_code_takes_it_into_use_and_opens_every_page(root: User) -> None:
    client = sign_in(root)
    before = client.session.session_key
    _, codes = enrol(client)
    assert client.get(INSIDE).status_code == 200
    assert client.session.session_key != before
    assert len(codes) == services.RECOVERY_CODES == len(set(codes))
    # Shown once: no page has them any more, and the table never had.
    assert codes[0] not in client.get(ENROL).content.decode()
    assert not set(codes) & set(StaticToken.objects.values_list("token", flat=True))
    assert client.session.get_expiry_age() <= 12 * 60 * 60


def test_a_wrong_code_takes_nothing_into_use(root: User) -> None:
    client = sign_in(root)
    client.get(ENROL)
    for wrong in ("000000", "", "abcdef", "0" * 30, "٣٣٣٣٣٣"):
        forget_throttling()
        answer = client.post(ENROL, {"code": wrong})
        assert answer.status_code == 200
        assert "code" in answer.context["form"].errors
    assert not TOTPDevice.objects.filter(confirmed=True).exists()
    assert client.get(INSIDE).status_code == 302


def test_after_the_password_the_code_is_asked_for(root: User) -> None:
    key, _ = enrol(sign_in(root))
    client = sign_in(root)
    answer = client.get(INSIDE)
    assert answer["Location"] == f"{VERIFY}?next=%2Fadmin%2Fpassword_change%2Fdone%2F"
    # A second authenticator can't be enrolled with the password alone.
    assert client.get(ENROL)["Location"].startswith(VERIFY)
    assert client.post(ENROL, {"code": code_for(key)})["Location"] == VERIFY
    answer = client.post(VERIFY, {"code": code_for(key), "next": INSIDE})
    assert answer["Location"] == INSIDE
    assert client.get(INSIDE).status_code == 200


def test_a_code_works_once(root: User) -> None:
    key, _ = enrol(sign_in(root))
    code = code_for(key)
    assert sign_in(root).post(VERIFY, {"code": code}).status_code == 302
    again = sign_in(root).post(VERIFY, {"code": code})
    assert again.status_code == 200
    assert again.context["form"].errors["code"] == [
        "This code is not right, or was used already. Enter the next one that is shown."
    ]


def test_wrong_codes_are_throttled_even_before_the_right_one(root: User) -> None:
    key, _ = enrol(sign_in(root))
    client = sign_in(root)
    for _ in range(3):
        client.post(VERIFY, {"code": "000000"})
    answer = client.post(VERIFY, {"code": code_for(key)})
    assert answer.context["form"].errors["code"] == [
        "Too many tries. Wait a minute, then enter the code that is shown then."
    ]
    forget_throttling()
    assert client.post(VERIFY, {"code": code_for(key)}).status_code == 302


def test_a_recovery_code_signs_in_once_however_it_is_written(root: User) -> None:
    _, codes = enrol(sign_in(root))
    written = f" {codes[3].upper()} "
    assert sign_in(root).post(VERIFY, {"code": written}).status_code == 302
    assert StaticToken.objects.count() == services.RECOVERY_CODES - 1
    assert sign_in(root).post(VERIFY, {"code": written}).status_code == 200


def test_recovery_codes_outlive_a_new_secret_key(root: User, settings: Settings) -> None:
    _, codes = enrol(sign_in(root))
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, long enough, that came after the one before it"
    assert sign_in(root).post(VERIFY, {"code": codes[0]}).status_code == 302


def test_the_way_on_never_leads_to_another_site(root: User) -> None:
    key, _ = enrol(sign_in(root))
    answer = sign_in(root).post(VERIFY, {"code": code_for(key), "next": "https://evil.example/"})
    assert answer["Location"] == reverse("admin:index")


def test_a_member_may_turn_it_on_and_is_then_asked(root: User) -> None:
    owner = make_business()
    client = sign_in(owner)
    assert client.get(INSIDE).status_code == 200
    key, _ = enrol(client)
    other = sign_in(owner)
    assert other.get(INSIDE)["Location"].startswith(VERIFY)
    assert other.post(VERIFY, {"code": code_for(key)}).status_code == 302


def test_a_member_turns_it_off_with_a_code_and_an_administrator_does_not(root: User) -> None:
    owner = make_business()
    client = sign_in(owner)
    key, _ = enrol(client)
    wrong = client.post(ENROL, {"code": "000000", "turn_off": "1"})
    assert "code" in wrong.context["form"].errors
    forget_throttling()
    assert client.post(ENROL, {"code": code_for(key), "turn_off": "1"}).status_code == 302
    assert not TOTPDevice.objects.filter(user=owner).exists()
    client = sign_in(root)
    key, _ = enrol(client)
    answer = client.post(ENROL, {"code": code_for(key), "turn_off": "1"})
    assert answer.templates[0].name == "two_factor/codes.html"
    assert TOTPDevice.objects.filter(user=root, confirmed=True).exists()


def test_another_phone_replaces_the_first_one(root: User) -> None:
    client = sign_in(root)
    enrol(client)
    first = TOTPDevice.objects.get()
    page = client.get(ENROL + "?replace")
    new = b32decode(page.context["secret"].replace(" ", ""))
    assert new != first.bin_key
    client.post(ENROL + "?replace", {"code": code_for(new)})
    assert [device.bin_key for device in TOTPDevice.objects.all()] == [new]
    assert client.get(INSIDE).status_code == 200


def test_an_unfinished_enrolment_is_begun_anew_after_an_hour(root: User) -> None:
    client = sign_in(root)
    secret = client.get(ENROL).context["secret"]
    assert client.get(ENROL).context["secret"] == secret
    TOTPDevice.objects.update(created_at="2026-01-01T00:00Z")
    assert client.get(ENROL).context["secret"] != secret


def test_a_group_member_of_the_platform_needs_one_as_well(settings: Settings) -> None:
    from django.contrib.auth.models import Group

    with acting_as_admin():
        user = User.objects.create_user("ops@platform.example", PASSWORD)
        user.groups.add(Group.objects.get(name="Platform administrator"))
    assert sign_in(user).get(INSIDE)["Location"].startswith(ENROL)
    settings.REQUIRE_TWO_FACTOR = False
    assert sign_in(user).get(INSIDE).status_code == 200


def test_somebody_who_is_not_signed_in_is_sent_to_sign_in(client: Client) -> None:
    assert client.get(ENROL)["Location"] == reverse("admin:login")
    assert client.get(VERIFY)["Location"] == reverse("admin:index")
