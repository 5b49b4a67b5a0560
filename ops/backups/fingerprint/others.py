"""The rarer kinds: extensions, publications, servers, operators, casts, collations, text search."""

from __future__ import annotations

from ops.backups.fingerprint.sources import FIRST_OF_OURS, named, ours, own, relation, sorted_texts


def _beside_catalogue(namespace: str, name: str) -> str:
    """Return an object's name, with its schema where that is another than PostgreSQL's own."""
    return (
        f"CASE WHEN {namespace}.nspname = 'pg_catalog' THEN {name}::text"
        f" ELSE {named(namespace, name)} END"
    )


# A dump does not bring plpgsql, which every database begins with, nor an extension's owner and its
# version: that is the server's newest, unless whoever restores it asks for the manifest's.
EXTENSIONS = """
    SELECT 'extension', format('%I', e.extname), e.extnamespace::regnamespace::text
    FROM pg_extension e WHERE e.extname <> 'plpgsql'
"""

_PUBLISHED = f"""ARRAY(
    SELECT {relation("r.prrelid")} || coalesce(' columns ' ||
        (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname)
         FROM pg_attribute a WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)), '')
      || coalesce(' where ' || pg_get_expr(r.prqual, r.prrelid), '')
    FROM pg_publication_rel r WHERE r.prpubid = p.oid)"""

PUBLICATIONS = f"""
    SELECT 'publication', format('%I', p.pubname), pg_get_userbyid(p.pubowner), p.puballtables,
      p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot,
      nullif(to_jsonb(p) ->> 'pubgencols', 'n'),
      {sorted_texts(_PUBLISHED)},
      {
    sorted_texts(
        "ARRAY(SELECT s.pnnspid::regnamespace::text FROM pg_publication_namespace s"
        " WHERE s.pnpubid = p.oid)"
    )
}
    FROM pg_publication p WHERE {own("pg_publication", "p.oid")}
"""

# Not whether it is on: a restored subscription is switched off, or it would take another's changes.
SUBSCRIPTIONS = f"""
    SELECT 'subscription', format('%I', s.subname), pg_get_userbyid(s.subowner),
      {sorted_texts("s.subpublications")}
    FROM pg_subscription s
    WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

WRAPPERS = f"""
    SELECT 'foreign-data wrapper', format('%I', w.fdwname), pg_get_userbyid(w.fdwowner),
      nullif(w.fdwhandler, 0)::regproc::text, nullif(w.fdwvalidator, 0)::regproc::text,
      {sorted_texts("w.fdwoptions")}
    FROM pg_foreign_data_wrapper w WHERE {own("pg_foreign_data_wrapper", "w.oid")}
"""

SERVERS = f"""
    SELECT 'server', format('%I', s.srvname), pg_get_userbyid(s.srvowner), w.fdwname, s.srvtype,
      s.srvversion, {sorted_texts("s.srvoptions")}
    FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
    WHERE {own("pg_foreign_server", "s.oid")}
"""

# Their options hold passwords, of which not even a digest belongs into a manifest.
USER_MAPPINGS = """
    SELECT 'user mapping', format('for %I on %I', coalesce(m.usename, 'PUBLIC'), m.srvname)
    FROM pg_user_mappings m
"""

OPERATORS = f"""
    SELECT 'operator', o.oid::regoperator::text, pg_get_userbyid(o.oprowner),
      o.oprcode::text, o.oprresult::regtype::text, o.oprcom::regoperator::text,
      o.oprnegate::regoperator::text, o.oprcanmerge, o.oprcanhash, o.oprrest::text, o.oprjoin::text
    FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
    WHERE {ours("n")} AND {own("pg_operator", "o.oid")}
      -- Named as a commutator of another, and never made.
      AND o.oprcode <> 0
"""

_MEMBER_OPERATORS = """ARRAY(
    SELECT format('%s %s%s%s', o.amopopr::regoperator, o.amopstrategy, o.amoppurpose,
        (SELECT format(' by %I.%I', sn.nspname, s.opfname) FROM pg_opfamily s
         JOIN pg_namespace sn ON sn.oid = s.opfnamespace WHERE s.oid = o.amopsortfamily))
    FROM pg_amop o WHERE o.amopfamily = f.oid)"""
# A function may serve other types than those it takes.
_MEMBER_FUNCTIONS = """ARRAY(
    SELECT format('%s %s for %s, %s', p.amproc::regprocedure, p.amprocnum,
        p.amproclefttype::regtype, p.amprocrighttype::regtype)
    FROM pg_amproc p WHERE p.amprocfamily = f.oid)"""

OPERATOR_FAMILIES = f"""
    SELECT 'operator family', {named("n", "f.opfname")} || ' using ' || a.amname,
      pg_get_userbyid(f.opfowner),
      {sorted_texts(_MEMBER_OPERATORS)}, {sorted_texts(_MEMBER_FUNCTIONS)}
    FROM pg_opfamily f JOIN pg_namespace n ON n.oid = f.opfnamespace
    JOIN pg_am a ON a.oid = f.opfmethod
    WHERE {ours("n")} AND {own("pg_opfamily", "f.oid")}
