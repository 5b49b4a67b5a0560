"""The pages: set up an authenticator, look after it, enter a code at sign-in."""

from __future__ import annotations

from typing import Any

import django_otp
from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django_otp.models import Device

from crm.models import User
from srvc.two_factor import qr, services
from srvc.two_factor.forms import CodeForm

# The platform's own people sign in daily; whoever finds the laptop finds it closed.
PLATFORM_SESSION = 12 * 60 * 60  # seconds


def manage(request: HttpRequest) -> HttpResponse:
    """Set up two-factor sign-in, or look after it."""
    user = _signed_in(request)
    if user is None:
        return redirect("admin:login")
    device = services.confirmed_device(user)
    if device is None or "replace" in request.GET:
        return _enrol(request, user)
    if request.method == "POST":
        return _change(request, user)
    return _manage_page(request, user, CodeForm())


def verify(request: HttpRequest) -> HttpResponse:
    """Ask for a code after the password."""
    user = _signed_in(request)
    if user is None or getattr(request, "second_factor_missing", "") != "verification":
        return HttpResponseRedirect(_next(request))
    form = CodeForm(request.POST or None, digits_only=False)
    if request.method == "POST" and form.is_valid():
        try:
            device = services.verify(user, form.cleaned_data["code"])
        except services.TooManyTriesError:
            form.refuse(too_many=True)
        else:
            if device is not None:
                _remember(request, user, device)
                return HttpResponseRedirect(_next(request))
            form.refuse(too_many=False)
    return _page(request, "verify", "Two-factor sign-in", form=form, next=_next(request))


def _enrol(request: HttpRequest, user: User) -> HttpResponse:
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            confirmed = services.confirm_enrolment(user, form.cleaned_data["code"])
        except services.TooManyTriesError:
            form.refuse(too_many=True)
        else:
            if confirmed is not None:
                device, codes = confirmed
                _remember(request, user, device)
                return _codes_page(request, codes)
            form.refuse(too_many=False)
    device = services.begin_enrolment(user)
    return _page(
        request,
        "enrol",
        "Set up two-factor sign-in",
        form=form,
        next=_next(request),
        qr_code=qr.svg(device.config_url),
        secret=services.secret_as_text(device),
        required=services.is_required_of(user),
    )


def _change(request: HttpRequest, user: User) -> HttpResponse:
    form = CodeForm(request.POST)
    if not form.is_valid():
        return _manage_page(request, user, form)
    try:
        verified = services.verify_authenticator(user, form.cleaned_data["code"])
    except services.TooManyTriesError:
        form.refuse(too_many=True)
        return _manage_page(request, user, form)
    if verified is None:
        form.refuse(too_many=False)
        return _manage_page(request, user, form)
    if "turn_off" in request.POST and not services.is_required_of(user):
        services.remove(user)
        request.session.pop(django_otp.DEVICE_ID_SESSION_KEY, None)
        messages.success(request, "Two-factor sign-in is off. Your password alone signs you in.")
        return redirect("admin:index")
    return _codes_page(request, services.renew_recovery_codes(user))


def _manage_page(request: HttpRequest, user: User, form: CodeForm) -> HttpResponse:
    return _page(
        request,
        "manage",
        "Two-factor sign-in",
        form=form,
        device=services.confirmed_device(user),
        codes_left=services.recovery_codes_left(user),
        required=services.is_required_of(user),
    )


def _codes_page(request: HttpRequest, codes: list[str]) -> HttpResponse:
    return _page(request, "codes", "Your recovery codes", codes=codes, next=_next(request))


def _page(request: HttpRequest, name: str, title: str, **context: Any) -> HttpResponse:
    response = TemplateResponse(
        request,
        f"two_factor/{name}.html",
        {**admin.site.each_context(request), "title": title, **context},
    )
    # Secrets and codes stay out of caches and out of the browser's history.
    add_never_cache_headers(response)
    return response


def _remember(request: HttpRequest, user: User, device: Device) -> None:
    django_otp.login(request, device)
    request.second_factor_missing = ""  # type: ignore[attr-defined]
    # A session id from before the second factor must not carry what it opens.
    request.session.cycle_key()
    if user.is_platform_administrator or user.is_auditor:
        request.session.set_expiry(PLATFORM_SESSION)


def _signed_in(request: HttpRequest) -> User | None:
    return request.user if request.user.is_authenticated else None


def _next(request: HttpRequest) -> str:
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    safe = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=settings.HTTPS
    )
    return wanted if safe else reverse("admin:index")
