"""What belongs to a database and is in no dump of it, or only by name.

Roles live beside databases, and a database's owner, grants and settings in the server's own tables.
A restore elsewhere reads here which roles are missing and what to set.
"""

from __future__ import annotations

from typing import Any

from ops.backups.fingerprint.sources import FIRST_OF_OURS, sorted_texts
from ops.backups.pinned import Connection, pinned


def extensions(connection: Connection) -> dict[str, str]:
    """Return the version of each extension."""
    rows = connection.execute("SELECT extname, extversion FROM pg_catalog.pg_extension")
    return dict(sorted((str(name), str(version)) for name, version in rows.fetchall()))


def roles(connection: Connection) -> dict[str, str]:
    """Return the roles that own or were granted something here, and the roles these are members of.

    The value lists attributes, memberships and settings, as words to read and to compare.
    """
    with pinned(connection):
        rows = connection.execute(_ROLES.encode()).fetchall()
    return {
        name: "; ".join(
            [
                attributes,
                *([f"member of {memberships}"] if memberships else []),
                *([f"set {', '.join(_spoken(each) for each in settings)}"] if settings else []),
            ]
        )
        for name, attributes, memberships, settings in rows
    }


def database_properties(connection: Connection) -> dict[str, Any]:
    """Return name, owner, grants, settings, encoding, locale, limit and comment of the database.

    Settings of which the name says that they are secret are not among them but named under
    "withheld": a manifest is not encrypted.
    """
    with pinned(connection):
        cursor = connection.execute(_DATABASE.encode())
        row = cursor.fetchone()
        assert row is not None
        assert cursor.description is not None
    found = dict(zip([column.name for column in cursor.description], row, strict=True))
    settings = found["settings"]
    found["withheld"] = [each.partition("=")[0] for each in settings if _is_secret(each)]
    found["settings"] = [each for each in settings if not _is_secret(each)]
    return found


def _is_secret(setting: str) -> bool:
    name = setting.partition("=")[0].rpartition(": ")[2].lower()
    return any(word in name for word in ("secret", "passw", "token", "key", "credential"))


def _spoken(setting: str) -> str:
    return f"{setting.partition('=')[0]} (withheld)" if _is_secret(setting) else setting


# Everything that names a role in this database says so in pg_shdepend, except the members of roles
# and what belongs to the cluster's first superuser.
_ROLES = f"""
    WITH RECURSIVE named(oid) AS (
        SELECT refobjid FROM pg_shdepend
        WHERE refclassid = 'pg_authid'::regclass
          AND (dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            OR dbid = 0 AND classid = 'pg_database'::regclass
               AND objid = (SELECT oid FROM pg_database WHERE datname = current_database()))
        UNION SELECT datdba FROM pg_database WHERE datname = current_database()
        UNION SELECT relowner FROM pg_class WHERE oid >= {FIRST_OF_OURS}
        UNION SELECT proowner FROM pg_proc WHERE oid >= {FIRST_OF_OURS}
        UNION SELECT typowner FROM pg_type WHERE oid >= {FIRST_OF_OURS}
        UNION SELECT nspowner FROM pg_namespace WHERE oid >= {FIRST_OF_OURS}
        UNION SELECT m.roleid FROM pg_auth_members m JOIN named n ON n.oid = m.member)
    SELECT r.rolname,
      concat_ws(' ',
        CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolinherit THEN 'INHERIT' ELSE
        'NOINHERIT' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
        CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
        CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
        CASE WHEN r.rolreplication THEN 'REPLICATION' END,
        CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
        CASE WHEN r.rolconnlimit <> -1 THEN 'CONNECTION LIMIT ' || r.rolconnlimit END),
      (SELECT string_agg(
         format('%I', pg_get_userbyid(m.roleid))
           || CASE WHEN m.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END,
         ', ' ORDER BY pg_get_userbyid(m.roleid) COLLATE "C")
       FROM pg_auth_members m WHERE m.member = r.oid),
      (SELECT array_agg(o ORDER BY o COLLATE "C")
       FROM pg_db_role_setting s, unnest(s.setconfig) AS o
       WHERE s.setrole = r.oid AND s.setdatabase = 0)
    FROM pg_roles r JOIN (SELECT DISTINCT oid FROM named) AS n USING (oid)
    -- A cluster brings its own.
    WHERE r.rolname !~ '^pg_'
    ORDER BY r.rolname COLLATE "C"
"""

_GRANTS = """ARRAY(
    SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(x.grantee)) END
      || ' ' || x.privilege_type || CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS x)"""
_SETTINGS = """ARRAY(
    SELECT CASE WHEN s.setrole = 0 THEN '' ELSE format('%I: ', pg_get_userbyid(s.setrole)) END || o
    FROM pg_db_role_setting s, unnest(s.setconfig) AS o WHERE s.setdatabase = d.oid)"""

# Columns of the locale were renamed in 17, so they are asked for by name in the row as JSON.
_DATABASE = f"""
    SELECT d.datname::text AS name, pg_get_userbyid(d.datdba)::text AS owner,
      {sorted_texts(_GRANTS)} AS grants,
      coalesce({sorted_texts(_SETTINGS)}, '{{}}') AS settings,
      pg_encoding_to_char(d.encoding)::text AS encoding,
      CASE d.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' ELSE 'builtin' END
        AS locale_provider,
      d.datcollate AS collation, d.datctype AS character_type,
      coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
      d.datcollversion AS collation_version, d.datconnlimit AS connection_limit,
      shobj_description(d.oid, 'pg_database') AS comment
    FROM pg_database d WHERE d.datname = current_database()
"""
