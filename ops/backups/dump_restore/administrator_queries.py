"""The catalogue's objects that a login could not make again in an empty database of its own.

The rules are PostgreSQL's: who may create what, and for whom pg_restore needs SET ROLE or SET
SESSION AUTHORIZATION. Each query returns (reason, class, object, column); all names in it are
catalogue names of our own, and `login`, `member` and `provided` are parameters.
"""

from __future__ import annotations

_FIRST_OF_OURS = 16384  # objects below were made with the cluster
_OURS = "(n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')"


# Of no extension, and not made with something else, as a range type's functions are.
def _own(catalogue: str, oid: str) -> str:
    return (
        f"{oid} >= {_FIRST_OF_OURS} AND NOT EXISTS (SELECT FROM pg_depend m WHERE"
        f" m.classid = '{catalogue}'::regclass AND m.objid = {oid}"
        " AND m.deptype IN ('e', 'i'))"
    )


def _made_by_superusers(catalogue: str, reason: str, where: str = "true") -> str:
    """A kind of object that only a superuser makes."""
    return f"""
    SELECT '{reason}', '{catalogue}'::regclass::oid, c.oid, 0 FROM {catalogue} c
    WHERE {_own(catalogue, "c.oid")} AND ({where})"""


def _owned(catalogue: str, prefix: str, where: str = "true", *, schema: bool = True) -> str:
    """A kind of object whose owner may be one that the login can't give it to.

    A new owner needs CREATE on the schema, and privileges are restored last.
    """
    in_schema = f"""
        AND pg_has_role(c.{prefix}owner, n.nspowner, 'USAGE')
        AND pg_has_role(%(login)s::int8::oid, n.nspowner, 'USAGE')"""
    return f"""
    SELECT 'owned by ' || quote_ident(pg_get_userbyid(c.{prefix}owner)),
      '{catalogue}'::regclass::oid, c.oid, 0
    FROM {catalogue} c
    {f"JOIN pg_namespace n ON n.oid = c.{prefix}namespace AND {_OURS}" if schema else ""}
    WHERE {_own(catalogue, "c.oid")} AND ({where}) AND c.{prefix}owner <> %(login)s::int8::oid
      AND NOT (pg_has_role(%(login)s::int8::oid, c.{prefix}owner, %(member)s)
        AND pg_has_role(%(login)s::int8::oid, c.{prefix}owner, 'USAGE')
        {in_schema if schema else ""})"""


def _granted(catalogue: str, prefix: str, kind: str, where: str = "true") -> str:
    """Grants that the owner did not give, and those on what PostgreSQL or an extension brings."""
    return f"""
    SELECT 'granted by others than the owner', '{catalogue}'::regclass::oid, c.oid, 0
    FROM {catalogue} c
    WHERE {_own(catalogue, "c.oid")} AND ({where})
      AND EXISTS (SELECT FROM aclexplode(c.{prefix}acl) x WHERE x.grantor <> c.{prefix}owner)
    UNION ALL
    SELECT 'grants on what PostgreSQL or an extension brings',
      '{catalogue}'::regclass::oid, c.oid, 0
    FROM {catalogue} c
    LEFT JOIN pg_init_privs i ON i.classoid = '{catalogue}'::regclass AND i.objoid = c.oid
      AND i.objsubid = 0
    WHERE c.{prefix}acl IS NOT NULL AND ({where}) AND NOT ({_own(catalogue, "c.oid")})
      AND NOT pg_has_role(%(login)s::int8::oid, c.{prefix}owner, 'USAGE')
      AND ({_sorted(f"c.{prefix}acl")}) IS DISTINCT FROM
          ({_sorted(f"coalesce(i.initprivs, acldefault({kind}, c.{prefix}owner))")})"""


def _sorted(acl: str) -> str:
    return f"SELECT array_agg(a::text ORDER BY a::text) FROM unnest({acl}) AS a"


