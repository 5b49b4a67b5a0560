"""Tables, columns, views, sequences, and everything that hangs on a table."""

from __future__ import annotations

from ops.backups.fingerprint.sources import (
    collation,
    column,
    named,
    options,
    ours,
    own,
    relation,
    sorted_texts,
)

_FROM = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
_OURS = f"{ours('n')} AND c.relpersistence <> 't' AND {own('pg_class', 'c.oid')}"
_NAME = named("n", "c.relname")

TABLES = f"""
    SELECT CASE c.relkind WHEN 'f' THEN 'foreign table' ELSE 'table' END, {_NAME},
      pg_get_userbyid(c.relowner), c.relkind::text, c.relpersistence::text, c.relrowsecurity,
      c.relforcerowsecurity, c.relreplident::text,
      (SELECT {relation("i.indexrelid")} FROM pg_index i
       WHERE i.indrelid = c.oid AND i.indisreplident AND c.relreplident = 'i'),
      {options("c.reloptions")},
      (SELECT {options("t.reloptions")} FROM pg_class t WHERE t.oid = c.reltoastrelid),
      (SELECT amname FROM pg_am WHERE pg_am.oid = c.relam),
      (SELECT spcname FROM pg_tablespace s WHERE s.oid = c.reltablespace),
      CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
      pg_get_expr(c.relpartbound, c.oid),
      (SELECT array_agg({relation("i.inhparent")} ORDER BY i.inhseqno) FROM pg_inherits i
       WHERE i.inhrelid = c.oid),
      CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
      (SELECT array[s.srvname::text, {sorted_texts("f.ftoptions")}::text]
       FROM pg_foreign_table f JOIN pg_foreign_server s ON s.oid = f.ftserver
       WHERE f.ftrelid = c.oid)
    {_FROM} WHERE c.relkind IN ('r', 'p', 'f') AND {_OURS}
"""

# A column's rank, not its number: dropped columns keep theirs, and no dump brings them. A child
# table that got an inherited column late gets it in another place when it is restored.
COLUMNS = f"""
    SELECT 'column', {_NAME} || format('.%I', a.attname),
      CASE WHEN c.relispartition OR NOT EXISTS (
          SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
        THEN rank() OVER (PARTITION BY c.oid ORDER BY a.attnum) END,
      format_type(a.atttypid, a.atttypmod), a.attnotnull,
      {collation("a.attcollation", "t.typcollation")},
      pg_get_expr(d.adbin, d.adrelid),
      -- Of a partition, told since PostgreSQL 17 only.
      CASE WHEN NOT c.relispartition THEN a.attidentity::text ELSE '' END, a.attgenerated::text,
      CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END,
      a.attcompression::text, nullif(a.attstattarget, -1), {options("a.attoptions")},
      {sorted_texts("a.attfdwoptions")}
    {_FROM}
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND {_OURS}
"""

# PostgreSQL 18 lists NOT NULL among the constraints; the column tells it on every version. What a
# partition has of its parent's foreign key is named anew wherever it is made.
CONSTRAINTS = f"""
    SELECT 'constraint', format('%I on %s', k.conname, {_NAME}),
      k.contype::text, pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable,
      k.condeferred, k.contype = 'c' AND k.connoinherit
    {_FROM} JOIN pg_constraint k ON k.conrelid = c.oid
    WHERE {_OURS} AND k.contype <> 't'
      AND (k.contype <> 'n' OR NOT k.convalidated)
      AND (k.contype <> 'f' OR k.conparentid = 0)
"""

# An invalid index, left behind by a failed CREATE INDEX CONCURRENTLY, serves nobody and no dump
# brings it.
INDEXES = f"""
    SELECT 'index', {_NAME}, {relation("i.indrelid")}, pg_get_indexdef(c.oid), i.indisvalid,
      i.indisclustered, i.indisreplident,
      (SELECT array_agg(nullif(a.attstattarget, -1) ORDER BY a.attnum) FROM pg_attribute a
       WHERE a.attrelid = c.oid AND a.attnum > 0),
      (SELECT spcname FROM pg_tablespace s WHERE s.oid = c.reltablespace),
      (SELECT {relation("h.inhparent")} FROM pg_inherits h WHERE h.inhrelid = c.oid)
    {_FROM} JOIN pg_index i ON i.indexrelid = c.oid
    WHERE {_OURS} AND {own("pg_class", "i.indrelid")} AND (i.indisvalid OR c.relkind = 'I')
"""

POLICIES = f"""
    SELECT 'policy', format('%I on %s', p.polname, {_NAME}), p.polcmd::text, p.polpermissive,
      (SELECT array_agg(grantee ORDER BY grantee COLLATE "C") FROM (
        SELECT CASE WHEN r = 0 THEN 'public' ELSE pg_get_userbyid(r)::text END AS grantee
        FROM unnest(p.polroles) AS r) AS named),
      pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
    {_FROM} JOIN pg_policy p ON p.polrelid = c.oid WHERE {_OURS}
"""

TRIGGERS = f"""
    SELECT 'trigger', format('%I on %s', t.tgname, {_NAME}), pg_get_triggerdef(t.oid),
      t.tgenabled::text
    {_FROM} JOIN pg_trigger t ON t.tgrelid = c.oid WHERE {_OURS} AND NOT t.tgisinternal
"""

# Switched off, foreign keys are checked no more: what a data-only restore that died leaves behind.
SYSTEM_TRIGGERS = f"""
    SELECT 'disabled system triggers', 'of ' || {_NAME}, count(*)
    {_FROM} JOIN pg_trigger t ON t.tgrelid = c.oid
    WHERE {_OURS} AND t.tgisinternal AND t.tgenabled <> 'O' GROUP BY 2
"""

RULES = f"""
    SELECT 'rule', format('%I on %s', r.rulename, {_NAME}), pg_get_ruledef(r.oid),
      r.ev_enabled::text
    {_FROM} JOIN pg_rewrite r ON r.ev_class = c.oid WHERE {_OURS} AND r.rulename <> '_RETURN'
"""

VIEWS = f"""
    SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, {_NAME},
      pg_get_userbyid(c.relowner), {options("c.reloptions")}, c.relispopulated,
      (SELECT amname FROM pg_am WHERE pg_am.oid = c.relam), pg_get_viewdef(c.oid)
    {_FROM} WHERE c.relkind IN ('v', 'm') AND {_OURS}
"""

SEQUENCES = f"""
    SELECT 'sequence', {_NAME}, pg_get_userbyid(c.relowner), c.relpersistence::text,
      format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
      s.seqcycle,
      (SELECT array_agg(d.deptype::text || ' ' || {relation("d.refobjid")} || '.'
          || {column("d.refobjid", "d.refobjsubid")})
       FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
       AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
    {_FROM} JOIN pg_sequence s ON s.seqrelid = c.oid WHERE {_OURS}
"""

STATISTICS = f"""
    SELECT 'statistics', {named("n", "x.stxname")}, pg_get_userbyid(x.stxowner),
      pg_get_statisticsobjdef(x.oid), nullif(x.stxstattarget, -1)
    FROM pg_statistic_ext x JOIN pg_namespace n ON n.oid = x.stxnamespace
    WHERE {ours("n")} AND {own("pg_statistic_ext", "x.oid")}
"""

QUERIES = (
    TABLES, COLUMNS, CONSTRAINTS, INDEXES, POLICIES, TRIGGERS, SYSTEM_TRIGGERS, RULES, VIEWS,
    SEQUENCES, STATISTICS,
)  # fmt: skip
