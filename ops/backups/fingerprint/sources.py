"""Pieces every query about definitions is made of.

Each query returns (kind, name, fact, fact …) per object; what pg_dump leaves to PostgreSQL itself
or to an extension is not among them. All names are catalogue names of our own: no value enters.
"""

from __future__ import annotations

# Objects below this number were made with the cluster.
FIRST_OF_OURS = 16384


def own(catalogue: str, oid: str) -> str:
    """Return the condition that an object belongs to no extension."""
    return (
        "NOT EXISTS (SELECT FROM pg_depend member"
        f" WHERE member.classid = '{catalogue}'::regclass AND member.objid = {oid}"
        " AND member.deptype = 'e')"
    )


def ours(namespace: str) -> str:
    """Return the condition that a row of pg_namespace is no schema of PostgreSQL's own."""
    return f"({namespace}.nspname !~ '^pg_' AND {namespace}.nspname <> 'information_schema')"


def named(namespace: str, name: str) -> str:
    """Return an object's name with its schema, quoted where SQL needs it."""
    return f"format('%I.%I', {namespace}.nspname, {name})"


def relation(oid: str) -> str:
    """Return a relation's name with its schema, by its number."""
    return (
        "(SELECT format('%I.%I', rn.nspname, rc.relname) FROM pg_class rc"
        f" JOIN pg_namespace rn ON rn.oid = rc.relnamespace WHERE rc.oid = {oid})"
    )


def column(relation_oid: str, number: str) -> str:
    """Return a column's name."""
    return (
        "(SELECT ca.attname FROM pg_attribute ca"
        f" WHERE ca.attrelid = {relation_oid} AND ca.attnum = {number})"
    )


def collation(oid: str, usual: str) -> str:
    """Return a collation's name, or null where it is the type's usual one."""
    return (
        f"CASE WHEN {oid} <> {usual} THEN (SELECT format('%I.%I', cn.nspname, co.collname)"
        " FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace"
        f" WHERE co.oid = {oid}) END"
    )


def sorted_texts(array: str) -> str:
    """Return an array of options in an order of its own."""
    return f'(SELECT array_agg(o ORDER BY o COLLATE "C") FROM unnest({array}) AS o)'


def options(array: str) -> str:
    """Return an array of storage options in an order of its own, without the server's own marks.

    Names that begin with `pg_` are PostgreSQL's: a server may stamp objects with some, anew at each
    creation (Debian's 15.20 writes `pg_attver=<number>` on every column), and pg_dump leaves them
    out. No option that a user can set is called so.
    """
    return (
        f'(SELECT array_agg(o ORDER BY o COLLATE "C") FROM unnest({array}) AS o'
        " WHERE NOT starts_with(o, 'pg_'))"
    )
