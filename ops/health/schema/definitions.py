"""Read how each object of the schema public is defined, as a statement that would make it.

Every text is deparsed by PostgreSQL with an empty search_path, so that all names are qualified and
nothing depends on who asks. Two spellings that PostgreSQL itself gives one definition are made
equal (ops/backups/fingerprint/canonical.py), so that PostgreSQL 15 to 18, a fresh database and a
restored one are described alike.
"""

from __future__ import annotations

from typing import NamedTuple

from ops.backups.fingerprint.canonical import canonical, unqualified
from ops.backups.fingerprint.sources import own
from ops.backups.pinned import SETTINGS
from ops.postgres.endpoint import Connection


class Definition(NamedTuple):
    """One object's definition. A tuple, for there are thousands of them in each run."""

    kind: str  # policy, constraint, trigger, rule, index, default, function, view, owner
    name: str  # as SQL has it: quoted where it must be, qualified where it can be
    table: str  # what it is on: public.jobs; "" for functions and event triggers
    text: str  # the statement, or the part of one, that makes it; "" for no default
    # What goes with it and is not compared: grants and comment of a function, a trigger's comment,
    # a generated column's type and comment.
    besides: str = ""

    @property
    def key(self) -> str:
        """What tells it from all others, for people too: "policy job_member on public.jobs"."""
        is_within = self.table and self.kind not in {"default", "owner", "view"}
        return f"{self.kind} {self.name}" + (f" on {self.table}" if is_within else "")

    @property
    def compared(self) -> str:
        """The text in the one spelling that all servers share."""
        if self.kind == "function":
            return self.text
        if self.kind == "view":
            return canonical(unqualified(self.text))
        return canonical(self.text)


def read_definitions(
    connection: Connection, tables: list[str] | None = None
) -> dict[str, Definition]:
    """Return the definitions of all objects in public, or those on some of its tables, by key.

    Functions, views, rules and event triggers are returned wherever they stand. It is to be called
    in a transaction: names are looked up with an empty search_path meanwhile.
    """
    path = connection.execute(
        "SELECT current_setting('search_path'), set_config('search_path', %s, true)",
        [SETTINGS["search_path"]],
    ).fetchone()
    assert path is not None
    found: dict[str, Definition] = {}
    oids = [row[0] for row in connection.execute(_TABLES, {"tables": tables}).fetchall()]
    for query in _QUERIES:
        for kind, name, table, text, besides in connection.execute(query, [oids]).fetchall():
            definition = Definition(kind, name, table, text, besides)
            found[definition.key] = definition
    for name, text, besides, owner in connection.execute(_FUNCTIONS).fetchall():
        definition = Definition("function", name, "", text, besides)
        found[definition.key] = definition
        owned = Definition("owner", f"ROUTINE {name}", "", owner)
        found[owned.key] = owned
    for query in _ELSEWHERE:
        for row in connection.execute(query).fetchall():
            found[Definition(*row).key] = Definition(*row)
    connection.execute("SELECT set_config('search_path', %s, true)", [path[0]])
    return found


