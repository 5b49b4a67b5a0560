"""What stands around the schema: settings of the server, of databases and of logins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from ops.health.checks.dangerous import (
    LIMITS,
    OF_SESSIONS,
    OF_THE_SERVER,
    OUR_PREFIXES,
    RULES,
    Rule,
)
from ops.health.context import Context
from ops.health.contract import SOON, Reported, check
from ops.health.quoting import literal, quoted
from ops.health.steps import as_superuser
from ops.models import Area, Severity
from ops.postgres.roles import APP, APP_LIMITS, LOGINS

_GIVEN_AT_START = "command line"


def our_logins() -> list[str]:
    """Return the logins of SRVC, under the names that the settings give them."""
    users = [settings.DATABASES[alias].get("USER", "") for alias in ("default", "owner")]
    # Some poolers want a tenant behind the name.
    return sorted({*LOGINS, *(name.partition(".")[0] for name in users if name)})


@check(Area.INTEGRITY, "Settings of the server that lose data", every=SOON)
def server_settings(context: Context) -> Iterator[Reported]:
    """One line in postgresql.conf takes away what everybody counts on: that what was saved is on
    the disk, that a damaged page is told and not emptied, that triggers fire.
    """
    for name, value, source, kind, default in context.rows(_SERVER, [list(OF_THE_SERVER)]):
        rule = OF_THE_SERVER[name]
        if not rule.is_bad(value):
            continue
        detail = rule.means
        if kind == "postmaster":
            detail += " It takes a restart of the server to change it."
        if source == _GIVEN_AT_START:
            detail += " It is given on the server's command line, and has to be taken from there."
        yield Reported(
            name,
            rule.severity,
            f"The server runs with {name} = {value or 'nothing'}",
            detail,
            as_superuser(
                f"ALTER SYSTEM SET {name} = {literal(default)};\nSELECT pg_reload_conf();"
            ),
            "server",
        )


@dataclass(frozen=True)
class _Setting:
    """A setting that a login, a database or both begin with."""

    role: str  # "" for every login
    database: str  # "" for every database
    name: str
    value: str

    @property
    def whose(self) -> str:
        """Who begins with it, for people."""
        if self.role:
            return self.role + (f" in {self.database}" if self.database else "")
        return f"every session of {self.database}" if self.database else "every login"

    @property
    def altered(self) -> str:
        """What is altered to change it."""
        if not self.role:
            return f"DATABASE {quoted(self.database)}" if self.database else "ROLE ALL"
        within = f" IN DATABASE {quoted(self.database)}" if self.database else ""
        return f"ROLE {quoted(self.role)}{within}"


@check(Area.SECURITY, "Settings that logins or databases begin with", every=SOON)
def session_settings(context: Context) -> Iterator[Reported]:
    """ALTER ROLE … SET and ALTER DATABASE … SET change what a login's sessions begin with, and are
    seen in no table. One of them switches triggers and foreign keys off for the whole application.
    """
    ours = our_logins()
    app = settings.DATABASES["default"].get("USER", "").partition(".")[0] or APP
    limited = set()
    for row in context.rows(_SESSIONS, {"ours": ours}):
        each = _Setting(*row)
        if each.name in LIMITS and each.role == app and not LIMITS[each.name].is_bad(each.value):
            limited.add(each.name)
        is_ours = not each.role or each.role in ours
        if (rule := _rule(each, is_ours, app)) is None:
            continue
        yield Reported(
            f"{each.altered} {each.name}",
            rule.severity if is_ours else Severity.WARNING,
            f"{each.name} is {each.value or 'empty'} for {each.whose}",
            f"{rule.means} Sessions that are open keep what they began with until they end.",
            as_superuser(f"ALTER {each.altered} RESET {each.name};"),
            f"role {each.role}" if each.role else f"database {each.database or '*'}",
        )
    for name in APP_LIMITS:
        if name not in limited and context.value(_HAS_ROLE, [app]):
            yield Reported(
                f"{app} {name} missing",
                Severity.WARNING,
                f"{app} begins without {name}",
                LIMITS[name].means,
                as_superuser(f"ALTER ROLE {quoted(app)} SET {name} = {literal(APP_LIMITS[name])};"),
                f"role {app}",
            )


def _rule(setting: _Setting, is_ours: bool, app: str) -> Rule | None:
    """The rule that a setting breaks, or None."""
    name = setting.name
    if name.startswith(OUR_PREFIXES):
        return _OF_OURS if setting.value else None
    # Where a stranger's session looks for names is the stranger's affair.
    rule = (OF_SESSIONS if is_ours else RULES).get(name)
    if name in LIMITS and setting.role == app and setting.database:
        rule = LIMITS[name]  # in one database; in all of them it is told as missing
    return rule if rule and rule.is_bad(setting.value) else None


_OF_OURS = Rule(
    bool,
    Severity.CRITICAL,
    "It says whose rows a session sees, or which triggers it goes without. Said beforehand, "
    "whoever forgets to say it has another account's rows, or no rules.",
)
# What the session of the check itself was given is not the server's.
_SERVER = """
    SELECT name, setting, source, context, boot_val FROM pg_settings
    WHERE name = ANY (%s)
      AND source NOT IN ('database', 'user', 'database user', 'client', 'session', 'interactive')
    ORDER BY name
"""
_SESSIONS = """
    SELECT coalesce(r.rolname, '')::text, coalesce(d.datname, '')::text,
        split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
    FROM pg_db_role_setting s
    LEFT JOIN pg_roles r ON r.oid = s.setrole
    LEFT JOIN pg_database d ON d.oid = s.setdatabase,
    unnest(s.setconfig) c
    WHERE (s.setdatabase = 0 OR d.datname = current_database())
      AND (s.setrole = 0 OR r.rolname = ANY (%(ours)s)
        OR r.rolcanlogin AND has_database_privilege(r.oid, current_database(), 'CONNECT'))
    ORDER BY 1, 2, 3
"""
_HAS_ROLE = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"
