"""People of an archive sign in here: by addresses that are free, and by passwords of their own."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from psycopg import sql

from ops.restores.accounts.contents import Contents
from ops.restores.accounts.people import people, user_column
from ops.restores.accounts.staging import Stage
from ops.restores.errors import ConflictError, RefusedError
from ops.restores.partial.shape import Table

_SHOWN = 5


def make_room(stage: Stage, contents: Contents, account: int, as_login: str) -> str:
    """See that everybody's address is free here; returns what the owner signs in with.

    With `as_login` the owner signs in with that, and staff whose address is taken come as inactive
    users, under an address with their number in it. Raises RefusedError and ConflictError.
    """
    staged = stage.tables.get(people())
    if staged is None:
        raise RefusedError("The archive has no people. Nothing was imported. Export it anew.")
    login, key = sql.Identifier(user_column("login")), sql.Identifier(user_column("pk"))
    if as_login:
        _require_address(as_login)
        stage.connection.execute(
            sql.SQL("UPDATE {} SET {} = %s WHERE {} = %s").format(staged.name, login, key),
            [as_login, account],
        )
    taken = stage.connection.execute(
        sql.SQL(
            "SELECT s.{key}, s.{login} FROM {staged} AS s JOIN {people} AS p"
            " ON lower(p.{login}) = lower(s.{login}) ORDER BY s.{key}"
        ).format(key=key, login=login, staged=staged.name, people=staged.table.sql)
    ).fetchall()
    if taken and (not as_login or any(number == account for number, _ in taken)):
        listed = ", ".join(address for _, address in taken[:_SHOWN])
        raise ConflictError(
            f"Somebody signs in with {listed}{' …' if len(taken) > _SHOWN else ''} here already; "
            "perhaps this account was imported before. Nothing was imported. --as-email gives its "
            "owner another address, and brings staff whose address is taken as inactive users."
        )
    if taken:
        _rename(stage, contents, [number for number, _ in taken])
    row = stage.connection.execute(
        sql.SQL("SELECT {} FROM {} WHERE {} = %s").format(login, staged.name, key), [account]
    ).fetchone()
    if row is None:
        raise RefusedError(
            "The archive has no owner of the account. Nothing was imported. Export it anew."
        )
    return str(row[0])


def _rename(stage: Stage, contents: Contents, numbers: list[int]) -> None:
    staged, user = stage.tables[people()], people()
    keys = stage.keys[contents.meant[user, user_column("pk")]]
    names = stage.connection.execute(
        sql.SQL(
            "UPDATE {staged} AS s SET {active} = false, {login} ="
            " overlay(s.{login} placing '+' || k.new || '@' from position('@' in s.{login}) for 1)"
            " FROM {keys} AS k WHERE k.old = s.{key} AND s.{key} = ANY (%s) RETURNING s.{login}"
        ).format(
            staged=staged.name,
            active=sql.Identifier(user_column("is_active")),
            login=sql.Identifier(user_column("login")),
            key=sql.Identifier(user_column("pk")),
            keys=keys,
        ),
        [numbers],
    ).fetchall()
    stage.notes.append(
        f"The addresses of staff are taken here, so they came as inactive users: "
        f"{', '.join(sorted(name for (name,) in names))}."
    )


def _require_address(text: str) -> None:
    try:
        validate_email(text)
    except ValidationError:
        raise RefusedError(f"{text!r} is no e-mail address. Nothing was imported.") from None


def password_of(table: Table, columns: list[str]) -> dict[str, sql.Composable]:
    """Return a password that opens nothing, a different one a row, where the archive has none.

    It begins as Django's unusable passwords do: people have to set one by e-mail.
    """
    column = user_column("password")
    if table.title != people() or column in columns:
        return {}
    return {column: sql.SQL("'!' || replace(gen_random_uuid()::text, '-', '')")}
