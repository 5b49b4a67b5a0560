"""One table whole: columns, indexes, constraints, policies, triggers, grants, references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ops.health.context import Context
from ops.health.inspection.names import Relation, find_relation
from ops.health.inspection.report import Column, Form, Report
from ops.words import size

_Look = Callable[[Context, Relation], Report]


def table(context: Context, typed: str) -> list[Report]:
    """Return everything about the table that `typed` names. Raises HealthError for no such one."""
    relation = find_relation(context, typed)
    return [look(context, relation) for look in _LOOKS]


def _facts(context: Context, relation: Relation) -> Report:
    (owner, persistence, comment, rows, live, dead, heap, total, scans, by_index, inserted, updated,
     deleted, hot, vacuumed, analysed, secure, forced, options, parent, partitions, definition) = (
        context.one(_FACTS, [relation.oid])
    )  # fmt: skip
    security = ("forced" if forced else "on, not forced") if secure else "off"
    facts: list[tuple[str, Any]] = [
        ("kind", relation.noun + (" (unlogged)" if persistence == "u" else "")),
        ("owner", owner),
        ("comment", comment),
        ("partition of", parent),
        ("partitions", ", ".join(partitions) or None),
        ("definition", definition),
    ]
    stored = relation.kind in {"r", "p", "m"}
    if stored:
        changed = f"{updated:,} updated ({hot:,} in place)"
        written = f"{inserted:,} inserted, {changed}, {deleted:,} deleted"
        facts += [
            ("rows", f"{max(rows, 0):,.0f} as the planner estimates, {live:,} live, {dead:,} dead"),
            ("size", f"{size(total)}, of it {size(heap)} the rows themselves"),
            ("read", f"{scans:,} times whole, {by_index:,} times by an index"),
            ("written", written),
            ("vacuumed", _moment(vacuumed)),
            ("analysed", _moment(analysed)),
            ("row security", security),
            ("options", ", ".join(options) or None),
        ]  # fmt: skip
    shown = tuple((name, value) for name, value in facts if value is not None)
    return Report("table", relation.title, (Column("fact", ""), Column("value", "")), shown)


def _columns(context: Context, relation: Relation) -> Report:
    columns = (
        Column("column", "Column"),
        Column("type", "Type"),
        Column("required", "Required", Form.FLAG),
        Column("default", "Default"),
        Column("comment", "Comment"),
    )
    return Report("columns", "Columns", columns, tuple(context.rows(_COLUMNS, [relation.oid])))


def _indexes(context: Context, relation: Relation) -> Report:
    columns = (
        Column("index", "Index"),
        Column("definition", "On"),
        Column("kind", "Kind", style=lambda kind: "bold red" if "invalid" in kind else ""),
        Column("scans", "Used", Form.NUMBER),
        Column("last_used", "Last", Form.MOMENT),
        Column("bytes", "Size", Form.BYTES),
    )
    # When an index was used last is known since PostgreSQL 16.
    last = "s.last_idx_scan" if context.facts.major >= 16 else "NULL::timestamptz"
    rows = context.rows(_INDEXES.replace("LAST_SCAN", last), [relation.oid])
    return Report("indexes", "Indexes", columns, tuple(rows))


def _plain(name: str, title: str, query: str, *columns: Column) -> _Look:
    def look(context: Context, relation: Relation) -> Report:
        return Report(name, title, columns, tuple(context.rows(query, [relation.oid])))

    return look


def _moment(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else "never"


_FACTS = """
    SELECT pg_get_userbyid(c.relowner)::text, c.relpersistence::text,
        obj_description(c.oid, 'pg_class'), c.reltuples::float8,
        coalesce(s.n_live_tup, 0), coalesce(s.n_dead_tup, 0),
        coalesce(pg_relation_size(c.oid), 0), coalesce(pg_total_relation_size(c.oid), 0),
        coalesce(s.seq_scan, 0), coalesce(s.idx_scan, 0), coalesce(s.n_tup_ins, 0),
        coalesce(s.n_tup_upd, 0), coalesce(s.n_tup_del, 0), coalesce(s.n_tup_hot_upd, 0),
        greatest(s.last_vacuum, s.last_autovacuum), greatest(s.last_analyze, s.last_autoanalyze),
        c.relrowsecurity, c.relforcerowsecurity, coalesce(c.reloptions, '{}'),
        (SELECT format('%%I.%%I', pn.nspname, p.relname) FROM pg_inherits i
            JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
            WHERE i.inhrelid = c.oid AND c.relispartition),
        ARRAY(SELECT format('%%I.%%I', pn.nspname, p.relname) FROM pg_inherits i
            JOIN pg_class p ON p.oid = i.inhrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
            WHERE i.inhparent = c.oid ORDER BY 1),
        CASE WHEN c.relkind IN ('v', 'm') THEN ltrim(pg_get_viewdef(c.oid, true)) END
    FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid WHERE c.oid = %s
