"""Names as SQL wants them, quoted only where they have to be: next steps are read by people."""

from __future__ import annotations

import re

from psycopg import sql

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*\Z")
# Words that PostgreSQL takes for something else when they stand alone; keywords of the kind
# "reserved" and "reserved (can be function or type)" of its documentation, appendix C.
_WORDS = (
    "all analyse analyze and any array as asc asymmetric authorization binary both case cast check "
    "collate collation column concurrently constraint create cross current_catalog current_date "
    "current_role current_schema current_time current_timestamp current_user default deferrable "
    "desc distinct do else end except false fetch for foreign freeze from full grant group having "
    "ilike in initially inner intersect into is isnull join lateral leading left like limit "
    "localtime localtimestamp natural not notnull null offset on only or order outer overlaps "
    "placing primary references returning right select session_user similar some symmetric "
    "system_user table tablesample then to trailing true union unique user using variadic verbose "
    "when where window with"
)
_RESERVED = frozenset(_WORDS.split())


def quoted(*names: str) -> str:
    """Return a name, or a schema's and a name within it, for SQL."""
    return ".".join(
        name
        if _PLAIN.match(name) and name not in _RESERVED
        else sql.Identifier(name).as_string(None)
        for name in names
    )


def literal(value: str) -> str:
    """Return a text for SQL."""
    return sql.Literal(value).as_string(None)
