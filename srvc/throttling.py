"""Sign-in throttling: who is counted, and what somebody who is locked out sees.

An e-mail address is locked for the network address that failed, not for everybody: locking it for
all would let anybody keep a dispatcher out. One address trying many e-mail addresses is locked
as a whole, a good deal later, since an office shares one.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

# A network address may fail this many times as often as one e-mail address from there.
ADDRESSES_SHARE = 10


class SignInThrottle(AxesDatabaseHandler):  # type: ignore[misc]
    """Counts failures per e-mail and network address, and per network address."""

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """Failures within the cool-off, on the scale of settings.AXES_FAILURE_LIMIT."""
        recent = AccessAttempt.objects.filter(
            ip_address=client_address(request),
            attempt_time__gt=timezone.now() - get_cool_off(request),
        )
        from_there = recent.aggregate(total=Sum("failures_since_start"))["total"] or 0
        counted: int = super().get_failures(request, credentials)
        return max(counted, from_there // ADDRESSES_SHARE)


def email_address(request: HttpRequest, credentials: dict[str, Any] | None) -> str:
    """The address that somebody tries to sign in with, in one spelling."""
    given = (credentials or {}).get("username") or request.POST.get("username") or ""
    return str(given).strip().lower()[:255]


def client_address(request: HttpRequest) -> str | None:
    """The client's network address as failures are counted by it; None when it is unknown."""
    address = peer(request)
    if isinstance(address, ipaddress.IPv6Address):
        # A household is given 2^64 addresses at once; it counts as one.
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return None if address is None else str(address)


def peer(request: HttpRequest) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The client's network address; proxies are believed as far as settings.TRUSTED_PROXIES says.

    Each proxy appends whom it talked to, so the right end of the header is ours and the left end is
    whatever the client wrote.
    """
    address = request.META.get("REMOTE_ADDR", "")
    forwarded = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    if settings.TRUSTED_PROXIES and len(forwarded) >= settings.TRUSTED_PROXIES:
        address = forwarded[-settings.TRUSTED_PROXIES]
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def locked_out(
    request: HttpRequest,
    original_response: HttpResponseBase | None = None,
    credentials: dict[str, Any] | None = None,
) -> HttpResponse:
    """The page for somebody who has to wait. It tells neither whom nor how often."""
    return too_many(request, wait=settings.AXES_COOLOFF_TIME, page="429.html")


def too_many(request: HttpRequest, *, wait: timedelta, page: str) -> HttpResponse:
    """The page for somebody who did something too often, with when to come back."""
    response = render(request, page, status=429)
    response["Retry-After"] = str(int(wait.total_seconds()))
    return response
