"""Row policies and same-account foreign keys as `Meta.constraints`.

Declared like any other constraint, `makemigrations` writes them into migrations and `sqlmigrate`
shows them. Removing a policy leaves row security enabled and forced: without a policy PostgreSQL
answers with no rows, so a mistake here hides data and never shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models.constraints import BaseConstraint

from ops.postgres.roles import ADMIN, APP, MEMBER

# Read through a scalar sub-select the setting is evaluated once per statement, not once per row
# (0.07 ms against 21,349 ms per 100,000 rows in our trial).
CURRENT_ACCOUNT = "(SELECT NULLIF(current_setting('app.account_id', true), '')::bigint)"
ALL_COMMANDS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_BY_COLUMN = frozenset({"SELECT", "UPDATE"})


class _SqlConstraint(BaseConstraint):
    """A constraint that is plain SQL after the table exists, and that only the database checks.

    Django's signatures allow no model and no schema editor; it never calls them that way.
    """

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        # CREATE TABLE can't hold it: it runs once the tables it speaks about exist.
        schema_editor.deferred_sql.append(self.create_sql(model, schema_editor))
        return None

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do in Python: the database is the judge."""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _SqlConstraint):
            return self.deconstruct() == other.deconstruct()
        return NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self.name))


class RowPolicy(_SqlConstraint):
    """One role's row policy on one table, together with the rights that role has on it.

    One policy per role and never an OR between them: PostgreSQL then keeps using the index on the
    policy's column. The grants travel with the policy, so a table without one is out of reach.

    `hidden` names columns that the role neither reads nor changes; it still gives them a value in
    a new row. The other columns are granted one by one, so a column added later needs the policy
    made anew (tests/ops/rls/test_passwords.py says so).
    """

    def __init__(
        self,
        *,
        name: str,
        role: str,
        using: str = "true",
        check: str | None = None,
        commands: Sequence[str] = ALL_COMMANDS,
        hidden: Sequence[str] = (),
    ) -> None:
        super().__init__(name=name)
        self.role, self.using, self.with_check = role, using, check
        self.commands, self.hidden = tuple(commands), tuple(hidden)

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        columns = [each.column for each in model._meta.local_concrete_fields]
        return policy_sql(
            model._meta.db_table,
            self.name,
            role=self.role,
            using=self.using,
            check=self.with_check,
            commands=self.commands,
            visible=[each for each in columns if each not in self.hidden] if self.hidden else (),
        )

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        return drop_policy_sql(model._meta.db_table, self.name, role=self.role)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        path, args, kwargs = super().deconstruct()
        kwargs |= {"role": self.role}
        if self.using != "true":
            kwargs["using"] = self.using
        if self.with_check is not None:
            kwargs["check"] = self.with_check
        if self.commands != ALL_COMMANDS:
            kwargs["commands"] = self.commands
        if self.hidden:
            kwargs["hidden"] = self.hidden
        return path, args, kwargs


def policy_sql(
    table: str,
    name: str,
    *,
    role: str,
    using: str = "true",
    check: str | None = None,
    commands: Sequence[str] = ALL_COMMANDS,
    schema: str = "",
    visible: Sequence[str] = (),
) -> str:
    """The SQL of one role's policy and grants; also for tables of other packages (`RunSQL`).

    Without a schema the table is the one that the search_path finds, as in all of Django's SQL.
    With `visible` the role reads and changes these columns only.
    """
    qualified = f"{_quoted(schema)}.{_quoted(table)}" if schema else _quoted(table)
    columns = f" ({', '.join(visible)})" if visible else ""
    rights = [f"{each}{columns if each in _BY_COLUMN else ''}" for each in commands]
    statements = [
        f"ALTER TABLE {qualified} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {qualified} FORCE ROW LEVEL SECURITY",
        f"GRANT {', '.join(rights)} ON {qualified} TO {role}",
    ]
    # FOR ALL is one policy; a role with fewer rights is held back by its grants.
    condition = "" if tuple(commands) == ("INSERT",) else f" USING ({using})"
    with_check = f" WITH CHECK ({check or using})"
    kind = "ALL"
    if tuple(commands) == ("SELECT",):
        kind, with_check = "SELECT", ""
    statements.append(
        f"CREATE POLICY {_quoted(name)} ON {qualified} FOR {kind} TO {role}{condition}{with_check}"
    )
    return ";\n".join(statements)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def drop_policy_sql(table: str, name: str, *, role: str) -> str:
    """The SQL that takes one role's policy and all its rights away."""
    return f'DROP POLICY "{name}" ON "{table}";\nREVOKE ALL ON "{table}" FROM {role}'


def account_policies(column: str = "user_id") -> list[BaseConstraint]:
    """The two policies of an account's table: members see their own rows, administrators all."""
    return [
        RowPolicy(name="%(class)s_member", role=MEMBER, using=f"{column} = {CURRENT_ACCOUNT}"),
        RowPolicy(name="%(class)s_admin", role=ADMIN),
    ]


def history_policies(table: str, column: str = "user_id") -> list[BaseConstraint]:
    """Policies of a history table: readable like its rows, written by trigger, never changed."""
    commands = ("SELECT", "INSERT")
    return [
        RowPolicy(
            name=f"{table}_member",
            role=MEMBER,
            using=f"{column} = {CURRENT_ACCOUNT}",
            commands=commands,
        ),
        RowPolicy(name=f"{table}_admin", role=ADMIN, commands=commands),
    ]


class SameAccountKey(_SqlConstraint):
    """`FOREIGN KEY (user_id, x_id) REFERENCES target (user_id, id)`.

    PostgreSQL checks foreign keys beyond row security, so a plain key would let a member point a
    job at a stranger's customer. It is checked at the statement, not deferred: a deferred failure
    would surface at COMMIT, outside the view that could explain it.
    """

    def __init__(
        self, *, name: str, field: str, account: str = "account", on_delete: str = "NO ACTION"
    ) -> None:
        super().__init__(name=name)
        self.field, self.account, self.on_delete = field, account, on_delete

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        field = model._meta.get_field(self.field)
        target = field.related_model
        own = model._meta.get_field(self.account).column
        theirs = target._meta.get_field(self.account).column
        # The target's unique key has to be there: its table comes first in a migration.
        return (
            f'ALTER TABLE "{model._meta.db_table}" ADD CONSTRAINT "{self.name}" '
            f'FOREIGN KEY ("{own}", "{field.column}") REFERENCES "{target._meta.db_table}" '
            f'("{theirs}", "{target._meta.pk.column}") ON DELETE {self.on_delete}'
        )

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        return f'ALTER TABLE "{model._meta.db_table}" DROP CONSTRAINT "{self.name}"'

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        path, args, kwargs = super().deconstruct()
        kwargs |= {"field": self.field}
        if self.account != "account":
            kwargs["account"] = self.account
        if self.on_delete != "NO ACTION":
            kwargs["on_delete"] = self.on_delete
        return path, args, kwargs


__all__ = [
    "ADMIN",
    "APP",
    "CURRENT_ACCOUNT",
    "MEMBER",
    "RowPolicy",
    "SameAccountKey",
    "account_policies",
    "drop_policy_sql",
    "history_policies",
    "policy_sql",
]
