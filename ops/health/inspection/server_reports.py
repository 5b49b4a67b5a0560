"""Roles, and who receives this server's changes."""

from __future__ import annotations

from ops.health.context import Context
from ops.health.inspection.report import Column, Form, Report


def roles(context: Context) -> Report:
    """Return every role but the server's own: what it may, whom it may become, how many are in."""
    columns = (
        Column("role", "Role"),
        Column("attributes", "Is", style=lambda names: "yellow" if "superuser" in names else ""),
        Column("member_of", "Member of"),
        Column("connections", "Sessions", Form.NUMBER),
        Column("limit", "Of at most", Form.NUMBER),
        Column("valid_until", "Until", Form.MOMENT),
        Column("settings", "Settings"),
    )
    return Report("roles", "Roles", columns, tuple(context.rows(_ROLES)))


def replication(context: Context) -> Report:
    """Return who receives, which slots hold WAL, and, on a standby, what it comes from."""
    context.require_statistics("Who streams from this server")
    columns = (
        Column("kind", ""),
        Column("name", "Name"),
        Column("state", "State", style=lambda state: "yellow" if "idle" in state else ""),
        Column("lag_bytes", "Behind", Form.BYTES),
        Column("lag_seconds", "For", Form.SECONDS),
        Column("detail", "How"),
    )
    standby = context.facts.in_recovery
    query = _STANDBY if standby else _PRIMARY
    title = "This server is a standby" if standby else "This server is a primary"
    rows = tuple(context.rows(query))
    notes = () if rows else ("Nobody receives its changes, and no slot holds WAL for anybody.",)
    return Report("replication", title, columns, rows, notes)


_ROLES = """
    SELECT r.rolname::text,
        array_remove(ARRAY[CASE WHEN r.rolsuper THEN 'superuser' END,
            CASE WHEN r.rolcanlogin THEN 'login' END,
            CASE WHEN NOT r.rolinherit THEN 'noinherit' END,
            CASE WHEN r.rolbypassrls THEN 'bypassrls' END,
            CASE WHEN r.rolcreatedb THEN 'createdb' END,
            CASE WHEN r.rolcreaterole THEN 'createrole' END,
            CASE WHEN r.rolreplication THEN 'replication' END], NULL),
        ARRAY(SELECT DISTINCT b.rolname::text FROM pg_auth_members m JOIN pg_roles b
            ON b.oid = m.roleid WHERE m.member = r.oid ORDER BY 1),
        (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid),
        nullif(r.rolconnlimit, -1), nullif(r.rolvaliduntil, 'infinity'),
        coalesce((SELECT array_agg(each) FROM pg_db_role_setting s, unnest(s.setconfig) each
            WHERE s.setrole = r.oid AND s.setdatabase IN (0, (SELECT oid FROM pg_database
                WHERE datname = current_database()))), '{}')
    FROM pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY r.rolsuper DESC, 1
"""
_PRIMARY = """
    SELECT 'receiver', coalesce(nullif(application_name, ''), usename::text, ''), state,
        pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint,
        extract(epoch FROM replay_lag)::float8,
        concat_ws(', ', sync_state, coalesce(client_addr::text, 'by socket'))
    FROM pg_stat_replication
    UNION ALL
    SELECT 'slot', slot_name::text, CASE WHEN active THEN 'in use' ELSE 'idle' END,
        pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint, NULL,
        concat_ws(', ', slot_type, plugin, 'WAL ' || wal_status)
    FROM pg_replication_slots
    ORDER BY 1, 2
"""
_STANDBY = """
    SELECT 'source', coalesce(sender_host || ':' || sender_port, ''), status,
        pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::bigint,
        extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8,
        coalesce('slot ' || slot_name, '')
    FROM pg_stat_wal_receiver
    UNION ALL
    SELECT 'slot', slot_name::text, CASE WHEN active THEN 'in use' ELSE 'idle' END,
        NULL, NULL, concat_ws(', ', slot_type, plugin, 'WAL ' || wal_status)
    FROM pg_replication_slots
    ORDER BY 1, 2
"""
