"""SQL that gives an object the definition that migrations gave it, and changes nothing else.

Every name is qualified. What can't be done by one statement is done in one transaction, so that
there is no moment without a policy or a constraint; only indexes are built beside first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ops.health.schema.definitions import Definition

_IDENTITY = "AS IDENTITY"
_SET_EXPRESSION_SINCE = 17


@dataclass(frozen=True)
class Restoring:
    """Writes the statements for one server."""

    recorded: Mapping[str, Definition]
    major: int  # of the server

    def statement(self, wanted: Definition, found: Definition | None) -> str:
        """Return the SQL that makes an object again, or makes it what migrations made."""
        if wanted.kind == "default" and "GENERATED ALWAYS AS (" in wanted.text:
            return self._generated(wanted, found)
        return _RESTORING[wanted.kind](wanted, found)

    def _generated(self, wanted: Definition, found: Definition | None) -> str:
        """A column that is generated: its values are computed anew, for each row of the table."""
        if self.major >= _SET_EXPRESSION_SINCE and found and "GENERATED ALWAYS AS (" in found.text:
            expression = wanted.text.removeprefix("GENERATED ALWAYS AS ").rpartition(" ")[0]
            return _alter_column(wanted, f"SET EXPRESSION AS {expression}")
        # It can only be made anew, and what hangs on it with it.
        column, (type_, _, comment) = _column(wanted), wanted.besides.partition("\n")
        mentions = re.compile(rf"(?<!\w){re.escape(column)}(?!\w)")
        dependent = [
            each
            for each in self.recorded.values()
            if each.table == wanted.table
            and each.kind in {"index", "constraint"}
            and mentions.search(each.text)
        ]
        return _in_one(
            f"ALTER TABLE {wanted.table} DROP COLUMN {column},"
            f" ADD COLUMN {column} {type_} {wanted.text};",
            f"COMMENT ON COLUMN {wanted.name} IS {_literal(comment)};" if comment else "",
            *(
                f"{each.text};" if each.kind == "index" else _constraint(each, None)
                for each in dependent
            ),
        )


def dropping(found: Definition) -> str:
    """Return the SQL that takes away an object that no migration made."""
    if found.kind in {"policy", "trigger", "rule"}:
        return f"DROP {found.kind.upper()} {found.name} ON {found.table};"
    if found.kind == "constraint":
        return f"ALTER TABLE {found.table} DROP CONSTRAINT {found.name};"
    if found.kind == "index":
        return f"DROP INDEX CONCURRENTLY public.{found.name};"
    if found.kind == "event trigger":
        return f"DROP EVENT TRIGGER {found.name};"
    if found.kind == "default":
        return _alter_column(found, _without(found.text))
    # Shown before it is gone: nothing else has its text.
    if found.kind == "function":
        shown = f"SELECT pg_get_functiondef({_literal(found.name)}::regprocedure);"
        return f"{shown}\nDROP ROUTINE {found.name};"
    noun = "MATERIALIZED VIEW" if found.text.startswith("CREATE MATERIALIZED") else "VIEW"
    shown = f"SELECT pg_get_viewdef({_literal(found.name)}::regclass);"
    return f"{shown}\nDROP {noun} {found.name};"


def _policy(wanted: Definition, found: Definition | None) -> str:
    return _in_one(_dropped(found), f"{wanted.text};")


def _constraint(wanted: Definition, found: Definition | None) -> str:
    drop = f"DROP CONSTRAINT {wanted.name}, " if found else ""
    return f"ALTER TABLE {wanted.table} {drop}ADD CONSTRAINT {wanted.name} {wanted.text};"


def _trigger(wanted: Definition, found: Definition | None) -> str:
    comment = f"COMMENT ON TRIGGER {wanted.name} ON {wanted.table} IS {_literal(wanted.besides)};"
    return _in_one(_dropped(found), f"{wanted.text};", comment if wanted.besides else "")


def _function(wanted: Definition, found: Definition | None) -> str:
    if found is not None:
        head, other = wanted.text.partition("\nAS ")[0], found.text.partition("\nAS ")[0]
        if _signature(head) == _signature(other):
            return f"{wanted.text.rstrip()};"
    # Made anew it would be open to everybody, until its grants say otherwise.
    name = wanted.name
    return _in_one(
        f"DROP ROUTINE {name};" if found is not None else "",
        f"{wanted.text.rstrip()};",
        f"REVOKE ALL ON ROUTINE {name} FROM PUBLIC;",
        wanted.besides,
    )


def _signature(head: str) -> list[str]:
    """What CREATE OR REPLACE can't change: names of parameters, and what is returned."""
    first, *others = head.splitlines()
    return [first, *(line for line in others if line.startswith(" RETURNS "))]


