"""What VACUUM and ANALYZE have not done: dead rows, stale statistics, transaction numbers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ops.health.catalogue import Table
from ops.health.context import Context
from ops.health.contract import Reported, check, several
from ops.health.quoting import quoted
from ops.health.steps import as_superuser, reading
from ops.models import Area, Severity

# Smaller tables are read whole, whatever the planner believes of them.
_FEW_ROWS = 1_000
# The numbers of transactions go round after 2^32, half of which count as past (PostgreSQL's
# documentation, "Preventing Transaction ID Wraparound Failures").
_NUMBERS = 2**31


@check(Area.PERFORMANCE, "Tables that were never analyzed")
def never_analyzed(context: Context) -> Iterable[Reported]:
    """Without statistics the planner guesses how many rows there are, and guesses badly.

    Autovacuum analyzes a table soon after it was filled, unless it is off or can't keep up.
    """
    waiting: dict[str, tuple[str, str, int]] = {}
    hidden: list[tuple[str, str]] = []
    for schema, name, rows, is_seen in context.rows(_NEVER_ANALYZED, [_FEW_ROWS]):
        if is_seen:
            waiting[f"{schema}.{name}"] = (schema, name, rows)
        else:
            hidden.append((schema, name))
    if hidden:
        context.blind(
            "Whether there are statistics of "
            f"{several([f'{schema}.{name}' for schema, name in hidden])} can't be seen by "
            f"{context.facts.role}: the server shows them to whoever may read all of the table.",
            context.past_row_security or reading(context.facts.role, *hidden),
        )
    for title in _overdue(context, waiting):
        schema, name, rows = waiting[title]
        yield Reported(
            title,
            Severity.WARNING,
            f"{title} was never analyzed",
            f"It has about {rows:,} rows, and the planner knows nothing about them.",
            f"ANALYZE {quoted(schema, name)};",
            f"table {title}",
        )


@check(Area.PERFORMANCE, "Tables that autovacuum does not keep up with")
def behind_autovacuum(context: Context) -> Iterable[Reported]:
    """Dead rows take room and time in each query until VACUUM makes room of them."""
    behind: dict[str, Reported] = {}
    for schema, name, dead, most, changed, most_changed in context.rows(_BEHIND):
        title = f"{schema}.{name}"
        if dead > max(_FEW_ROWS, most * context.limits.vacuum_overdue):
            behind[title] = Reported(
                title,
                Severity.WARNING,
                f"VACUUM is overdue on {title}",
                f"It has {dead:,} dead rows; autovacuum should have come at {most:,.0f}. A "
                "transaction that stays open for long keeps it from removing them, and so do too "
                "few workers.",
                f"VACUUM (ANALYZE) {quoted(schema, name)};",
                f"table {title}",
            )
        elif changed > max(_FEW_ROWS, most_changed * context.limits.vacuum_overdue):
            behind[title] = Reported(
                title,
                Severity.WARNING,
                f"ANALYZE is overdue on {title}",
                f"{changed:,} rows have changed since the planner's statistics were made; "
                f"autovacuum should have made new ones at {most_changed:,.0f}.",
                f"ANALYZE {quoted(schema, name)};",
                f"table {title}",
            )
    for title in _overdue(context, behind):
        yield behind[title]


@check(Area.PERFORMANCE, "Autovacuum that is switched off")
def autovacuum_off(context: Context) -> Iterable[Reported]:
    """Without autovacuum tables grow by every change, and plans are made of old statistics."""
    for setting in ("autovacuum", "track_counts"):
        if context.value("SELECT current_setting(%s)", [setting]) == "off":
            yield Reported(
                f"setting {setting}",
                Severity.CRITICAL,
                f"Autovacuum does not work: {setting} is off",
                "No table of the server is vacuumed or analyzed by itself, until it has to stop "
                "for want of transaction numbers.",
                as_superuser(f"ALTER SYSTEM SET {setting} = on;\nSELECT pg_reload_conf();"),
                f"setting {setting}",
            )
    for table in context.catalogue.tables.values():
        if _option(table, "autovacuum_enabled") in {"false", "off", "no", "0"}:
            yield Reported(
                table.title,
                Severity.WARNING,
                f"Autovacuum is switched off for {table.title}",
                f"It has about {table.live_rows:,} rows and {table.dead_rows:,} dead ones, which "
                "nobody removes.",
                f"ALTER TABLE {quoted(table.schema, table.name)} RESET (autovacuum_enabled);",
                f"table {table.title}",
            )


@check(Area.PERFORMANCE, "Transaction numbers that run out")
def wraparound(context: Context) -> Iterable[Reported]:
    """A server that has used up its transaction numbers takes no more writes.

    VACUUM gives numbers back by freezing rows; what keeps it from that is a transaction, a prepared
    transaction or a replication slot that stays for too long, or autovacuum that is off.
    """
    limits = context.limits
    told = set()
    for schema, name, size, age, multi_age, forced_in in context.rows(_TABLE_AGES):
        title = f"{schema}.{name}"
        left = _NUMBERS - max(age, multi_age)
        if left < limits.wraparound_left:
            told.add(title)
            yield _running_out(context, title, left, f"VACUUM (FREEZE) {quoted(schema, name)};")
        elif forced_in < limits.autovacuum_danger and size >= limits.table_bloat_bytes:
            yield Reported(
                f"soon {title}",
                Severity.INFO,
                f"{title} will soon be vacuumed whether it suits or not",
                f"After {max(forced_in, 0):,} more transactions autovacuum reads all of its "
                f"{size / 1e6:,.0f} MB and does not give way to others. In a quiet hour it is "
                "done with nobody waiting.",
                f"VACUUM (FREEZE) {quoted(schema, name)};",
                f"table {title}",
            )
    for database, is_this, age, multi_age, is_open in context.rows(_DATABASE_AGES):
        left = _NUMBERS - max(age, multi_age)
        if left < limits.wraparound_left and not (is_this and told):
            step = _freezing(database, "" if is_this else context.endpoint.database, is_open)
            yield _running_out(context, database, left, step, "database")


def _running_out(
    context: Context, title: str, left: int, next_step: str, kind: str = "table"
) -> Reported:
    is_near = left < context.limits.wraparound_critical
    return Reported(
        f"{kind} {title}",
        Severity.CRITICAL if is_near else Severity.WARNING,
        f"Transaction numbers run out: {left / 1e6:,.0f} million are left for {title}",
        f"The {kind} holds rows that are not frozen, of {(_NUMBERS - left) / 1e6:,.0f} million "
        "transactions ago. When none are left the whole server refuses to write.",
        next_step,
        f"{kind} {title}",
    )


def _freezing(database: str, back: str, is_open: bool) -> str:
    """SQL for psql that freezes a whole database, which nobody but a superuser may.

    `back` is the database to go back to from another; template0 is closed again afterwards.
    """
    if not back:
        return as_superuser("VACUUM (FREEZE);")
    steps = [f"\\connect {_for_psql(database)}", "VACUUM (FREEZE);", f"\\connect {_for_psql(back)}"]
    if not is_open:
        allowing = f"ALTER DATABASE {quoted(database)} ALLOW_CONNECTIONS"
        steps = [f"{allowing} true;", *steps, f"{allowing} false;"]
    return as_superuser("\n".join(steps))


def _for_psql(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _overdue(context: Context, found: Iterable[str]) -> list[str]:
    """Those that have been found for longer than autovacuum may take to come by itself."""
    since: dict[str, Any] = context.memory.get("since", {})
    now = context.now.isoformat()
    context.memory["since"] = {title: since.get(title, now) for title in found}
    return [
        title
        for title, first in context.memory["since"].items()
        if (context.now - datetime.fromisoformat(first)).total_seconds()
        >= context.limits.vacuum_patience_seconds
    ]


def _option(table: Table, name: str) -> str:
    values = dict(option.split("=", 1) for option in table.options)
    return values.get(name, "").lower()


_OURS = """n.nspname !~ '^pg_(toast|temp)'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')"""
# Inserted rows are counted at once, rows in pg_class only by VACUUM and ANALYZE. A crash makes the
# server forget when it analyzed what, not what it found.
_NEVER_ANALYZED = f"""
    SELECT n.nspname::text, c.relname::text, s.n_live_tup,
        -- One that was neither vacuumed nor analyzed (-1) has none, whoever asks.
        c.reltuples < 0 OR has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid)
    FROM pg_stat_user_tables s
    JOIN pg_class c ON c.oid = s.relid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE s.n_live_tup >= %s AND c.relpersistence <> 't' AND c.relkind IN ('r', 'm') AND {_OURS}
      AND s.last_analyze IS NULL AND s.last_autoanalyze IS NULL
      AND NOT EXISTS (SELECT FROM pg_stats t
        WHERE t.schemaname = n.nspname AND t.tablename = c.relname)
    ORDER BY 1, 2
"""  # noqa: S608 (constants)
# When autovacuum comes: PostgreSQL's documentation, "The Autovacuum Daemon"; a table's own options
# win over the server's, which from 18 on have a maximum.
_SETTING = """coalesce((SELECT o.option_value FROM pg_options_to_table(c.reloptions) o
    WHERE o.option_name = '{0}'), current_setting('{0}'))::float8"""
