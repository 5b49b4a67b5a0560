"""Secrets: in the settings, as keys of machines, and what Django says before a deployment."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import unquote, urlsplit

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from psycopg import sql

from ops.health.context import Context
from ops.health.contract import DAILY, BlindError, Reported, check
from ops.models import Area, Severity

# What opens the database or signs something has to have been made at random: so many bits at least,
# counted by its length and the kinds of its letters. NIST SP 800-131A asks 112 of a key.
_BITS = 80
_WORDS = (
    "password postgres secret changeme change-me admin root test example default letmein qwerty "
    "srvc srvc_app srvc_owner srvc_replication"
)
_COMMON = frozenset(_WORDS.split())
# Letters of a kind that there are to choose from.
_KINDS = ((26, str.islower), (26, str.isupper), (10, str.isdigit))
_OTHERS = 32
_NEW = "python3 -c 'import secrets; print(secrets.token_urlsafe(64))'"


@check(Area.SECURITY, "Passwords and keys of the settings", every=DAILY)
def settings_secrets(context: Context) -> Iterator[Reported]:
    """A password that can be guessed opens every account, and one that is used twice opens a second
    door when the first is broken. Looked at where real people are served, never shown.
    """
    if not settings.PRODUCTION_LIKE:
        return
    used: dict[str, list[str]] = defaultdict(list)
    for variable, value in _secrets().items():
        if value:
            used[value].append(variable)
    for value, variables in used.items():
        first = variables[0]
        if _is_weak(value):
            yield Reported(
                f"weak {first}",
                Severity.CRITICAL,
                f"{' and '.join(variables)} can be guessed",
                "It is a common word, or too short or too uniform to have been made at random.",
                _NEW,
                f"setting {first}",
            )
        if len(variables) > 1:
            yield Reported(
                f"same {first}",
                Severity.WARNING,
                f"{' and '.join(variables)} are the same",
                "Whoever learns one has the others, and one can't be changed without the others. "
                "Give each a value of its own.",
                _NEW,
                f"setting {first}",
            )
    if settings.DEMO_PASSWORD:
        yield Reported(
            "demo",
            Severity.WARNING,
            "DEMO_PASSWORD is set where real people are served",
            "Everybody of the demo signs in with it, its platform administrator too. Remove the "
            "variable, and look whether somebody of the demo is here.",
            "SELECT id, email, is_active FROM public.users WHERE email LIKE '%@demo.example';",
            "setting DEMO_PASSWORD",
        )


@check(Area.SECURITY, "What Django finds before a deployment", every=DAILY)
def deployment(context: Context) -> Iterator[Reported]:
    """`manage.py check --deploy` looks at HTTPS, cookies, hosts and keys, and at what SRVC needs
    besides; run by hand it is run before a deployment, and what changes later goes unseen.
    """
    if not settings.PRODUCTION_LIKE:
        return
    for message in checks.run_checks(include_deployment_checks=True):
        if message.level < checks.WARNING or message.is_silenced():
            continue
        about = f" {message.obj}" if message.obj else ""
        yield Reported(
            f"{message.id}{about}",
            Severity.CRITICAL if message.level >= checks.ERROR else Severity.WARNING,
            f"{message.id}: {message.msg.strip().splitlines()[0]}",
            " ".join(f"{message.msg} {message.hint or ''}".split()),
            "manage.py check --deploy",
            f"setting{about}",
        )


@check(Area.SECURITY, "Keys of machines that nobody uses or that never end", every=DAILY)
def api_keys(context: Context) -> Iterator[Reported]:
    """A key that a machine once used still opens the door when everybody has forgotten it. Which
    models hold keys is said in settings.HEALTH_KEY_MODELS.
    """
    for entry in settings.HEALTH_KEY_MODELS:
        label, used, expires = ([*entry.split(":"), "", ""])[:3]
        try:
            model = apps.get_model(label)
            for field in filter(None, (used, expires)):
                model._meta.get_field(field)
        except (LookupError, ValueError, FieldDoesNotExist) as error:
            raise BlindError(
                f"settings.HEALTH_KEY_MODELS names {entry!r}, which is not there ({error})."
            ) from None
        yield from _keys(context, model, used, expires)


def _keys(
    context: Context, model: type[models.Model], used: str, expires: str
) -> Iterator[Reported]:
    days = context.limits.unused_key_days
    table, primary = sql.Identifier(model._meta.db_table), _column(model, "pk")
    query = _KEYS.format(
        table=table, primary=primary, used=_column(model, used), expires=_column(model, expires)
    )
    asked = {
        "now": context.now,
        "since": context.now - timedelta(days=days),
        "expiring": bool(expires),
        "counting": bool(used),
    }
    noun = str(model._meta.verbose_name)
    for key, last_used, is_endless, is_unused in context.rows(query, asked):
        wrongs = ["never ends"] if is_endless else []
        if is_unused:
            wrongs.append(f"was not used for {days} days" if last_used else "was never used")
        yield Reported(
            f"{model._meta.label} {key}",
            Severity.WARNING,
            f"The {noun} {key} {' and '.join(wrongs)}",
            (f"It was last used on {last_used:%Y-%m-%d}. " if last_used else "")
            + "Whoever finds it gets in with it. Delete it, and give its machine one that ends.",
            _DELETION.format(table=table, primary=primary, key=sql.Literal(key)).as_string(None),
            f"{noun} {key}",
        )


def _column(model: type[models.Model], name: str) -> sql.Composable:
    if not name:
        return sql.NULL
    field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    return sql.Identifier(str(getattr(field, "column", name)))


# Of a key that has ended nothing more is wanted. One without a time of its last use was never used.
_KEYS = sql.SQL("""
    SELECT * FROM (
        SELECT {primary}, {used} AS used, %(expiring)s AND {expires} IS NULL AS is_endless,
            %(counting)s AND coalesce({used}::timestamptz < %(since)s, true) AS is_unused
        FROM public.{table}
        WHERE {expires} IS NULL OR {expires}::timestamptz > %(now)s) k
    WHERE is_endless OR is_unused ORDER BY 1 LIMIT 200
""")
_DELETION = sql.SQL("DELETE FROM public.{table} WHERE {primary} = {key};")


def _secrets() -> dict[str, str]:
    """Every secret of the settings, by the variable that holds it."""
    found = {
        "SECRET_KEY": settings.SECRET_KEY,
        "BACKUP_SIGNING_KEY": settings.BACKUP_SIGNING_KEY,
        "EMAIL_URL": settings.EMAIL_HOST_PASSWORD,
        "DATABASE_REPLICATION_URL": _password_of(settings.REPLICATION_URL),
        "METRICS_TOKEN": getattr(settings, "METRICS_TOKEN", ""),
    }
    for alias, variable in (("default", "DATABASE_URL"), ("owner", settings.OWNER_URL_VARIABLE)):
        found[variable] = settings.DATABASES[alias].get("PASSWORD") or ""
    return found


def _password_of(url: str) -> str:
    return unquote(urlsplit(url).password or "") if url else ""


def _is_weak(value: str) -> bool:
    if value.lower() in _COMMON or value.startswith("django-insecure-"):
        return True
    kinds = sum(size for size, is_one in _KINDS if any(map(is_one, value)))
    kinds += _OTHERS * (not value.isalnum())
    # A letter that comes again and again adds little.
    return math.log2(max(2, kinds)) * min(len(value), 2 * len(set(value))) < _BITS
