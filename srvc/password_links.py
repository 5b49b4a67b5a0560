"""Links that let somebody choose a new password: asked for on a page, sent by the worker.

The page does the same work whether or not anybody signs in with the address, so its time tells
nothing: it counts and queues. Looking the person up, and the mail server, are the worker's part.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django_tasks import task
from django_tasks_db.models import DBTaskResult

from crm.models import User
from ops.rls.session import acting_as_login

# So many an hour: links to one e-mail address, requests from one network address (an office's).
PER_ADDRESS, PER_NETWORK = 3, 20
WINDOW = timedelta(hours=1)
_KEPT = timedelta(days=1)


class TooManyLinksError(Exception):
    """Somebody asks for links for many addresses, or again and again."""


def ask_for_link(email: str, *, network: str | None) -> None:
    """Queue a link for whoever signs in with the address, if anybody does.

    Raises TooManyLinksError when too many were asked for from the network address.
    """
    asked = {"email": email.strip().lower(), "network": network or ""}
    with acting_as_login():
        if _recent().filter(args_kwargs__kwargs__network=asked["network"]).count() >= PER_NETWORK:
            raise TooManyLinksError
        send_link.enqueue(**asked)


@task()
def send_link(email: str, network: str) -> bool:
    """Send the link, if somebody signs in with the address; False when it got enough of them."""
    # As the bare login, and outside a request's transaction: nothing is held while mail is sent.
    _forget_old_requests()
    # Those that were left out don't count: nobody is kept from a link for longer by asking on.
    carried_out = _recent().filter(args_kwargs__kwargs__email=email, return_value=True)
    if carried_out.count() >= PER_ADDRESS:
        return False
    # Also people who never had a password: this is how a new owner sets the first.
    user = User.objects.filter(email__iexact=email, is_active=True).first()
    if user is not None:
        _mail(user).send()
    return True


def _recent() -> QuerySet[DBTaskResult[..., Any]]:
    since = timezone.now() - WINDOW
    return DBTaskResult.objects.filter(task_path=send_link.module_path, enqueued_at__gt=since)


def _forget_old_requests() -> None:
    old = timezone.now() - _KEPT
    DBTaskResult.objects.filter(task_path=send_link.module_path, finished_at__lt=old).delete()


def _mail(user: User) -> EmailMessage:
    path = reverse(
        "admin:password_reset_confirm",
        kwargs={
            "uidb64": urlsafe_base64_encode(force_bytes(user.pk)),
            "token": default_token_generator.make_token(user),
        },
    )
    context = {
        "email": user.email,
        "link": f"{settings.SITE_ADDRESS}{path}",
        "site_name": urlsplit(settings.SITE_ADDRESS).hostname,
    }
    subject = render_to_string("registration/password_reset_subject.txt", context)
    body = render_to_string("registration/password_reset_email.html", context)
    return EmailMessage(" ".join(subject.split()), body, to=[user.email])
