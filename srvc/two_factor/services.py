"""Enrolling, verifying and removing second factors. All of it runs as the bare login."""

from __future__ import annotations

import secrets
from base64 import b32encode
from datetime import timedelta
from typing import Literal

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from crm.models import User

Missing = Literal["", "enrolment", "verification"]

RECOVERY_CODES = 10
# A secret that was shown and never confirmed is not shown again after this.
ENROLMENT_TIME = timedelta(hours=1)
# No letters or digits that are taken for one another.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class TooManyTriesError(Exception):
    """Codes are not looked at for a while, right or wrong."""


def what_is_missing(user: User) -> Missing:
    """What the signed-in user still has to do before any page is theirs."""
    if getattr(user, "otp_device", None) is not None:
        return ""
    if TOTPDevice.objects.filter(user=user, confirmed=True).exists():
        return "verification"
    return "enrolment" if is_required_of(user) else ""


def is_required_of(user: User) -> bool:
    """Whether a password alone never lets this user in."""
    return settings.REQUIRE_TWO_FACTOR and (user.is_platform_administrator or user.is_auditor)


def confirmed_device(user: User) -> TOTPDevice | None:
    """The authenticator the user signs in with."""
    return TOTPDevice.objects.filter(user=user, confirmed=True).first()


def recovery_codes_left(user: User) -> int:
    """How many of the one-time codes are unused."""
    return sum(device.token_set.count() for device in StaticDevice.objects.filter(user=user))


@transaction.atomic
def begin_enrolment(user: User) -> TOTPDevice:
    """The authenticator to be confirmed; the same one if the page is loaded again."""
    waiting = TOTPDevice.objects.filter(user=user, confirmed=False)
    waiting.filter(created_at__lt=timezone.now() - ENROLMENT_TIME).delete()
    device = waiting.first()
    return device or TOTPDevice.objects.create(user=user, name="Authenticator app", confirmed=False)


@transaction.atomic
def confirm_enrolment(user: User, code: str) -> tuple[TOTPDevice, list[str]] | None:
    """Take the new authenticator into use, once it shows the right code.

    Returns it with new recovery codes, or None for a wrong code. The authenticator and recovery
    codes before it are gone. Raises TooManyTriesError.
    """
    device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=False).first()
    if device is None or not _accepts(device, code):
        return None
    TOTPDevice.objects.filter(user=user).exclude(pk=device.pk).delete()
    device.confirmed = True
    device.save(update_fields=["confirmed"])
    return device, renew_recovery_codes(user)


@transaction.atomic
def verify(user: User, code: str) -> Device | None:
    """The device that accepts the code, used up with it; None if none does.

    Six digits are a code of the authenticator, anything else a recovery code. Raises
    TooManyTriesError.
    """
    code = _plain(code)
    if code.isdigit() and len(code) == 6:
        return verify_authenticator(user, code)
    for device in StaticDevice.objects.select_for_update().filter(user=user, confirmed=True):
        token = device.token_set.filter(token__in=_digests(code)).first()
        if _accepts(device, token.token if token else "-"):
            return device
    return None


@transaction.atomic
def verify_authenticator(user: User, code: str) -> TOTPDevice | None:
    """The user's authenticator if it shows this code, which then is used up.

    Raises TooManyTriesError.
    """
    devices = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=True)
    return next((device for device in devices if _accepts(device, _plain(code))), None)


@transaction.atomic
def renew_recovery_codes(user: User) -> list[str]:
    """Ten new one-time codes, to be shown this once; the ones before are void."""
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name="Recovery codes", confirmed=True)
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(10)) for _ in range(RECOVERY_CODES)]
    for code in codes:
        # What is stored does not sign anybody in.
        device.token_set.create(token=_digests(code)[0])
    return [f"{code[:5]}-{code[5:]}" for code in codes]


@transaction.atomic
def remove(user: User, *, using: str | None = None) -> int:
    """Take every second factor of the user away; returns how many there were."""
    removed = 0
    for model in (TOTPDevice, StaticDevice):
        devices = model.objects.using(using).filter(user_id=user.pk)
        removed += devices.filter(confirmed=True).count()
        devices.delete()
    return removed


def secret_as_text(device: TOTPDevice) -> str:
    """The authenticator's secret for typing in, in groups of four."""
    text = b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def _accepts(device: Device, code: str) -> bool:
    allowed, _ = device.verify_is_allowed()
    if not allowed:
        raise TooManyTriesError
    accepted: bool = device.verify_token(code)
    return accepted


def _plain(code: str) -> str:
    return "".join(code.split()).replace("-", "").lower()


def _digests(code: str) -> list[str]:
    # Under the key in force and those it replaced: a new SECRET_KEY does not void printed codes.
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [salted_hmac("srvc.recovery", code, secret=key).hexdigest()[:16] for key in keys]
