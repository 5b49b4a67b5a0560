"""Functions and types, and what hangs on them."""

from __future__ import annotations

from ops.backups.fingerprint.sources import collation, named, ours, own, sorted_texts

SCHEMAS = f"""
    SELECT 'schema', format('%I', n.nspname), pg_get_userbyid(n.nspowner)
    FROM pg_namespace n WHERE {ours("n")} AND {own("pg_namespace", "n.oid")}
      -- Every database begins with this one; no dump tells that it was dropped.
      AND (n.nspname <> 'public' OR pg_get_userbyid(n.nspowner) <> 'pg_database_owner')
"""

FUNCTIONS = f"""
    SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
      {named("n", "p.proname")} || '(' || pg_get_function_identity_arguments(p.oid) || ')',
      pg_get_userbyid(p.proowner), pg_get_function_arguments(p.oid),
      pg_get_function_result(p.oid), l.lanname, p.prokind::text, p.prosrc, p.probin,
      pg_get_function_sqlbody(p.oid), p.prosecdef, p.proleakproof, p.proisstrict,
      p.provolatile::text, p.proparallel::text, p.procost, p.prorows,
      p.prosupport::regproc::text, p.proconfig,
      (SELECT array_agg(format_type(t, NULL)) FROM unnest(p.protrftypes) AS t),
      (SELECT array[a.aggkind::text, a.aggnumdirectargs::text, a.aggtransfn::text,
         a.aggfinalfn::text, a.aggcombinefn::text, a.aggserialfn::text, a.aggdeserialfn::text,
         a.aggmtransfn::text, a.aggminvtransfn::text, a.aggmfinalfn::text,
         a.aggfinalextra::text, a.aggmfinalextra::text, a.aggfinalmodify::text,
         a.aggmfinalmodify::text, a.aggsortop::regoperator::text,
         format_type(a.aggtranstype, NULL), a.aggtransspace::text,
         CASE WHEN a.aggmtranstype <> 0 THEN format_type(a.aggmtranstype, NULL) END,
         a.aggmtransspace::text, a.agginitval, a.aggminitval]
       FROM pg_aggregate a WHERE a.aggfnoid = p.oid)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_language l ON l.oid = p.prolang
    WHERE {ours("n")} AND {own("pg_proc", "p.oid")}
      -- A range type brings its own constructors.
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
        AND d.objid = p.oid AND d.deptype = 'i')
"""

TYPES = f"""
    SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, {named("n", "t.typname")},
      pg_get_userbyid(t.typowner), t.typtype::text,
      (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e
       WHERE e.enumtypid = t.oid),
      CASE WHEN t.typtype = 'd' THEN array[format_type(t.typbasetype, t.typtypmod),
        t.typnotnull::text, pg_get_expr(t.typdefaultbin, 0),
        {collation("t.typcollation", "b.typcollation")}] END,
      (SELECT array_agg(format('%I %s %s', k.conname, pg_get_constraintdef(k.oid), k.convalidated)
         ORDER BY k.conname COLLATE "C")
       FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'),
      CASE WHEN t.typtype = 'c' THEN
        (SELECT array_agg(format('%I %s %s', a.attname, format_type(a.atttypid, a.atttypmod),
           {collation("a.attcollation", "at.typcollation")}) ORDER BY a.attnum)
         FROM pg_attribute a JOIN pg_type at ON at.oid = a.atttypid
         WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END,
      (SELECT array[format_type(r.rngsubtype, NULL), format_type(r.rngmultitypid, NULL),
         (SELECT format('%I.%I', onn.nspname, o.opcname) FROM pg_opclass o
          JOIN pg_namespace onn ON onn.oid = o.opcnamespace WHERE o.oid = r.rngsubopc),
         {collation("r.rngcollation", "0")}, r.rngcanonical::text, r.rngsubdiff::text]
       FROM pg_range r WHERE r.rngtypid = t.oid),
      CASE WHEN t.typtype = 'b' THEN array[t.typinput::text, t.typoutput::text,
        t.typreceive::text, t.typsend::text, t.typmodin::text, t.typmodout::text,
        t.typanalyze::text, t.typsubscript::text, t.typlen::text, t.typbyval::text,
        t.typalign::text, t.typstorage::text, t.typcategory::text, t.typispreferred::text,
        t.typdelim::text, coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault),
        format_type(nullif(t.typelem, 0), NULL)] END
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_type b ON b.oid = t.typbasetype
    WHERE {ours("n")} AND {own("pg_type", "t.oid")} AND t.typtype IN ('b', 'c', 'd', 'e', 'r')
      -- The row types of tables and the arrays of types come with them.
      AND NOT EXISTS (SELECT FROM pg_type element WHERE element.typarray = t.oid)
      AND (t.typrelid = 0
        OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
"""

# A type that was named and never made. pg_dump brings it where something speaks of it.
SHELL_TYPES = f"""
    SELECT 'shell type', {named("n", "t.typname")}, pg_get_userbyid(t.typowner)
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE {ours("n")} AND {own("pg_type", "t.oid")} AND NOT t.typisdefined
"""

EVENT_TRIGGERS = f"""
    SELECT 'event trigger', format('%I', e.evtname), pg_get_userbyid(e.evtowner), e.evtevent,
      e.evtfoid::regproc::text, e.evtenabled::text, {sorted_texts("e.evttags")}
    FROM pg_event_trigger e WHERE {own("pg_event_trigger", "e.oid")}
"""

QUERIES = (SCHEMAS, FUNCTIONS, TYPES, SHELL_TYPES, EVENT_TRIGGERS)
