"""What the database itself says is switched off, unfinished or in the way of an upgrade."""

from __future__ import annotations

from collections.abc import Iterator

from ops.health.catalogue import NOT_OURS, Index
from ops.health.context import Context
from ops.health.contract import DAILY, HOURLY, Reported, check
from ops.health.quoting import quoted
from ops.health.steps import as_superuser
from ops.models import Area, Severity

# Without what belongs to extensions; `c` is the table.
_OURS = f"""{NOT_OURS} AND c.relpersistence <> 't' AND NOT EXISTS (SELECT FROM pg_depend e
    WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')"""

# A foreign key's triggers stand on both of its tables; PostgreSQL 18 can declare a constraint that
# is NOT ENFORCED, which has no column before.
_NOT_VALID = f"""
    SELECT n.nspname::text, c.relname::text, k.conname::text, k.contype::text,
        pg_get_constraintdef(k.oid), coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true)
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT k.convalidated AND k.conparentid = 0 AND (k.conislocal OR k.coninhcount = 0)
      AND {_OURS}
    ORDER BY 1, 2, 3
"""  # noqa: S608 (constants)

_DISABLED = f"""
    SELECT n.nspname::text, c.relname::text, min(t.tgenabled::text), t.tgisinternal,
        CASE WHEN t.tgisinternal THEN coalesce(k.conname, t.tgname) ELSE t.tgname END::text,
        array_agg(t.tgname::text ORDER BY t.oid)
    FROM pg_trigger t
    JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_constraint k ON k.oid = t.tgconstraint
    WHERE t.tgenabled IN ('D', 'R') AND {_OURS}
    GROUP BY 1, 2, 4, 5 ORDER BY 1, 2, 5
"""  # noqa: S608 (constants)

# The types whose values pg_upgrade can't carry over, in tables, domains and arrays: those of
# PostgreSQL's own documentation of pg_upgrade ("reg* OID-referencing system data types"), as
# Supabase's lint 0018 has them too.
_UNSUPPORTED = f"""
    SELECT n.nspname::text, c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod)
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'm')
      AND coalesce(nullif(t.typbasetype, 0), nullif(t.typelem, 0), t.oid) IN (
        'regcollation'::regtype, 'regconfig'::regtype, 'regdictionary'::regtype,
        'regnamespace'::regtype, 'regoper'::regtype, 'regoperator'::regtype, 'regproc'::regtype,
        'regprocedure'::regtype)
      AND {_OURS}
    ORDER BY 1, 2, 3
"""  # noqa: S608 (constants)

_KINDS = {"f": "foreign key", "c": "check", "n": "NOT NULL constraint"}


@check(Area.INTEGRITY, "Constraints that do not hold for all rows", every=HOURLY)
def invalid_constraints(context: Context) -> Iterator[Reported]:
    """A constraint that was added as NOT VALID holds for new rows only. Until somebody validates
    it, older rows may contradict it, and the planner does not believe it.
    """
    for schema, table, name, kind, definition, is_enforced in context.rows(_NOT_VALID):
        noun, title = _KINDS.get(kind, "constraint"), f"{schema}.{table}"
        action = f"VALIDATE CONSTRAINT {quoted(name)}"
        why = "It is NOT VALID: rows that were there before it were never compared with it."
        state = "does not hold for all rows"
        if not is_enforced:
            action = f"ALTER CONSTRAINT {quoted(name)} ENFORCED"
            why = "It is NOT ENFORCED: no row is compared with it, old or new."
            state = "is not enforced"
            if kind != "f":  # which PostgreSQL can't enforce later
                plain = definition.replace(" NOT ENFORCED", "")
                action = f"DROP CONSTRAINT {quoted(name)}, ADD CONSTRAINT {quoted(name)} {plain}"
        yield Reported(
            f"{title}.{name}",
            Severity.WARNING,
            f"The {noun} {name} of {title} {state}",
            f"{why} It says: {definition}. Comparing them reads the whole table, and ends with an "
            "error, changing nothing, when a row contradicts it.",
            f"ALTER TABLE {quoted(schema, table)} {action};",
            f"table {title}",
        )


@check(Area.INTEGRITY, "Indexes that are not valid", every=HOURLY)
def invalid_indexes(context: Context) -> Iterator[Reported]:
    """An index whose building failed or was interrupted is kept up to date by every write and is
    used by no query; a unique one does not keep what it is there for.
    """
    broken = [
        index
        for index in context.catalogue.indexes.values()
        if not (index.is_valid and index.is_ready)
    ]
    if not broken:
        return
    building = {
        row[0]
        for row in context.rows(
            "SELECT index_relid::bigint FROM pg_stat_progress_create_index"
            " WHERE datname = current_database()"
        )
    }
    if None in building:  # somebody else's, of which a login without rights sees no more
        context.require_statistics("Which index another session is building")
    for index in broken:
        if index.oid not in building:
            yield _invalid(context, index)