"""

OPERATOR_CLASSES = f"""
    SELECT 'operator class', {named("n", "c.opcname")} || ' using ' || a.amname,
      pg_get_userbyid(c.opcowner), format('%I.%I', fn.nspname, f.opfname),
      c.opcintype::regtype::text, c.opcdefault, nullif(c.opckeytype, 0)::regtype::text
    FROM pg_opclass c JOIN pg_namespace n ON n.oid = c.opcnamespace
    JOIN pg_am a ON a.oid = c.opcmethod
    JOIN pg_opfamily f ON f.oid = c.opcfamily JOIN pg_namespace fn ON fn.oid = f.opfnamespace
    WHERE {ours("n")} AND {own("pg_opclass", "c.oid")}
"""

CASTS = f"""
    SELECT 'cast', format('(%s as %s)', c.castsource::regtype, c.casttarget::regtype),
      nullif(c.castfunc, 0)::regprocedure::text, c.castcontext::text, c.castmethod::text
    FROM pg_cast c WHERE c.oid >= {FIRST_OF_OURS} AND {own("pg_cast", "c.oid")}
      -- A range type brings the casts to its multirange.
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_cast'::regclass
        AND d.objid = c.oid AND d.deptype = 'i')
"""

# The columns of the locale have other names on each major version.
COLLATIONS = f"""
    SELECT 'collation', {named("n", "c.collname")}, pg_get_userbyid(c.collowner),
      c.collprovider::text, c.collisdeterministic, c.collcollate, c.collctype,
      coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale'),
      to_jsonb(c) ->> 'collicurules'
    FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
    WHERE {ours("n")} AND {own("pg_collation", "c.oid")}
"""

CONVERSIONS = f"""
    SELECT 'conversion', {named("n", "c.conname")}, pg_get_userbyid(c.conowner),
      pg_encoding_to_char(c.conforencoding), pg_encoding_to_char(c.contoencoding),
      c.conproc::text, c.condefault
    FROM pg_conversion c JOIN pg_namespace n ON n.oid = c.connamespace
    WHERE {ours("n")} AND {own("pg_conversion", "c.oid")}
"""

SEARCH_CONFIGURATIONS = f"""
    SELECT 'text search configuration', {named("n", "c.cfgname")}, pg_get_userbyid(c.cfgowner),
      {_beside_catalogue("pn", "p.prsname")},
      (SELECT array_agg(m.maptokentype || ' ' || m.mapseqno || ' ' || m.mapdict::regdictionary
         ORDER BY m.maptokentype, m.mapseqno) FROM pg_ts_config_map m WHERE m.mapcfg = c.oid)
    FROM pg_ts_config c JOIN pg_namespace n ON n.oid = c.cfgnamespace
    JOIN pg_ts_parser p ON p.oid = c.cfgparser JOIN pg_namespace pn ON pn.oid = p.prsnamespace
    WHERE {ours("n")} AND {own("pg_ts_config", "c.oid")}
"""

SEARCH_DICTIONARIES = f"""
    SELECT 'text search dictionary', {named("n", "d.dictname")}, pg_get_userbyid(d.dictowner),
      {_beside_catalogue("tn", "t.tmplname")}, d.dictinitoption
    FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = d.dictnamespace
    JOIN pg_ts_template t ON t.oid = d.dicttemplate
    JOIN pg_namespace tn ON tn.oid = t.tmplnamespace
    WHERE {ours("n")} AND {own("pg_ts_dict", "d.oid")}
"""

LANGUAGES = f"""
    SELECT 'language', format('%I', l.lanname), pg_get_userbyid(l.lanowner), l.lanpltrusted,
      nullif(l.lanplcallfoid, 0)::regproc::text, nullif(l.laninline, 0)::regproc::text,
      nullif(l.lanvalidator, 0)::regproc::text
    FROM pg_language l WHERE l.oid >= {FIRST_OF_OURS} AND {own("pg_language", "l.oid")}
"""

# Only ever made in C, beside which their names are enough.
NAMES_ONLY = " UNION ALL ".join(
    f"""
    SELECT o.type, o.identity
    FROM {catalogue} c, pg_identify_object('{catalogue}'::regclass, c.oid, 0) AS o
    WHERE c.oid >= {FIRST_OF_OURS} AND {own(catalogue, "c.oid")}"""
    for catalogue in ("pg_ts_parser", "pg_ts_template", "pg_am", "pg_transform")
)

QUERIES = (
    EXTENSIONS, PUBLICATIONS, SUBSCRIPTIONS, WRAPPERS, SERVERS, USER_MAPPINGS, OPERATORS,
    OPERATOR_FAMILIES, OPERATOR_CLASSES, CASTS, COLLATIONS, CONVERSIONS, SEARCH_CONFIGURATIONS,
    SEARCH_DICTIONARIES, LANGUAGES, NAMES_ONLY,
)  # fmt: skip
