"""Settings of where the site is, of who is told about findings, and of who may read `/metrics`.

What is wrong is reported to the configuration and then left out: nobody is told by a channel that
is half right, and nobody reads what a token that can be guessed protects.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http.request import validate_host

from ops.health.addresses import wrong_address
from ops.health.errors import HealthError
from ops.health.quiet import QuietHours
from srvc.configuration import Configuration, is_email_address
from srvc.launch import address
from srvc.launch.errors import LaunchError

_SHORTEST_TOKEN = 24
_ADDRESS_FIX = "Set SITE_ADDRESS=https://srvc.example.com, as people reach the site."


def site_address(
    read: Configuration,
    *,
    required: bool = False,
    hosts: Sequence[str] = (),
    https: bool = False,
) -> str:
    """Return where people reach the site, without a slash at its end.

    Every link in a mail or a message begins with it, never with what a request's `Host` says. Where
    it is not required (in development), the site is where it listens. `hosts` are the names that
    the site answers to; empty: any.
    """
    value = read.text("SITE_ADDRESS").rstrip("/")
    if not value and required:
        read.missing("SITE_ADDRESS", _ADDRESS_FIX)
        return ""
    if not value:
        try:
            return address.from_environment().url.rstrip("/")
        except LaunchError:
            return ""  # `make run` says what is wrong with it
    if wrong := _wrong_site_address(value, hosts, https=https):
        read.report("invalid", "SITE_ADDRESS", wrong, _ADDRESS_FIX)
        return ""
    return value


def _wrong_site_address(value: str, hosts: Sequence[str], *, https: bool) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address"
    if parts.scheme not in {"https", "http"} or not host or parts.query or parts.fragment:
        return "is no address"
    if parts.username is not None or any(each.isspace() for each in value):
        return "is no address"
    if https and parts.scheme != "https":
        return "is http://, and the site is served over HTTPS"
    named = f"[{host}]" if ":" in host else host  # as `Host` has it
    # What is wrong with ALLOWED_HOSTS itself is told there.
    if hosts and not any("/" in each for each in hosts) and not validate_host(named, hosts):
        return "names a host that is not in ALLOWED_HOSTS, so its links would be refused"
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
