"""Objects whose definition is another than migrations made, and objects that no migration made.

Whether tables, columns and what hangs on them is there at all, `schema_drift` tells by the models.
What each one says is compared here with what is recorded of it (ops/health/schema).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from ops.health.checks.migrations import migrations, names_of_the_code
from ops.health.context import Context
from ops.health.contract import SOON, BlindError, Reported, check
from ops.health.schema.definitions import Definition, read_definitions
from ops.health.schema.recorded import Recorded, recorded
from ops.health.schema.statements import Restoring, dropping
from ops.models import Area, Severity

_MOST = 300  # characters of a definition that are shown
_MEANS = {
    "policy": "It decides which rows an account sees and changes: others' may be open to it.",
    "constraint": "It refuses rows that must not be, and no longer the same ones.",
    "trigger": "Triggers keep the rules, the numbers and the history of each row.",
    "function": "Triggers and pages call it: rules may be off, or somebody else's code at work.",
    "default": "New rows get another value than the application counts on.",
    "index": "Queries may be slow; a unique one lets in what it was there to refuse.",
    "view": "It may show rows to somebody who must not see them.",
    "rule": "It turns statements on the table into others.",
    "owner": "An owner may switch row security off, and change or drop what is there.",
}
_NOUNS = {"default": "default of", "owner": "owner of"}
_OF_NO_MIGRATION = {
    "policy": (Severity.CRITICAL, "Policies add up: it may show rows that the others hide."),
    "trigger": (
        Severity.CRITICAL,
        "It runs with each change of a row, and may change it, drop it or copy it elsewhere.",
    ),
    "rule": (
        Severity.CRITICAL,
        "It turns statements on the table into others: rows may be lost or copied elsewhere.",
    ),
    "event trigger": (
        Severity.WARNING,
        "It runs with each change of the schema, in a migration with all of the owner's rights.",
    ),
    "constraint": (Severity.WARNING, "It refuses rows that the application allows."),
    "index": (
        Severity.WARNING,
        "It is unique: it refuses rows that the application takes for good.",
    ),
    "function": (Severity.INFO, "No code of ours calls it; it was made by hand, or left behind."),
    "view": (Severity.INFO, "No code of ours reads it; it was made by hand, or left behind."),
}


@dataclass(frozen=True)
class _Both:
    """What migrations make, and what is there."""

    wanted: Recorded
    found: dict[str, Definition]


def read_both(context: Context) -> _Both:
    """Read them for Context.once.

    Raises BlindError when the database has had other migrations than those that are recorded.
    """
    wanted = recorded()
    if wanted.migrations != names_of_the_code():
        raise BlindError(
            "What migrations make is recorded for other migrations than the code has, so that "
            "definitions can't be compared. A release has both; in development: make schema.",
        )
    for told in migrations(context):
        raise BlindError(
            f"Definitions are compared when the migrations are those of the code. {told.title}.",
            told.next_step,
        )
    return _Both(wanted, read_definitions(context.connection, wanted.tables))


@check(Area.INTEGRITY, "Definitions other than migrations made them", every=SOON)
def altered_definitions(context: Context) -> Iterator[Reported]:
    """A policy, a constraint, a trigger or a function of the right name protects nothing when it
    says something else: one ALTER POLICY opens every account, and every name is still there.
    """
    both = context.once(read_both)
    restoring = Restoring(both.wanted.definitions, context.facts.major)
    for key, wanted in both.wanted.definitions.items():
        found = both.found.get(key)
        if found is None:
            if wanted.kind == "function" and "RETURNS trigger" not in wanted.text:
                yield _missing(wanted, restoring)
        # Word for word equal is what most are, and cheap to see.
        elif found.text != wanted.text and found.compared != wanted.compared:
            yield _altered(wanted, found, restoring)


@check(Area.INTEGRITY, "Triggers, rules and other objects that no migration made", every=SOON)
def foreign_objects(context: Context) -> Iterator[Reported]:
    """A trigger, a rule or a policy that somebody added takes part in every write or read of the
    table. It is in no migration and on no other database; nobody reviewed it.
    """
    both = context.once(read_both)
    names = {_routine(each) for each in both.wanted.definitions.values() if each.kind == "function"}
    for key, found in both.found.items():
        if key in both.wanted.definitions or found.kind not in _OF_NO_MIGRATION:
            continue
        if found.kind == "index" and not found.text.startswith("CREATE UNIQUE"):
            continue  # it makes queries fast, or unused_indexes tells
        severity, means = _OF_NO_MIGRATION[found.kind]
        if found.kind == "function" and _routine(found) in names:
            severity = Severity.WARNING
            means = "It has the name of one that migrations made, and may be called in its place."
        yield Reported(
            key,
            severity,
            f"The {_title(found)} is of no migration",
            f"{means} It says: {_shown(found.text)}",
            dropping(found),
            _subject(found),
        )
    for child, parent in context.rows(_CHILDREN, [both.wanted.tables, both.wanted.tables]):
        yield Reported(
            f"inheritance of {child} from {parent}",
            Severity.CRITICAL,
            f"The rows of {child} are shown as rows of {parent}",
            "It inherits from that table, and no migration made it so: every query of the "
            "application reads its rows as well, and no trigger or key of ours holds them.",
            f"ALTER TABLE {child} NO INHERIT {parent};",
            f"table {parent}",
        )


def _altered(wanted: Definition, found: Definition, restoring: Restoring) -> Reported:
    is_unique = wanted.text.startswith("CREATE UNIQUE")
    mild = wanted.kind == "default" or (wanted.kind == "index" and not is_unique)
    return Reported(
        wanted.key,
        Severity.WARNING if mild else Severity.CRITICAL,
        f"The {_title(wanted)} is another than migrations made it",
        f"{_MEANS[wanted.kind]} {_difference(wanted, found)}",
        restoring.statement(wanted, found),
        _subject(wanted),
    )


def _missing(wanted: Definition, restoring: Restoring) -> Reported:
    return Reported(
        wanted.key,
        Severity.CRITICAL,
        f"The {_title(wanted)} is missing",
        "A migration made it, and somebody took it away: pages that call it fail.",
        restoring.statement(wanted, None),
        _subject(wanted),
    )


def _difference(wanted: Definition, found: Definition) -> str:
    """Say what is there and what should be; of a function, the first line that differs."""
    old, new = wanted.text, found.text
    if wanted.kind == "function":
        lines = zip_longest(old.splitlines(), new.splitlines(), fillvalue="")
        old, new = next(((one, other) for one, other in lines if one != other), (old, new))
    return f"It says: {_shown(new) or 'nothing'} Migrations made: {_shown(old) or 'nothing'}"


def _shown(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _MOST else f"{flat[:_MOST]} …"


def _title(definition: Definition) -> str:
    kind = _NOUNS.get(definition.kind, definition.kind)
    name = definition.name
    if definition.kind == "owner":
        noun, _, name = definition.name.partition(" ")
        kind = f"owner of the {noun.lower()}"
    is_within = definition.table and definition.kind not in {"default", "owner", "view"}
    return f"{kind} {name}" + (f" of {definition.table}" if is_within else "")


def _subject(definition: Definition) -> str:
    table = definition.table
    return f"table {table}" if table else f"{definition.kind} {definition.name}"


def _routine(function: Definition) -> str:
    return function.name.partition("(")[0]


_CHILDREN = """
    SELECT format('%%I.%%I', cn.nspname, c.relname), format('%%I.%%I', pn.nspname, p.relname)
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
    JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
    WHERE pn.nspname = 'public' AND p.relname = ANY (%s) AND NOT c.relispartition
      AND c.relkind IN ('r', 'p', 'f')
      AND NOT (cn.nspname = 'public' AND c.relname = ANY (%s))
    ORDER BY 1, 2
"""