_OWNERS = (
    _owned("pg_class", "rel", "c.relkind IN ('r', 'p', 'v', 'm', 'f') OR c.relkind = 'S' AND NOT"
           " EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid ="
           " c.oid AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0)"),
    _owned("pg_proc", "pro"),
    _owned("pg_type", "typ", "(c.typrelid = 0 OR EXISTS (SELECT FROM pg_class k WHERE k.oid ="
           " c.typrelid AND k.relkind = 'c'))"
           " AND NOT EXISTS (SELECT FROM pg_type el WHERE el.typarray = c.oid)"
           " AND NOT EXISTS (SELECT FROM pg_range r WHERE r.rngmultitypid = c.oid)"),
    _owned("pg_operator", "opr"),
    _owned("pg_collation", "coll"),
    _owned("pg_conversion", "con"),
    _owned("pg_ts_config", "cfg"),
    _owned("pg_ts_dict", "dict"),
    _owned("pg_statistic_ext", "stx"),
    _owned("pg_namespace", "nsp", "c.nspname !~ '^pg_'", schema=False),
    _owned("pg_publication", "pub", schema=False),
    _owned("pg_foreign_server", "srv", schema=False),
    # Of the schema public, which is older than what is ours, another owner is dumped too.
    """
    SELECT 'owned by ' || quote_ident(pg_get_userbyid(nspowner)),
      'pg_namespace'::regclass::oid, oid, 0
    FROM pg_namespace WHERE nspname = 'public' AND nspowner <> 'pg_database_owner'::regrole
      AND nspowner <> %(login)s::int8::oid
      AND NOT pg_has_role(%(login)s::int8::oid, nspowner, %(member)s)""",
    """
    SELECT 'owned by ' || quote_ident(pg_get_userbyid(c.lomowner)),
      'pg_largeobject'::regclass::oid, c.oid, 0
    FROM pg_largeobject_metadata c WHERE c.lomowner <> %(login)s::int8::oid
      AND NOT pg_has_role(%(login)s::int8::oid, c.lomowner, %(member)s)""",
)  # fmt: skip

_SUPERUSERS = (
    _made_by_superusers("pg_event_trigger", "event triggers are a superuser''s"),
    _made_by_superusers(
        "pg_publication",
        "a publication of all tables, or of a schema''s, is a superuser''s",
        "c.puballtables OR EXISTS (SELECT FROM pg_publication_namespace s WHERE s.pnpubid = c.oid)",
    ),
    _made_by_superusers("pg_opclass", "operator classes are a superuser''s"),
    _made_by_superusers("pg_opfamily", "operator families are a superuser''s"),
    _made_by_superusers("pg_am", "access methods are a superuser''s"),
    _made_by_superusers("pg_language", "languages of their own are a superuser''s"),
    _made_by_superusers("pg_foreign_data_wrapper", "foreign-data wrappers are a superuser''s"),
    _made_by_superusers("pg_ts_parser", "text search parsers are a superuser''s"),
    _made_by_superusers("pg_ts_template", "text search templates are a superuser''s"),
    _made_by_superusers(
        "pg_type",
        "base types are a superuser''s",
        "NOT c.typisdefined OR c.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type el"
        " WHERE el.typarray = c.oid)",
    ),
    _made_by_superusers("pg_proc", "LEAKPROOF functions are a superuser''s", "c.proleakproof"),
    _made_by_superusers(
        "pg_proc", "planner support functions are a superuser''s", "c.prosupport <> 0"
    ),
    _made_by_superusers(
        "pg_proc",
        "its language is not trusted",
        "c.prokind <> 'a' AND NOT (SELECT lanpltrusted FROM pg_language l WHERE l.oid = c.prolang)",
    ),
    _made_by_superusers(
        "pg_proc",
        "aggregates with an internal state are a superuser''s",
        "EXISTS (SELECT FROM pg_aggregate g WHERE g.aggfnoid = c.oid AND 'internal'::regtype IN"
        " (g.aggtranstype, g.aggmtranstype))",
    ),
    _made_by_superusers(
        "pg_proc",
        "it sets what only a superuser may set",
        "EXISTS (SELECT FROM unnest(c.proconfig) AS o JOIN pg_settings s"
        " ON s.name = lower(split_part(o, '=', 1)) WHERE s.context LIKE 'superuser%%'"
        " AND NOT has_parameter_privilege(%(login)s::int8::oid, s.name, 'SET'))",
    ),
    _made_by_superusers(
        "pg_cast",
        "it is of types that belong to others, or takes values as they lie",
        "(c.castmethod = 'b' OR NOT EXISTS (SELECT FROM pg_type t WHERE t.oid IN (c.castsource,"
        " c.casttarget) AND pg_has_role(%(login)s::int8::oid, t.typowner, 'USAGE')))"
        " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_cast'::regclass"
        " AND d.objid = c.oid AND d.deptype = 'i')",
    ),
    _made_by_superusers(
        "pg_transform",
        "it is of a type that belongs to others",
        "NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = c.trftype"
        " AND pg_has_role(%(login)s::int8::oid, t.typowner, 'USAGE'))",
    ),
    _made_by_superusers(
        "pg_foreign_server",
        "its foreign-data wrapper is a superuser''s",
        "NOT EXISTS (SELECT FROM pg_foreign_data_wrapper w WHERE w.oid = c.srvfdw"
        " AND pg_has_role(%(login)s::int8::oid, w.fdwowner, 'USAGE'))",
    ),
)

