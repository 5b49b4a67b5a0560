"""Large objects: whether the login that dumps them may read each one."""

from __future__ import annotations

from psycopg import sql

from ops.backups.errors import BackupError
from ops.postgres.endpoint import Connection

_SHOWN = 20


def has_large_objects(connection: Connection) -> bool:
    """Whether the database has any."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)"
    ).fetchone()
    return row is not None and bool(row[0])


def require_readable(connection: Connection) -> None:
    """Raise BackupError when pg_dump could not read a large object, with the statements to run."""
    rows = connection.execute(_UNREADABLE).fetchall()
    if not rows:
        return
    user = sql.Identifier(connection.info.user).as_string()
    grants = " ".join(
        f"GRANT SELECT ON LARGE OBJECT {number} TO {user};" for number, _ in rows[:_SHOWN]
    )
    owners = ", ".join(sorted({owner for _, owner in rows}))
    more = (
        f" That names {_SHOWN} of {len(rows):,}; run this again for the next ones."
        if len(rows) > _SHOWN
        else ""
    )
    raise BackupError(
        f"{connection.info.user} may not read {len(rows):,} large object(s), owned by {owners}. "
        "Nothing was taken: a backup without them would not be whole. As their owner or a "
        f"superuser, run: {grants} Then run this again.{more}"
    )


# No function tells the right before PostgreSQL 18.
_UNREADABLE = b"""
    SELECT m.oid::int8, r.rolname::text
    FROM pg_catalog.pg_largeobject_metadata m
    JOIN pg_catalog.pg_roles r ON r.oid = m.lomowner
    WHERE pg_catalog.current_setting('lo_compat_privileges') = 'off'
      AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
      AND NOT EXISTS (
        SELECT FROM pg_catalog.aclexplode(
            coalesce(m.lomacl, pg_catalog.acldefault('L', m.lomowner))) AS a
        WHERE a.privilege_type = 'SELECT'
          AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
    ORDER BY 1
"""
