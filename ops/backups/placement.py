"""Partitions whose rows a restore places anew: another database hashes their keys otherwise.

The hash of an enum's value is the one of its OID, and a restore gives out new OIDs. pg_dump has the
rows of such partitions loaded through the partitioned table, so that the rows of one partition may
be in another one afterwards: only all partitions together can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ops.backups.proof import TableProof, sum_of
from ops.postgres.endpoint import Connection

TableName = tuple[str, str]  # schema, name


def rehashed_partitions(connection: Connection) -> dict[TableName, TableName]:
    """Return the partitions whose rows a restore may place otherwise, each with its whole table.

    The whole table is the topmost one that is partitioned by such a hash. What is above it, by
    list or by range, places rows the same way in every database.
    """
    rows = connection.execute(_PARTITIONS.encode()).fetchall()
    return {(schema, name): (of_schema, of_name) for schema, name, of_schema, of_name in rows}


def needs_load_via_root(connection: Connection) -> bool:
    """Whether pg_dump has to be told to load rows through partitioned tables.

    It sees by itself that a key is an enum, and not that a key is made of one: an array, a range or
    a composite type. Loaded into their former partitions, such rows would be refused.
    """
    row = connection.execute(_OVERLOOKED.encode()).fetchone()
    return row is not None and bool(row[0])


def gathered(
    proofs: Iterable[TableProof], whole: Mapping[TableName, TableName]
) -> list[TableProof]:
    """Return the proofs with those of such partitions added up, under their whole table's name."""
    found: list[TableProof] = []
    parts: dict[TableName, list[TableProof]] = {}
    for each in proofs:
        table = whole.get((each.schema, each.name))
        if table is None:
            found.append(each)
        else:
            parts.setdefault(table, []).append(each)
    return [*found, *(sum_of(*table, some) for table, some in parts.items())]


# Types whose hash is of an OID that a restore gives out anew, and what is made of them. Of an
# expression the catalogue keeps no type: by its operator class it may be such a one. An operator
# class of the user's own hashes as it likes; pg_dump loads such rows into their former partitions.
_UNSTABLE = """
    WITH RECURSIVE made_of(whole, part) AS (
        SELECT oid, typbasetype FROM pg_catalog.pg_type WHERE typtype = 'd'
        UNION ALL SELECT typarray, oid FROM pg_catalog.pg_type WHERE typarray <> 0
        UNION ALL SELECT rngtypid, rngsubtype FROM pg_catalog.pg_range
        UNION ALL SELECT rngmultitypid, rngtypid FROM pg_catalog.pg_range
        UNION ALL SELECT c.reltype, a.atttypid
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
        WHERE c.reltype <> 0 AND a.attnum > 0 AND NOT a.attisdropped
    ), unstable(type) AS (
        SELECT oid FROM pg_catalog.pg_type WHERE typtype = 'e' OR (
            typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND typname IN (
            'regclass', 'regcollation', 'regconfig', 'regdatabase', 'regdictionary', 'regnamespace',
            'regoper', 'regoperator', 'regproc', 'regprocedure', 'regrole', 'regtype'))
        UNION SELECT m.whole FROM made_of m JOIN unstable u ON u.type = m.part
    ), rehashed(oid, is_enum) AS (
        SELECT p.partrelid, bool_or(o.opcname = 'enum_ops')
        FROM pg_catalog.pg_partitioned_table p
        CROSS JOIN LATERAL unnest(p.partattrs::int2[], p.partclass::oid[]) AS k(number, class)
        JOIN pg_catalog.pg_opclass o ON o.oid = k.class
            AND o.opcnamespace = 'pg_catalog'::pg_catalog.regnamespace
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.number
            AND k.number <> 0
        WHERE p.partstrat = 'h' AND (a.atttypid IN (SELECT type FROM unstable)
            OR (a.atttypid IS NULL AND o.opcname IN
                ('enum_ops', 'array_ops', 'range_ops', 'multirange_ops', 'record_ops', 'oid_ops')))
        GROUP BY 1
    )
"""
_PARTITIONS = f"""{_UNSTABLE}
    SELECT n.nspname, c.relname, wn.nspname, w.relname
    FROM rehashed r
    JOIN pg_catalog.pg_class w ON w.oid = r.oid
    JOIN pg_catalog.pg_namespace wn ON wn.oid = w.relnamespace
    CROSS JOIN LATERAL pg_catalog.pg_partition_tree(r.oid) t
    JOIN pg_catalog.pg_class c ON c.oid = t.relid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE t.isleaf AND c.relkind <> 'p' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_partition_ancestors(r.oid) above(relid)
        WHERE above.relid <> r.oid AND above.relid IN (SELECT oid FROM rehashed))
"""  # noqa: S608 (of constants)
_OVERLOOKED = f"""{_UNSTABLE}
    SELECT EXISTS (SELECT FROM rehashed WHERE NOT is_enum)
"""  # noqa: S608 (of constants)