"""
_COLUMNS = """
    SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        CASE WHEN a.attidentity <> '' THEN 'identity'
            WHEN a.attgenerated <> '' THEN 'generated: ' || pg_get_expr(d.adbin, d.adrelid)
            ELSE pg_get_expr(d.adbin, d.adrelid) END,
        col_description(a.attrelid, a.attnum)
    FROM pg_attribute a
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_INDEXES = """
    SELECT x.relname::text, substring(pg_get_indexdef(i.indexrelid) FROM ' USING (.*)$'),
        concat_ws(', ',
            CASE WHEN i.indisprimary THEN 'primary key' WHEN i.indisunique THEN 'unique' END,
            CASE WHEN NOT (i.indisvalid AND i.indisready) THEN 'invalid' END),
        coalesce(s.idx_scan, 0), LAST_SCAN, pg_relation_size(i.indexrelid)
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = i.indexrelid
    WHERE i.indrelid = %s ORDER BY i.indisprimary DESC, 1
"""
_CONSTRAINTS = """
    SELECT conname::text, pg_get_constraintdef(oid, true),
        concat_ws(', ', CASE WHEN NOT convalidated THEN 'not valid' END,
            CASE WHEN condeferrable THEN 'deferrable' END)
    FROM pg_constraint WHERE conrelid = %s ORDER BY contype = 'p' DESC, contype, 1
"""
_POLICIES = """
    SELECT p.polname::text,
        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
            WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
        CASE WHEN p.polroles = '{0}' THEN 'PUBLIC' ELSE (SELECT string_agg(rolname, ', ' ORDER BY
            rolname) FROM pg_roles WHERE oid = ANY (p.polroles)) END,
        CASE WHEN NOT p.polpermissive THEN 'restrictive' ELSE '' END,
        pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
    FROM pg_policy p WHERE p.polrelid = %s ORDER BY 3, 1
"""
_TRIGGERS = """
    SELECT t.tgname::text, pg_get_triggerdef(t.oid, true),
        CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'on replicas' ELSE '' END
    FROM pg_trigger t WHERE t.tgrelid = %s AND NOT t.tgisinternal ORDER BY 1
"""
# Rights on single columns stand with those on the whole table.
_GRANTS = """
    SELECT coalesce(r.rolname::text, 'PUBLIC'), string_agg(a.privilege_type
        || CASE WHEN a.on_column IS NULL THEN '' ELSE ' (' || a.on_column || ')' END
        || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END,
        ', ' ORDER BY a.on_column NULLS FIRST, a.privilege_type)
    FROM (
        SELECT (aclexplode(coalesce(c.relacl, acldefault('r', c.relowner)))).*, NULL AS on_column
        FROM pg_class c WHERE c.oid = %s
        UNION ALL
        SELECT (aclexplode(t.attacl)).*, t.attname::text FROM pg_attribute t
        WHERE t.attrelid = %s AND t.attacl IS NOT NULL AND NOT t.attisdropped
    ) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    GROUP BY 1 ORDER BY 1
"""
_REFERENCES = """
    SELECT CASE WHEN k.conrelid = o.oid THEN 'to' ELSE 'from' END,
        format('%%I.%%I', n.nspname, x.relname), k.conname::text, pg_get_constraintdef(k.oid, true)
    FROM (SELECT %s::oid) o(oid)
    JOIN pg_constraint k ON o.oid IN (k.conrelid, k.confrelid)
    JOIN pg_class x ON x.oid = CASE WHEN k.conrelid = o.oid THEN k.confrelid ELSE k.conrelid END
    JOIN pg_namespace n ON n.oid = x.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY 1 DESC, 2, 3
"""


def _grants(context: Context, relation: Relation) -> Report:
    rows = context.rows(_GRANTS, [relation.oid, relation.oid])
    columns = (Column("role", "Role"), Column("may", "May"))
    return Report("grants", "Grants", columns, tuple(rows))


_LOOKS: tuple[_Look, ...] = (
    _facts,
    _columns,
    _indexes,
    _plain(
        "constraints", "Constraints", _CONSTRAINTS,
        Column("constraint", "Constraint"), Column("definition", "Says"),
        Column("state", "", style=lambda state: "yellow" if "not valid" in state else ""),
    ),
    _plain(
        "policies", "Policies", _POLICIES,
        Column("policy", "Policy"), Column("command", "For"), Column("roles", "Role"),
        Column("kind", ""), Column("using", "Rows it shows"), Column("check", "Rows it takes"),
    ),
    _plain(
        "triggers", "Triggers", _TRIGGERS,
        Column("trigger", "Trigger"), Column("definition", "Does"),
        Column("state", "", style=lambda state: "yellow" if state == "disabled" else ""),
    ),
    _grants,
    _plain(
        "references", "References", _REFERENCES,
        Column("direction", ""), Column("table", "Table"), Column("constraint", "Constraint"),
        Column("definition", "Says"),
    ),
)  # fmt: skip
