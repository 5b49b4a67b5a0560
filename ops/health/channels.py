"""The ways out: e-mail and a webhook. Each sends one message, or says why it did not go out."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from typing import Any, Protocol

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from ops.health import messages, webhook
from ops.health.errors import HealthError
from ops.health.messages import Told
from ops.health.webhook import UndeliveredError
from ops.postgres.errors import one_line


class UncertainError(HealthError):
    """A message may have gone out or not; a second one might be the second."""


class Channel(Protocol):
    """A way to tell people something."""

    name: str
    # Whether a try of which nobody knows how it ended may be repeated.
    may_come_twice: bool

    def tell(self, told: Sequence[Told]) -> None:
        """Send one message about findings. Raises UndeliveredError and UncertainError."""

    def say(self, sentence: str) -> None:
        """Send one sentence. Raises UndeliveredError and UncertainError."""


class Email:
    """One mail to everybody of settings.HEALTH_NOTIFY_EMAILS."""

    name = "email"
    may_come_twice = False

    def tell(self, told: Sequence[Told]) -> None:
        """Send one mail about findings."""
        self._send(messages.subject(told), messages.plain(told))

    def say(self, sentence: str) -> None:
        """Send one sentence."""
        self._send(messages.title(sentence), f"{sentence}\n")

    def _send(self, subject: str, body: str) -> None:
        connection = get_connection()
        mail = EmailMessage(subject, body, to=settings.HEALTH_NOTIFY_EMAILS, connection=connection)
        try:
            connection.open()
        except Exception as error:  # noqa: BLE001 (any backend's; nothing was sent)
            raise UndeliveredError(f"The mail server could not be used ({_why(error)}).") from None
        try:
            mail.send()
        except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
            raise UndeliveredError(f"The mail server refused it ({_why(error)}).") from None
        except Exception as error:  # noqa: BLE001 (any backend's; it may be out already)
            raise UncertainError(
                f"Whether the mail went out is not known ({_why(error)}), so it is not sent again."
            ) from None
        finally:
            connection.close()


class Webhook:
    """One POST to settings.HEALTH_NOTIFY_WEBHOOK_URL."""

    name = "webhook"
    # A chat shows a line twice at the worst, where a mail may wake somebody twice.
    may_come_twice = True

    def tell(self, told: Sequence[Told]) -> None:
        """Send one message about findings."""
        self._send(messages.chat(told))

    def say(self, sentence: str) -> None:
        """Send one sentence."""
        self._send(messages.sentence(messages.title(sentence)))

    def _send(self, payload: dict[str, Any]) -> None:
        webhook.post(settings.HEALTH_NOTIFY_WEBHOOK_URL, payload)


def channels() -> list[Channel]:
    """Return the ways that settings name."""
    found: list[Channel] = []
    if settings.HEALTH_NOTIFY_EMAILS:
        found.append(Email())
    if settings.HEALTH_NOTIFY_WEBHOOK_URL:
        found.append(Webhook())
    return found


def _why(error: Exception) -> str:
    # A server's answer may repeat what it was told, but never a password.
    return one_line(error)[:200] or type(error).__name__