def _view(wanted: Definition, found: Definition | None) -> str:
    return _in_one(_dropped(found), f"{wanted.text};")


def _index(wanted: Definition, found: Definition | None) -> str:
    if found is None:
        return f"{_concurrently(wanted.text)};"
    # Beside first: there is no moment without an index, and without its uniqueness.
    other = _quoted(_unquoted(wanted.name)[:50] + "_declared")
    text = wanted.text.replace(f"INDEX {wanted.name} ON", f"INDEX {other} ON", 1)
    return "\n".join([
        f"{_concurrently(text)};",
        f"DROP INDEX CONCURRENTLY public.{wanted.name};",
        f"ALTER INDEX public.{other} RENAME TO {wanted.name};",
    ])  # fmt: skip


def _default(wanted: Definition, found: Definition | None) -> str:
    has, wants = (found.text if found else ""), wanted.text
    if not wants:
        return _alter_column(wanted, _without(has))
    if wants.startswith("DEFAULT "):
        set_default = _alter_column(wanted, f"SET {wants}")
        return (
            _in_one(_alter_column(wanted, _without(has)), set_default)
            if has.endswith(_IDENTITY)
            else set_default
        )
    return _identity(wanted, has)


def _identity(wanted: Definition, has: str) -> str:
    if has.endswith(_IDENTITY):
        return _alter_column(wanted, f"SET {wanted.text.removesuffix(' ' + _IDENTITY)}")
    column = _column(wanted)
    # Numbers go on behind the highest that is there, or the next row would be refused.
    go_on = (
        f"SELECT setval(pg_get_serial_sequence({_literal(wanted.table)}, "  # noqa: S608 (quoted)
        f"{_literal(_unquoted(column))}), (SELECT coalesce(max({column}), 0) + 1 FROM "
        f"{wanted.table}), false);"
    )
    return _in_one(
        _alter_column(wanted, "DROP DEFAULT") if has else "",
        _alter_column(wanted, f"ADD {wanted.text}"),
        go_on,
    )


def _owner(wanted: Definition, found: Definition | None) -> str:
    return f"ALTER {wanted.name} OWNER TO {wanted.text};"


def _dropped(found: Definition | None) -> str:
    return dropping(found) if found else ""


def _in_one(*statements: str) -> str:
    some = [each for each in statements if each]
    return some[0] if len(some) == 1 else "\n".join(["BEGIN;", *some, "COMMIT;"])


def _without(text: str) -> str:
    if text.endswith(_IDENTITY):
        return "DROP IDENTITY"
    return "DROP DEFAULT" if text.startswith("DEFAULT ") else "DROP EXPRESSION"


def _alter_column(definition: Definition, how: str) -> str:
    return f"ALTER TABLE {definition.table} ALTER COLUMN {_column(definition)} {how};"


def _column(definition: Definition) -> str:
    return definition.name.removeprefix(f"{definition.table}.")


def _concurrently(text: str) -> str:
    return text.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


_RESTORING: dict[str, Callable[[Definition, Definition | None], str]] = {
    "policy": _policy,
    "constraint": _constraint,
    "trigger": _trigger,
    "rule": _policy,
    "function": _function,
    "view": _view,
    "index": _index,
    "default": _default,
    "owner": _owner,
}