_MAXIMUM = """coalesce(nullif(coalesce((SELECT o.option_value
    FROM pg_options_to_table(c.reloptions) o
    WHERE o.option_name = 'autovacuum_vacuum_max_threshold'),
    current_setting('autovacuum_vacuum_max_threshold', true))::float8, -1), 'Infinity')"""
_BEHIND = f"""
    SELECT n.nspname::text, c.relname::text, s.n_dead_tup,
        least({_MAXIMUM}, {_SETTING.format("autovacuum_vacuum_threshold")}
            + {_SETTING.format("autovacuum_vacuum_scale_factor")} * greatest(c.reltuples, 0)),
        s.n_mod_since_analyze, {_SETTING.format("autovacuum_analyze_threshold")}
            + {_SETTING.format("autovacuum_analyze_scale_factor")} * greatest(c.reltuples, 0)
    FROM pg_stat_user_tables s
    JOIN pg_class c ON c.oid = s.relid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (s.n_dead_tup > {_FEW_ROWS} OR s.n_mod_since_analyze > {_FEW_ROWS})
      AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND {_OURS}
    ORDER BY 1, 2
"""  # noqa: S608 (constants)
# A table's TOAST table is vacuumed with it.
_TABLE_AGES = f"""
    SELECT n.nspname::text, c.relname::text, c.relpages * current_setting('block_size')::bigint,
        a.age, a.multi_age, least(current_setting('autovacuum_freeze_max_age')::bigint - a.age,
            current_setting('autovacuum_multixact_freeze_max_age')::bigint - a.multi_age)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
    CROSS JOIN LATERAL (SELECT
        greatest(age(c.relfrozenxid), coalesce(age(t.relfrozenxid), 0))::bigint AS age,
        greatest(mxid_age(c.relminmxid), coalesce(mxid_age(t.relminmxid), 0))::bigint
            AS multi_age) a
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND {_OURS}
    ORDER BY greatest(a.age, a.multi_age) DESC, 1, 2
"""  # noqa: S608 (constants)
_DATABASE_AGES = """
    SELECT datname::text, datname = current_database(), age(datfrozenxid), mxid_age(datminmxid),
        datallowconn
    FROM pg_database ORDER BY 1
"""
