"""Whether the migrations that the code has and those that the database had are the same."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Iterable, Iterator

import psycopg
from django.apps import apps
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from ops.health.context import Context
from ops.health.contract import HOURLY, BlindError, Reported, check, several
from ops.models import Area, Severity

TABLE = MigrationRecorder.Migration._meta.db_table
Name = tuple[str, str]  # the app's label, the migration


@check(Area.INTEGRITY, "Migrations of the code and of the database", every=HOURLY)
def migrations(context: Context) -> Iterator[Reported]:
    """Code that is newer than its database fails on the first column that is not there; code that
    is older writes rows which the newer rules would refuse.
    """
    try:
        with context.attempt():
            rows = context.rows(f"SELECT app, name FROM public.{TABLE}")  # noqa: S608 (a constant)
    except psycopg.errors.UndefinedTable:
        raise BlindError(
            "The database has had no migration at all: it is empty, or not SRVC's.",
            "manage.py migrate",
        ) from None
    applied = {(str(app), str(name)) for app, name in rows}
    if applied == names_of_the_code():
        return  # and what each needs is among them
    code = of_the_code()
    yield from _unapplied(code, applied)
    yield from _unknown(code, applied)
    yield from _out_of_order(code, applied)


@functools.cache
def of_the_code() -> MigrationLoader:
    """Return the migrations of all installed apps, read once: code stays as it was loaded."""
    return MigrationLoader(None, ignore_no_migrations=True)


@functools.cache
def names_of_the_code() -> frozenset[Name]:
    """What the files are called: reading them all takes as long as many checks together."""
    found: set[Name] = set()
    for app in apps.get_app_configs():
        module, _ = MigrationLoader.migrations_module(app.label)
        try:
            package = importlib.import_module(module or "")
        except (ModuleNotFoundError, ValueError):
            continue
        found.update(
            (app.label, each.name)
            for each in pkgutil.iter_modules(getattr(package, "__path__", ()))
            if not each.ispkg and each.name[0] not in "_~"
        )
    return frozenset(found)


def _unapplied(code: MigrationLoader, applied: set[Name]) -> Iterator[Reported]:
    wanted = {node for node in code.graph.nodes if not _is_applied(code, node, applied)}
    for app, names in _by_app(wanted).items():
        yield Reported(
            f"{app} unapplied",
            Severity.CRITICAL,
            f"Migrations of {app} are not applied",
            f"{several(names)}. The code expects what they make; pages that need it fail.",
            f"manage.py migrate {app}",
            f"app {app}",
        )


def _is_applied(code: MigrationLoader, node: Name, applied: set[Name]) -> bool:
    migration = code.disk_migrations.get(node)
    # A squashed migration is applied as soon as all that it replaces is.
    return node in applied or bool(
        migration and migration.replaces and applied.issuperset(map(tuple, migration.replaces))
    )


def _unknown(code: MigrationLoader, applied: set[Name]) -> Iterator[Reported]:
    known = set(code.disk_migrations)
    for migration in code.disk_migrations.values():
        known.update((app, name) for app, name in migration.replaces)
    for app, names in _by_app(applied - known).items():
        yield Reported(
            f"{app} unknown",
            Severity.WARNING,
            f"The database had migrations of {app} that the code does not have",
            f"{several(names)}. Either the code is older than the database, or it was of an app "
            "that is no longer installed. Deploy the code that has them; a backup of before is "
            "what brings an older schema back.",
            "manage.py showmigrations",
            f"app {app}",
        )


def _out_of_order(code: MigrationLoader, applied: set[Name]) -> Iterator[Reported]:
    for node, links in sorted(code.graph.node_map.items()):
        if node not in applied:
            continue
        before = [
            f"{parent.key[0]}.{parent.key[1]}"
            for parent in sorted(links.parents)
            if not _is_applied(code, parent.key, applied)
        ]
        if before:
            app, name = node
            yield Reported(
                f"{app}.{name} early",
                Severity.CRITICAL,
                f"{app}.{name} is applied, and what it builds on is not",
                f"It needs {several(before)}. Django refuses every further migration until the "
                "table of applied migrations is true again.",
                f"manage.py showmigrations --plan {app}",
                f"app {app}",
            )


def _by_app(names: Iterable[Name]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for app, name in sorted(names):
        found[app].append(name)
    return found
