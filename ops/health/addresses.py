"""Which addresses a webhook may have. Read by the settings, so it needs no model."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def wrong_address(url: str) -> str:
    """Say, without repeating it, what keeps an address from being used; "" for a good one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no address"
    if not parts.hostname or (port is not None and not port):
        return "is no address"
    if parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname)):
        return ""
    if parts.scheme == "http":
        return "would send its secret address in clear"
    return "is no address that begins with https://"


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
