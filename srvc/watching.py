"""Settings of who is told about findings, and of who may read `/metrics`.

What is wrong is reported to the configuration and then left out: nobody is told by a channel that
is half right, and nobody reads what a token that can be guessed protects.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ops.health.addresses import wrong_address
from ops.health.errors import HealthError
from ops.health.quiet import QuietHours
from srvc.configuration import Configuration, is_email_address

_SHORTEST_TOKEN = 24


def site_address(read: Configuration) -> str:
    """Return where people reach the site, without a slash at its end; "" when nobody said."""
    value = read.text("SITE_ADDRESS").rstrip("/")
    parts = urlsplit(value)
    if not value or (parts.scheme in {"https", "http"} and parts.hostname and not parts.query):
        return value
    read.report(
        "invalid", "SITE_ADDRESS", "is no address", "Set SITE_ADDRESS=https://srvc.example.com."
    )
    return ""


def recipients(read: Configuration) -> list[str]:
    """Return the e-mail addresses that are told about findings."""
    found = read.items("HEALTH_NOTIFY_EMAILS")
    if all(is_email_address(each) for each in found):
        return found
    read.report(
        "invalid",
        "HEALTH_NOTIFY_EMAILS",
        "holds something that is no e-mail address",
        "Set HEALTH_NOTIFY_EMAILS=ann@example.com,ops@example.com.",
    )
    return []


def webhook(read: Configuration) -> str:
    """Return the webhook's address; it is a secret, so no message repeats it."""
    value = read.text("HEALTH_NOTIFY_WEBHOOK_URL")
    if value and (wrong := wrong_address(value)):
        read.report(
            "invalid",
            "HEALTH_NOTIFY_WEBHOOK_URL",
            wrong,
            "Set HEALTH_NOTIFY_WEBHOOK_URL=https://… as the chat shows it; http:// is for this "
            "machine alone.",
        )
        return ""
    return value


def time_zone(read: Configuration, default: str) -> str:
    """Return the time zone in which quiet hours are meant."""
    value = read.text("HEALTH_TIME_ZONE")
    try:
        return ZoneInfo(value).key if value else default
    except (ZoneInfoNotFoundError, ValueError, OSError):
        read.report(
            "invalid",
            "HEALTH_TIME_ZONE",
            "is no time zone",
            "Set for example HEALTH_TIME_ZONE=America/Chicago.",
        )
        return default


def quiet_hours(read: Configuration, zone: str) -> str:
    """Return the hours in which nobody is told anything."""
    value = read.text("HEALTH_QUIET_HOURS")
    try:
        QuietHours.parse(value, zone)
    except HealthError:
        read.report(
            "invalid",
            "HEALTH_QUIET_HOURS",
            "are no hours of a day",
            "Set for example HEALTH_QUIET_HOURS=22:00-07:00, or remove it.",
        )
        return ""
    return value


def metrics_token(read: Configuration) -> str:
    """Return the token that opens `/metrics`."""
    value = read.text("METRICS_TOKEN")
    if value and (len(value) < _SHORTEST_TOKEN or not value.isascii()):
        read.report(
            "unsafe",
            "METRICS_TOKEN",
            f"can be guessed (it needs {_SHORTEST_TOKEN} plain characters or more)",
            "Set METRICS_TOKEN to a random value: python3 -c 'import secrets; "
            "print(secrets.token_urlsafe(32))' prints one.",
        )
        return ""
    return value


def metrics_networks(read: Configuration) -> list[str]:
    """Return the networks whose machines may read `/metrics` without a token."""
    found = read.items("METRICS_ALLOW")
    try:
        networks = [ipaddress.ip_network(each, strict=False) for each in found]
    except ValueError:
        fix = "Set for example METRICS_ALLOW=10.0.0.5,10.1.0.0/16."
        read.report("invalid", "METRICS_ALLOW", "holds something that is no network", fix)
        return []
    if any(network.prefixlen == 0 for network in networks):
        fix = "Name the machines that read /metrics, or set METRICS_TOKEN."
        read.report("unsafe", "METRICS_ALLOW", "lets everybody read /metrics", fix)
        return []
    return found