# An extension's tables are its own affair.
_TABLES = f"""
    SELECT c.oid::bigint FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND (%(tables)s::text[] IS NULL OR c.relname = ANY (%(tables)s::text[]))
      AND {own("pg_class", "c.oid")}
"""
_TABLE = "format('public.%%I', c.relname)"
_OURS = "c.oid = ANY (%s::bigint[]::oid[])"
_ROLES = """
    (SELECT string_agg(role, ', ' ORDER BY role COLLATE "C") FROM (
        SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE format('%%I', pg_get_userbyid(r)) END AS role
        FROM unnest(p.polroles) r) AS roles)
"""
_POLICIES = f"""
    SELECT 'policy', format('%%I', p.polname), {_TABLE},
        format('CREATE POLICY %%I ON public.%%I AS %%s FOR %%s TO %%s%%s%%s', p.polname,
            c.relname, CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
            CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
            {_ROLES},
            ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
            ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'), ''
    FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid WHERE {_OURS}
"""
# Whether rows were compared with it, and are at all, another check tells (invalid_constraints).
_CONSTRAINTS = f"""
    SELECT 'constraint', format('%%I', k.conname), {_TABLE},
        regexp_replace(pg_get_constraintdef(k.oid), '( NOT VALID| NOT ENFORCED)+$', ''), ''
    FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid
    WHERE {_OURS} AND k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.conparentid = 0
"""
# Whether it is switched off, another check tells (disabled_triggers).
_TRIGGERS = f"""
    SELECT 'trigger', format('%%I', t.tgname), {_TABLE}, pg_get_triggerdef(t.oid),
        coalesce(obj_description(t.oid, 'pg_trigger'), '')
    FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid
    WHERE {_OURS} AND NOT t.tgisinternal AND t.tgparentid = 0
"""
_RULES = f"""
    SELECT 'rule', format('%%I', r.rulename), {_TABLE}, pg_get_ruledef(r.oid), ''
    FROM pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid
    WHERE {_OURS} AND r.rulename <> '_RETURN'
"""
_INDEXES = f"""
    SELECT 'index', format('%%I', x.relname), {_TABLE}, pg_get_indexdef(x.oid), ''
    FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid JOIN pg_class x ON x.oid = i.indexrelid
    WHERE {_OURS} AND i.indisvalid AND NOT EXISTS (
        SELECT FROM pg_constraint k WHERE k.conindid = x.oid AND k.contype IN ('p', 'u', 'x'))
"""
_DEFAULTS = f"""
    SELECT 'default', format('public.%%I.%%I', c.relname, a.attname), {_TABLE},
        CASE WHEN a.attidentity = 'a' THEN 'GENERATED ALWAYS AS IDENTITY'
            WHEN a.attidentity = 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY'
            WHEN a.attgenerated <> '' THEN format('GENERATED ALWAYS AS (%%s) %%s',
                pg_get_expr(d.adbin, d.adrelid),
                CASE a.attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END)
            ELSE coalesce('DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '') END,
        CASE WHEN a.attgenerated <> '' THEN format_type(a.atttypid, a.atttypmod)
            || E'\\n' || coalesce(col_description(c.oid, a.attnum), '') ELSE '' END
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE {_OURS}
"""
_OWNERS = f"""
    SELECT 'owner', 'TABLE ' || {_TABLE}, {_TABLE}, format('%%I', pg_get_userbyid(c.relowner)), ''
    FROM pg_class c WHERE {_OURS}
"""
_GRANTS = """
    (SELECT string_agg(format('GRANT EXECUTE ON ROUTINE %s TO %s;', p.oid::regprocedure,
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(a.grantee)) END),
        E'\\n' ORDER BY a.grantee)
     FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
     WHERE a.grantee <> p.proowner)
"""
_COMMENT = """
    (SELECT format('COMMENT ON ROUTINE %s IS %L;', p.oid::regprocedure, d.description)
     FROM pg_description d WHERE d.objoid = p.oid AND d.classoid = 'pg_proc'::regclass)
"""
_FUNCTIONS = f"""
    SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid),
        concat_ws(E'\\n', {_GRANTS}, {_COMMENT}), format('%I', pg_get_userbyid(p.proowner))
    FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace AND p.prokind <> 'a' AND {own("pg_proc", "p.oid")}
"""
_VIEWS = f"""
    SELECT 'view', format('public.%I', c.relname), format('public.%I', c.relname),
        format('CREATE %s public.%I%s AS %s',
        CASE c.relkind WHEN 'v' THEN 'OR REPLACE VIEW' ELSE 'MATERIALIZED VIEW' END,
        c.relname, ' WITH (' || array_to_string(c.reloptions, ', ') || ')',
        rtrim(pg_get_viewdef(c.oid), ';')), ''
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('v', 'm')
        AND {own("pg_class", "c.oid")}
"""
_EVENT_TRIGGERS = f"""
    SELECT 'event trigger', format('%I', e.evtname), '', format('CREATE EVENT TRIGGER %I ON %s'
        ' EXECUTE FUNCTION %s()', e.evtname, e.evtevent, e.evtfoid::regproc), e.evtenabled::text
    FROM pg_event_trigger e WHERE {own("pg_event_trigger", "e.oid")}
"""
_QUERIES = (_POLICIES, _CONSTRAINTS, _TRIGGERS, _RULES, _INDEXES, _DEFAULTS, _OWNERS)
_ELSEWHERE = (_VIEWS, _EVENT_TRIGGERS)
