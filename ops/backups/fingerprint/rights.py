"""Who may do what, and what is said about it: grants, default privileges, comments, labels.

Grants are told as what was given and taken beyond what an object of its kind begins with, so that
a list never written down and the same list written out are equal.
"""

from __future__ import annotations

from ops.backups.fingerprint.sources import FIRST_OF_OURS, relation, sorted_texts

# MAINTAIN came with PostgreSQL 17, where every owner has it, and whoever had ALL rights before.
_EXPLODED = """
    SELECT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(x.grantee)) END
      || ' ' || x.privilege_type || CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM aclexplode({acl}) AS x
    WHERE x.privilege_type <> 'MAINTAIN' OR (x.grantee <> {owner} AND 7 > (
      SELECT count(*) FROM aclexplode({acl}) AS y WHERE y.grantee = x.grantee
        AND y.privilege_type <> 'MAINTAIN' AND y.is_grantable = x.is_grantable))
"""


def _beyond(acl: str, reference: str, owner: str) -> str:
    """Return the rights that one list has and the other has not, sorted, or null."""
    first, second = (_EXPLODED.format(acl=each, owner=owner) for each in (acl, reference))
    return sorted_texts(f"ARRAY(({first}) EXCEPT ({second}))")


def _source(catalogue: str, prefix: str, kind: str, letter: str, *, where: str = "true") -> str:
    return f"""
    SELECT '{catalogue}'::regclass::oid AS classid, o.oid AS objid, o.{prefix}owner AS owner,
      o.{prefix}acl AS acl, {letter} AS letter, {kind} AS kind
    FROM {catalogue} o WHERE o.{prefix}acl IS NOT NULL AND {where}"""


_OBJECTS = " UNION ALL ".join(
    [
        _source(
            "pg_class", "rel",
            "CASE o.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END",
            "CASE o.relkind WHEN 'S' THEN 's' ELSE 'r' END",
            where="o.relpersistence <> 't'",
        ),
        _source("pg_proc", "pro", "'function'", "'f'"),
        _source("pg_type", "typ", "'type'", "'T'"),
        _source("pg_namespace", "nsp", "'schema'", "'n'", where="o.nspname !~ '^pg_(toast_)?temp'"),
        _source("pg_language", "lan", "'language'", "'l'"),
        _source("pg_foreign_data_wrapper", "fdw", "'foreign-data wrapper'", "'F'"),
        _source("pg_foreign_server", "srv", "'server'", "'S'"),
    ]
)  # fmt: skip

# What the cluster or an extension granted is where its objects begin. The schema public begins
# like this in every database, also when it was dropped and made again.
GRANTS = f"""
    WITH object AS ({_OBJECTS}), listed AS (
      SELECT o.*, CASE
        WHEN classid = 'pg_namespace'::regclass AND objid = 'public'::regnamespace
          THEN acldefault('n', owner) || makeaclitem(0, owner, 'USAGE', false)
        ELSE coalesce(i.initprivs, acldefault(letter::"char", owner)) END AS reference
      FROM object o LEFT JOIN pg_init_privs i
        ON i.classoid = o.classid AND i.objoid = o.objid AND i.objsubid = 0),
    told AS (
      SELECT kind, classid, objid, {_beyond("acl", "reference", "owner")} AS given,
        {_beyond("reference", "acl", "owner")} AS taken
      FROM listed)
    SELECT 'grants on ' || kind, (pg_identify_object(classid, objid, 0)).identity, given, taken
    FROM told WHERE given IS NOT NULL OR taken IS NOT NULL
"""

_COLUMN_BEGINS = "coalesce(i.initprivs, acldefault('c', c.relowner))"
COLUMN_GRANTS = f"""
    SELECT 'grants on columns of', {relation("a.attrelid")},
      array_agg(format('%I: ', a.attname) || g.right ORDER BY a.attname, g.right COLLATE "C")
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_init_privs i ON i.classoid = 'pg_class'::regclass AND i.objoid = c.oid
      AND i.objsubid = a.attnum,
    unnest({_beyond("a.attacl", _COLUMN_BEGINS, "c.relowner")}) AS g("right")
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND c.relpersistence <> 't'
    GROUP BY a.attrelid
"""

DEFAULT_PRIVILEGES = f"""
    SELECT 'default privileges', format('of %I%s for %s', pg_get_userbyid(d.defaclrole),
        CASE WHEN d.defaclnamespace <> 0
          THEN ' in schema ' || d.defaclnamespace::regnamespace::text ELSE '' END,
        CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences'
          WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas'
          ELSE 'large objects' END),
      {sorted_texts(f"ARRAY({_EXPLODED.format(acl='d.defaclacl', owner='d.defaclrole')})")}
    FROM pg_default_acl d
"""

_OURS = f"""
    d.objoid >= {FIRST_OF_OURS} AND d.classoid <> 'pg_extension'::regclass
    AND NOT EXISTS (SELECT FROM pg_depend member WHERE member.classid = d.classoid
      AND member.objid = d.objoid AND member.deptype = 'e')
"""

# A table's and its columns' comments are one entry; other objects have one each.
RELATION_COMMENTS = f"""
    SELECT 'comments on', {relation("d.objoid")},
      array_agg(coalesce(quote_ident(a.attname) || ': ', '') || d.description
        ORDER BY a.attname COLLATE "C" NULLS FIRST)
    FROM pg_description d JOIN pg_class c ON c.oid = d.objoid
    LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
    WHERE d.classoid = 'pg_class'::regclass AND {_OURS} AND c.relpersistence <> 't'
      AND NOT coalesce(a.attisdropped, false)
      AND NOT EXISTS (SELECT FROM pg_index i
        WHERE i.indexrelid = c.oid AND NOT i.indisvalid AND c.relkind = 'i')
    GROUP BY d.objoid
"""

# Large objects are content: dumps of definitions alone don't bring them, and not what is said of
# them either.
OTHER_COMMENTS = f"""
    SELECT 'comment on ' || o.type, o.identity, d.description
    FROM pg_description d, pg_identify_object(d.classoid, d.objoid, 0) AS o
    WHERE d.classoid NOT IN ('pg_class'::regclass, 'pg_largeobject'::regclass) AND {_OURS}
      AND coalesce(o.schema, '') !~ '^pg_temp'
    UNION ALL
    SELECT 'comment on schema', 'public', d.description
    FROM pg_description d JOIN pg_namespace n ON n.oid = d.objoid
    WHERE d.classoid = 'pg_namespace'::regclass AND n.nspname = 'public'
      AND d.objoid < {FIRST_OF_OURS} AND d.description <> 'standard public schema'
"""

LABELS = f"""
    SELECT 'security label of ' || d.provider, o.type || ' ' || o.identity, d.label
    FROM pg_seclabel d, pg_identify_object(d.classoid, d.objoid, d.objsubid) AS o WHERE {_OURS}
"""

QUERIES = (
    GRANTS, COLUMN_GRANTS, DEFAULT_PRIVILEGES, RELATION_COMMENTS, OTHER_COMMENTS, LABELS,
)  # fmt: skip
