"""Extensions of a database that a dump is restored into: made first, where and as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ops.backups.dump_restore.errors import ExtensionError
from ops.backups.fingerprint import extensions
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.errors import one_line
from ops.postgres.roles import AMCHECK_EXTENSION, OUR_EXTENSIONS

SCHEMAS_DETAIL = "extension_schemas"  # in a manifest's details; absent from older ones
# Those that somebody wrote, without those that extensions bring; absent where there are none.
COMMENTS_DETAIL = "extension_comments"
PUBLIC = "public"
_OWN = "pg_catalog"  # plpgsql, which each database has


@dataclass(frozen=True)
class Extension:
    """An extension as it was in the database that was dumped."""

    name: str
    version: str
    schema: str


def extension_schemas(connection: Connection) -> dict[str, str]:
    """Return the schema of each extension of a database."""
    rows = connection.execute(
        "SELECT e.extname::text, n.nspname::text FROM pg_catalog.pg_extension e"
        " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY 1"
    )
    return dict(rows.fetchall())


def own_comments(connection: Connection) -> dict[str, str]:
    """Return the comments on extensions that are not the ones they brought; "" for none at all."""
    rows = connection.execute(
        "SELECT e.extname::text, coalesce(obj_description(e.oid, 'pg_extension'), '')"
        " FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_available_extensions a"
        " ON a.name = e.extname WHERE coalesce(obj_description(e.oid, 'pg_extension'), '')"
        " <> coalesce(a.comment, '') ORDER BY 1"
    )
    return dict(rows.fetchall())


def comment_extensions(
    wanted: dict[str, str], owner: Endpoint, administrator: Endpoint | None
) -> list[str]:
    """Write comments as they were; return, in sentences, which nobody here may write."""
    notes = []
    for name, comment in wanted.items():
        statement = sql.SQL("COMMENT ON EXTENSION {} IS {}").format(
            sql.Identifier(name), sql.Literal(comment or None)
        )
        refused = _refused(owner, [statement])
        if refused and administrator is not None:
            refused = _refused(administrator.at(owner.database), [statement])
        if refused:
            notes.append(
                f"The comment on the extension {name} is the one that it brings ({refused}); as a "
                f"superuser run: {statement.as_string()};"
            )
    return notes


def fits_template(schemas: dict[str, str]) -> bool:
    """Whether what provisioning puts into its template is where the dump has it.

    Where not, an empty database is begun with: the owner's login can't move what a superuser made.
    """
    return all(
        schema == PUBLIC
        for name, schema in schemas.items()
        if name in OUR_EXTENSIONS and schema != _OWN
    )


def make_extensions(
    wanted: list[Extension], owner: Endpoint, administrator: Endpoint | None
) -> list[str]:
    """Make what is not there, or is elsewhere, in its own schema and version.

    By the owner's login; by the administrator's what that may not make. Returns what is otherwise
    than it was, in sentences. Raises ExtensionError.
    """
    notes = []
    with closing(owner.connect()) as connection:
        there, installed = extension_schemas(connection), extensions(connection)
        versions = _versions(connection)
    for each in wanted:
        if there.get(each.name) in {each.schema, _OWN} and not (
            administrator is not None and _is_to_be_of_another_version(each, installed, versions)
        ):
            if each.version and installed[each.name] != each.version:
                notes.append(
                    f"The extension {each.name} is of version {installed[each.name]}, as the "
                    f"template has it; it was {each.version}."
                )
            continue
        version = each.version if each.version in versions.get(each.name, set()) else ""
        statements = list(_statements(each, version, exists=each.name in there))
        refused = _refused(owner, statements)
        if refused and administrator is not None:
            refused = _refused(administrator.at(owner.database), statements)
        if refused:
            raise ExtensionError(refused, what=f"EXTENSION {each.name} in schema {each.schema}")
        if each.version and not version:
            notes.append(
                f"The server has no version {each.version} of the extension {each.name}; it was "
                "made in the one that the server prefers."
            )
    return notes


def _is_to_be_of_another_version(
    wanted: Extension, installed: dict[str, str], versions: dict[str, set[str]]
) -> bool:
    """Whether the template's version is another, with other functions for the dump's grants.

    Not that of amcheck: made anew it would lack the right that provisioning made it with.
    """
    return (
        wanted.name not in {"plpgsql", AMCHECK_EXTENSION}
        and wanted.version != installed[wanted.name]
        and wanted.version in versions.get(wanted.name, set())
    )


def _versions(connection: Connection) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in connection.execute(
        "SELECT name, version FROM pg_catalog.pg_available_extension_versions"
    ):
        found.setdefault(name, set()).add(version)
    return found


def _statements(extension: Extension, version: str, *, exists: bool) -> Iterator[sql.Composed]:
    name = sql.Identifier(extension.name)
    if exists:
        # The database is empty but for what its template brought, so that nothing depends on it.
        yield sql.SQL("DROP EXTENSION {}").format(name)
    yield sql.SQL("CREATE EXTENSION {} SCHEMA {}{}").format(
        name,
        sql.Identifier(extension.schema),
        sql.SQL(" VERSION {}").format(sql.Identifier(version)) if version else sql.SQL(""),
    )


def _refused(place: Endpoint, statements: list[sql.Composed]) -> str:
    """Run all statements or none; return why not."""
    with closing(place.connect()) as connection:
        try:
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement)
        except psycopg.Error as error:
            return one_line(error)
    return ""
