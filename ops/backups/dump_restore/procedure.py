"""The restore procedure itself: a dump, into an empty database, by the owner's login.

An administrator's login takes its place only for a backup that says that it has to
(`administrator_needs`), because some of its objects no ordinary owner can make.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from psycopg import sql

from ops.backups.dump_restore.administrator_needs import needs_of
from ops.backups.dump_restore.contents import Contents, Step, contents_of
from ops.backups.dump_restore.errors import TooNewError
from ops.backups.dump_restore.extensions import (
    COMMENTS_DETAIL,
    Extension,
    comment_extensions,
    make_extensions,
)
from ops.backups.dump_restore.loading import load
from ops.backups.dumpreading import made_by
from ops.backups.manifest import Manifest
from ops.models import BackupKind
from ops.postgres.endpoint import Endpoint
from ops.progress import Progress


@dataclass(frozen=True)
class Dump:
    """A dump in a file of ours, and what its manifest says about it."""

    manifest: Manifest
    file: Path


@dataclass(frozen=True)
class Target:
    """An empty database, the login that owns it, and an administrator's where one was given."""

    owner: Endpoint
    administrator: Endpoint | None = None
    by_administrator: bool = False  # whatever the manifest says

    def login(self, manifest: Manifest) -> Endpoint:
        """Return by whom this backup is restored, and read again to compare it."""
        if self.administrator is not None and (self.by_administrator or needs_of(manifest)):
            return self.administrator.at(self.owner.database)
        return self.owner


@dataclass
class Loaded:
    """What was restored, and what somebody should know about it."""

    login: Endpoint
    notes: list[str] = field(default_factory=list)


def restore_dump(
    dump: Dump, schema: Dump | None, target: Target, progress: Progress, *, jobs: int
) -> Loaded:
    """Restore a dump into an empty database; rows alone between the definitions of `schema`.

    Raises LoadError, which names the object; TooNewError; and ToolError.
    """
    definitions = schema or dump
    login = target.login(definitions.manifest)
    for each in filter(None, (dump, schema)):
        _require_readable(each.manifest, login)
    program = login.program("pg_restore")
    rows = contents_of(program, dump.file)
    contents = contents_of(program, definitions.file) if schema else rows
    loaded = Loaded(login)

    _set_up_public(target.owner, contents.public_owner, login)
    wanted = _extensions(definitions.manifest, contents)
    if any(each.schema != "public" for each in wanted):
        load(contents, [Step.SCHEMAS], login, progress, jobs=1)
        loaded.notes += make_extensions(wanted, target.owner, target.administrator)
        load(contents, [Step.DEFINITIONS], login, progress, jobs=1)
    else:
        loaded.notes += make_extensions(wanted, target.owner, target.administrator)
        load(contents, [Step.SCHEMAS, Step.DEFINITIONS], login, progress, jobs=1)
    loaded.notes += comment_extensions(
        definitions.manifest.details.get(COMMENTS_DETAIL, {}), target.owner, target.administrator
    )
    load(rows, [Step.ROWS], login, progress, jobs=jobs)
    if dump.manifest.kind != BackupKind.TABLES:
        # Keys to tables that are not in a backup of some tables would find nobody.
        load(contents, [Step.INDEXES], login, progress, jobs=jobs)
        load(contents, [Step.PRIVILEGES], login, progress, jobs=jobs)
    return loaded


def _require_readable(manifest: Manifest, place: Endpoint) -> None:
    """Only the server's own pg_restore will do: a newer one sets what an older can't know."""
    if made_by(manifest) > place.major:
        raise TooNewError(
            f"{manifest.name} was written by pg_dump {made_by(manifest)}, which PostgreSQL "
            f"{place.major} can't take."
        )


def _extensions(manifest: Manifest, contents: Contents) -> list[Extension]:
    return [
        Extension(name, manifest.extensions.get(name, ""), schema)
        for name, schema in contents.extensions.items()
    ]


def _set_up_public(owner: Endpoint, named_owner: str, login: Endpoint) -> None:
    """Let the schema public begin as in a new database: the dump's grants add to that."""
    with closing(owner.connect()) as connection:
        connection.execute(
            sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(owner.user))
        )
        grantees = connection.execute(_GRANTEES).fetchall()
        for (grantee,) in grantees:
            connection.execute(
                sql.SQL("REVOKE ALL ON SCHEMA public FROM {}").format(sql.Identifier(grantee))
            )
        connection.execute(
            sql.SQL(
                "REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO"
                " PUBLIC; GRANT ALL ON SCHEMA public TO {}"
            ).format(sql.Identifier(owner.user))
        )
    # pg_dump says nothing about the owner that each new database's has.
    with closing(login.connect()) as connection:
        connection.execute(
            sql.SQL("ALTER SCHEMA public OWNER TO {}").format(
                sql.Identifier(named_owner or "pg_database_owner")
            )
        )


_GRANTEES = """
    SELECT DISTINCT pg_get_userbyid(x.grantee)::text
    FROM pg_namespace n, aclexplode(n.nspacl) AS x
    WHERE n.nspname = 'public' AND x.grantee NOT IN (0, n.nspowner)
"""