_GRANTS = (
    _granted(
        "pg_class",
        "rel",
        "(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::\"char\"",
        "c.relkind <> 't'",
    ),
    _granted("pg_proc", "pro", "'f'"),
    _granted("pg_type", "typ", "'T'"),
    _granted("pg_namespace", "nsp", "'n'", "c.nspname !~ '^pg_'"),
    _granted("pg_language", "lan", "'l'"),
    _granted("pg_foreign_data_wrapper", "fdw", "'F'"),
    _granted("pg_foreign_server", "srv", "'S'"),
    """
    SELECT 'granted by others than the owner', 'pg_class'::regclass::oid, c.oid, a.attnum::int
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
      AND EXISTS (SELECT FROM aclexplode(a.attacl) x WHERE x.grantor <> c.relowner)""",
)

_OTHERS = (
    """
    SELECT 'an extension that only a superuser may make',
      'pg_extension'::regclass::oid, e.oid, 0
    FROM pg_extension e JOIN pg_available_extensions d ON d.name = e.extname
    JOIN pg_available_extension_versions v ON v.name = d.name AND v.version = d.default_version
    WHERE v.superuser AND NOT v.trusted AND e.extname <> ALL (%(provided)s::text[])""",
    """
    SELECT 'its rows belong to an extension', 'pg_class'::regclass::oid, c.oid, 0
    FROM pg_extension e, unnest(e.extconfig) AS t JOIN pg_class c ON c.oid = t
    WHERE c.relkind IN ('r', 'p') AND NOT pg_has_role(%(login)s::int8::oid, c.relowner, 'USAGE')
      AND e.extname <> ALL (%(provided)s::text[])""",
    """
    SELECT 'in the tablespace ' || quote_ident(s.spcname), 'pg_class'::regclass::oid, c.oid, 0
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_tablespace s ON s.oid = c.reltablespace
    WHERE c.relkind IN ('r', 'p', 'm', 'i', 'I') AND n.nspname !~ '^pg_'
      AND NOT has_tablespace_privilege(%(login)s::int8::oid, s.oid, 'CREATE')""",
    """
    SELECT 'default privileges of ' || quote_ident(pg_get_userbyid(d.defaclrole)),
      'pg_default_acl'::regclass::oid, d.oid, 0
    FROM pg_default_acl d WHERE d.defaclrole <> %(login)s::int8::oid
      AND NOT pg_has_role(%(login)s::int8::oid, d.defaclrole, 'USAGE')""",
)

QUERY = f"""
    WITH found(reason, classid, objid, objsubid) AS (
      {" UNION ALL ".join((*_SUPERUSERS, *_OWNERS, *_GRANTS, *_OTHERS))})
    SELECT f.reason, o.type || ' ' || coalesce(o.identity, '')
    FROM found f, LATERAL pg_identify_object(f.classid, f.objid, f.objsubid) AS o
    -- pg_dump takes nothing of this one.
    WHERE 'information_schema' NOT IN (coalesce(o.schema, ''), o.identity)
    ORDER BY f.reason, o.type, o.identity COLLATE "C"
"""
