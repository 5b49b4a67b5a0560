"""Settings of PostgreSQL that lose data, switch rules off or open accounts, and their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ops.models import Severity
from ops.postgres.roles import APP_LIMITS

# What a session says of itself (ops/rls/session.py), and what switches triggers off by name: given
# to a login beforehand, whoever forgets to say it is somebody.
OUR_PREFIXES = ("app.", "pgtrigger.")
_SCHEMAS_BEFORE_PUBLIC = {"$user", "pg_catalog"}


@dataclass(frozen=True)
class Rule:
    """One setting: when its value is dangerous, how much, and what it means."""

    is_bad: Callable[[str], bool]
    severity: Severity
    means: str


def is_off(value: str) -> bool:
    """Whether PostgreSQL reads a value as false; it takes any beginning of the words."""
    word = value.lower()
    if word in {"", "o"}:
        return False
    return word == "0" or any(each.startswith(word) for each in ("off", "false", "no"))


def is_on(value: str) -> bool:
    """Whether PostgreSQL reads a value as true."""
    word = value.lower()
    if word in {"", "o"}:
        return False
    return word == "1" or any(each.startswith(word) for each in ("on", "true", "yes"))


def leads_astray(value: str) -> bool:
    """Whether a search_path finds names elsewhere before public, or not in public at all."""
    schemas = [each.strip().strip('"') for each in value.split(",")]
    if "public" not in schemas:
        return True
    return not set(schemas[: schemas.index("public")]) <= _SCHEMAS_BEFORE_PUBLIC


def _is_no_limit(value: str) -> bool:
    return re.search("[1-9]", value) is None


# For a login, a database or the whole server.
RULES: dict[str, Rule] = {
    "session_replication_role": Rule(
        lambda value: value.lower() == "replica",
        Severity.CRITICAL,
        "Triggers and foreign keys do nothing: no history, no numbers, no rule, and rows may name "
        "parents that are not there.",
    ),
    "zero_damaged_pages": Rule(
        is_on, Severity.CRITICAL, "A damaged page is emptied, with all its rows, when it is read."
    ),
    "ignore_checksum_failure": Rule(
        is_on,
        Severity.CRITICAL,
        "Pages whose checksum is wrong are read as if they were good, and backed up so.",
    ),
    "synchronous_commit": Rule(
        is_off,
        Severity.WARNING,
        "What was saved and confirmed within the last moments is lost when the server crashes.",
    ),
    "row_security": Rule(
        is_off, Severity.WARNING, "Queries on tables with policies fail, and with them the pages."
    ),
    "lo_compat_privileges": Rule(
        is_on, Severity.WARNING, "Everybody reads and changes everybody's large objects."
    ),
    "allow_system_table_mods": Rule(
        is_on, Severity.WARNING, "A slip of a superuser may destroy the catalogue."
    ),
    "standard_conforming_strings": Rule(
        is_off,
        Severity.WARNING,
        "A backslash in a text means something else than programs count on: a way in for SQL.",
    ),
    "transform_null_equals": Rule(
        is_on, Severity.WARNING, "Comparisons with NULL mean something else than they say."
    ),
    "track_counts": Rule(
        is_off,
        Severity.WARNING,
        "Nothing is counted any more: autovacuum does not come, and health checks see nothing.",
    ),
    "log_statement": Rule(
        lambda value: value.lower() == "all",
        Severity.WARNING,
        "Every statement is logged with its values: passwords and customers' data are in the log.",
    ),
    **dict.fromkeys(
        ("log_min_messages", "log_min_error_statement"),
        Rule(
            lambda value: value.lower() in {"fatal", "panic"},
            Severity.WARNING,
            "Errors are not logged, or not what caused them, so nobody can tell what failed.",
        ),
    ),
    **dict.fromkeys(
        ("debug_print_parse", "debug_print_rewritten", "debug_print_plan"),
        Rule(
            is_on,
            Severity.WARNING,
            "Every statement is logged with its values: passwords and customers' data are in the "
            "log.",
        ),
    ),
}
# For a login or a database.
OF_SESSIONS: dict[str, Rule] = {
    **RULES,
    "password_encryption": Rule(
        lambda value: value.lower() != "scram-sha-256",
        Severity.WARNING,
        "Passwords are kept as MD5, which signs in by itself when it leaks.",
    ),
    "search_path": Rule(
        leads_astray,
        Severity.CRITICAL,
        "Names mean what stands in other schemas first: another's table or function takes the "
        "place of the one that was meant.",
    ),
    "role": Rule(
        lambda value: value.lower() != "none",
        Severity.CRITICAL,
        "Whoever signs in becomes another role at once, with that one's rights.",
    ),
    "session_preload_libraries": Rule(
        bool, Severity.WARNING, "Each session loads this code into the server's own process."
    ),
    "local_preload_libraries": Rule(
        bool, Severity.WARNING, "Each session loads this code into the server's own process."
    ),
}
# For the web process's login: what keeps it from holding the database up.
LIMITS: dict[str, Rule] = {
    name: Rule(
        _is_no_limit,
        Severity.WARNING,
        "The web process has no such limit: one forgotten session or slow query may hold the "
        "database up.",
    )
    for name in APP_LIMITS
}
# For the server alone.
OF_THE_SERVER: dict[str, Rule] = {
    **RULES,
    "fsync": Rule(
        is_off,
        Severity.CRITICAL,
        "After a crash of the machine the data may be damaged beyond repair: nothing that is "
        "written is known to be on the disk.",
    ),
    "full_page_writes": Rule(
        is_off,
        Severity.CRITICAL,
        "After a crash pages may be half old and half new, which nothing can mend.",
    ),
    "ignore_invalid_pages": Rule(
        is_on, Severity.CRITICAL, "Recovery skips pages that it can't read, and loses their rows."
    ),
    "data_sync_retry": Rule(
        is_on,
        Severity.CRITICAL,
        "A write that failed is tried again, and counts as done when the system has dropped it.",
    ),
    "wal_level": Rule(
        lambda value: value == "minimal",
        Severity.WARNING,
        "Too little WAL is written for base backups and for any moment in the past.",
    ),
    "ssl_min_protocol_version": Rule(
        lambda value: value in {"", "TLSv1", "TLSv1.1"},
        Severity.WARNING,
        "Connections by versions of TLS are let in that are known to be broken.",
    ),
    "db_user_namespace": Rule(
        is_on, Severity.WARNING, "Logins mean other people in each database."
    ),
}
