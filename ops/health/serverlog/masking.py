"""Passwords out of statements: the server logs them as they were sent."""

from __future__ import annotations

import re

MASK = "***"
# A string as SQL writes one; an unfinished one, cut off by a limit, goes to the end.
_STRING = (
    r"(?:[EeNn]?'(?:[^'\\]|''|\\.)*(?:'|$)"
    r"|[Uu]&'(?:[^']|'')*(?:'|$)"
    r"|\$(?P<{tag}>\w*)\$.*?(?:\$(?P={tag})\$|$))"
)
_MASKED = (
    # ALTER ROLE … PASSWORD '…', CREATE USER MAPPING … OPTIONS (password '…'), SET x.password = '…'
    re.compile(
        r"(?P<before>\b\w*(?:password|passwd|passphrase|secret|api_?key|token)\w*\"?"
        # Right behind such a word a quote may also end a string: 'x.password', …
        r"(?:\s*(?:=|:=)\s*|\s+(?:TO\s+)?|(?!'\s*[,)])))" + _STRING.format(tag="one"),
        re.IGNORECASE | re.DOTALL,
    ),
    # … and by functions: set_config('x.password', '…'), crypt('…'), pgp_sym_encrypt(x, '…')
    re.compile(
        r"(?P<before>'[^']*(?:password|secret|token)[^']*'\s*,\s*)" + _STRING.format(tag="two"),
        re.IGNORECASE | re.DOTALL,
    ),
    # libpq's addresses: password=… and postgres://login:…@host
    re.compile(r"(?P<before>\b(?:ssl)?password\s*=\s*)(?!\s*['$*])[^\s'\"),;]+", re.IGNORECASE),
    re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://[^\s:/@'\"]*:)[^\s@'\"]+(?=@)", re.IGNORECASE),
    # What passwords are kept as: PostgreSQL's verifiers, Django's hashes.
    re.compile(r"(?P<before>\bSCRAM-SHA-256\$)[^\s'\"]+"),
    re.compile(r"(?P<before>\bmd5)[0-9a-f]{32}\b"),
    re.compile(r"(?P<before>\b(?:argon2|pbkdf2_\w+|bcrypt\w*|scrypt)\$)[^\s'\"]+"),
)
# One of these is in whatever the patterns find; most messages have none, and are told so quickly.
_SIGNS = (
    "passw", "passphrase", "secret", "token", "apikey", "api_key", "://", "scram-sha-256", "md5",
    "argon2", "pbkdf2", "bcrypt", "scrypt",
)  # fmt: skip
_MENTIONS = re.compile(r"password|passwd|passphrase|secret|api_?key|token", re.IGNORECASE)
# DETAIL of a statement that was sent with values beside it.
_PARAMETERS = re.compile(r"(?P<before>^\s*(?:Parameters|parameters):)\s.*", re.DOTALL)
_VALUES = re.compile(r"(?P<before>(?:Failing row contains|Key \([^)]*\)=) ?\()[^\n]*", re.DOTALL)


def masked(text: str) -> str:
    """Return a text of the log without the passwords in it."""
    lowered = text.lower()
    if not any(sign in lowered for sign in _SIGNS):
        return text
    for pattern in _MASKED:
        text = pattern.sub(lambda match: f"{match['before']}{MASK}", text)
    return text


def masked_values(text: str, statement: str) -> str:
    """Return the values sent beside a statement, hidden when it mentions something secret."""
    if _MENTIONS.search(statement) or _MENTIONS.search(text):
        for pattern in (_PARAMETERS, _VALUES):
            text = pattern.sub(lambda match: f"{match['before']} {MASK}", text)
    return masked(text)