def _invalid(context: Context, index: Index) -> Reported:
    table = context.catalogue.tables[index.table]
    name = quoted(index.schema, index.name)
    next_step = f"REINDEX INDEX CONCURRENTLY {name};"
    why = "Its building failed or was interrupted, so no query uses it and every write pays for it."
    if table.kind == "p":
        # Made ON ONLY the parent; what partitions have already is attached, not made anew.
        definition = index.definition.replace(" ON ONLY ", " ON ")
        next_step = f"DROP INDEX {name};\n{definition};"
        why = "Not every partition has its part of it."
    elif index.name.rstrip("0123456789").endswith(("_ccnew", "_ccold")):
        next_step = f"DROP INDEX CONCURRENTLY {name};"
        why = "It was left behind by a REINDEX CONCURRENTLY that did not come to its end."
    unique = " It is unique, and equal rows may be there." if index.is_unique else ""
    return Reported(
        index.title,
        Severity.WARNING,
        f"The index {index.title} of {table.title} is not valid",
        f"{why}{unique} {index.size:,} bytes.",
        next_step,
        f"index {index.title}",
    )


@check(Area.INTEGRITY, "Triggers that are switched off", every=HOURLY)
def disabled_triggers(context: Context) -> Iterator[Reported]:
    """Triggers keep foreign keys, history and the rules of the business. While one is switched off
    any row may be written, and nobody hears of it.
    """
    for schema, table, state, is_internal, name, triggers in context.rows(_DISABLED):
        title = f"{schema}.{table}"
        # One by one: ALL would change those that are to fire always.
        actions = ", ".join(f"ENABLE TRIGGER {quoted(each)}" for each in triggers)
        enable = f"ALTER TABLE {quoted(schema, table)} {actions};"
        what = f"foreign key {name}" if is_internal else f"trigger {name}"
        off = "off" if state == "D" else "off but for replication (ENABLE REPLICA)"
        meaning = (
            "Rows may be written whose parent is not there, and parents deleted that others name. "
            "The check “orphans” says whether that has happened. A superuser switches it on."
            if is_internal
            else "What it keeps true or records is not kept for rows written meanwhile."
        )
        yield Reported(
            f"{title}.{name}",
            Severity.CRITICAL,
            f"The {what} is switched off on {title}",
            f"It is {off}. {meaning}",
            as_superuser(enable) if is_internal else enable,
            f"table {title}",
        )


@check(Area.INTEGRITY, "Tables without a primary key", every=DAILY)
def missing_primary_keys(context: Context) -> Iterator[Reported]:
    """Without a primary key one row can't be told from another: not by a restore of single rows,
    not by logical replication, and not by whoever has to correct one.
    """
    for table in context.catalogue.tables.values():
        indexes = context.catalogue.indexes_of.get(table.oid, [])
        if table.kind == "m" or table.is_partition or any(each.is_primary for each in indexes):
            continue
        known = context.catalogue.columns.get(table.oid, {}).values()
        name = next(each for each in ("id", "row_id", f"{table.name}_id") if each not in known)
        yield Reported(
            table.title,
            Severity.INFO,
            f"{table.title} has no primary key",
            f"{max(table.live_rows, 0):,} rows can't be told from each other. The column suggested "
            "numbers them; the table is written anew for it, and locked meanwhile.",
            f"ALTER TABLE {quoted(table.schema, table.name)} ADD COLUMN {quoted(name)} bigint "
            "GENERATED ALWAYS AS IDENTITY PRIMARY KEY;",
            f"table {table.title}",
        )


@check(Area.INTEGRITY, "Columns that keep PostgreSQL from being upgraded", every=DAILY)
def unsupported_types(context: Context) -> Iterator[Reported]:
    """Types such as regproc hold the number that an object has on this server. pg_upgrade can't
    carry them over, and refuses the whole upgrade.
    """
    for schema, table, column, kind in context.rows(_UNSUPPORTED):
        title = f"{schema}.{table}"
        yield Reported(
            f"{title}.{column}",
            Severity.WARNING,
            f"{title}.{column} is of the type {kind}, which pg_upgrade refuses",
            "Its values are numbers of objects on this server, and mean others on the next one. As "
            "text they keep their names.",
            f"ALTER TABLE {quoted(schema, table)} ALTER COLUMN {quoted(column)} TYPE "
            f"{'text[]' if kind.endswith('[]') else 'text'};",
            f"table {title}",
        )
