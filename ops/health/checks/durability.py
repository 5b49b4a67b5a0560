"""What survives a crash, an upgrade or a forgotten session: tables, transactions, collations."""

from __future__ import annotations

from collections.abc import Iterator

from ops.health.catalogue import NOT_OURS
from ops.health.context import Context
from ops.health.contract import DAILY, HOURLY, Reported, check, several
from ops.health.quoting import literal, quoted
from ops.health.schema.recorded import recorded
from ops.health.steps import as_superuser
from ops.models import Area, Severity


@check(Area.INTEGRITY, "Tables that a crash empties", every=HOURLY)
def unlogged_tables(context: Context) -> Iterator[Reported]:
    """What is written to an unlogged table is in no WAL: after a crash the table is empty, on a
    standby and in a base backup it always is, and no moment in the past has its rows.
    """
    ours = set(recorded().tables)
    for schema, name, kind in context.rows(_UNLOGGED):
        title, noun = f"{schema}.{name}", "sequence" if kind == "S" else "table"
        is_ours = schema == "public" and (name in ours or kind == "S")
        yield Reported(
            title,
            Severity.CRITICAL if is_ours else Severity.WARNING,
            f"The {noun} {title} is unlogged",
            "A crash empties it, and base backups and standbys are without its rows. Logged it is "
            "written anew once, and locked meanwhile. Tables that refer to it come first.",
            f"ALTER {noun.upper()} {quoted(schema, name)} SET LOGGED;",
            f"{noun} {title}",
        )


@check(Area.INTEGRITY, "Transactions that were prepared and never ended", every=HOURLY)
def prepared_transactions(context: Context) -> Iterator[Reported]:
    """A prepared transaction outlives its session and a restart. Until somebody ends it, it holds
    its locks, and VACUUM removes nothing that is younger.
    """
    seconds = context.limits.prepared_seconds
    for gid, owner, since in context.rows(_PREPARED, {"now": context.now, "seconds": seconds}):
        yield Reported(
            gid,
            Severity.WARNING,
            f"The transaction {gid} of {owner} is prepared and not ended",
            f"It is so since {since:%Y-%m-%d %H:%M} UTC. Nothing of SRVC prepares transactions. "
            f"Where a transaction manager is at work, ask it; to keep what it did: COMMIT PREPARED "
            f"{literal(gid)};",
            # Whoever prepared it may end it, and a superuser.
            as_superuser(f"ROLLBACK PREPARED {literal(gid)};"),
            f"role {owner}",
        )


@check(Area.INTEGRITY, "Collations that sort otherwise than when indexes were built", every=DAILY)
def collation_versions(context: Context) -> Iterator[Reported]:
    """After an upgrade of the operating system the same texts may sort otherwise. Indexes built
    before don't find rows that are there, and unique ones let equal values in.
    """
    default = context.rows(_DATABASE)
    for name, was, now in default:
        exclusion = [row[0] for row in context.rows(_INDEXES, [_DEFAULT]) if row[1]]
        yield Reported(
            "database",
            Severity.CRITICAL,
            f"The default collation of {name} is at another version than its indexes",
            f"The database was made with {was}, the system has {now}. Indexes of texts may be "
            "wrong until they are built anew.",
            "\n".join([
                f"REINDEX DATABASE CONCURRENTLY {quoted(name)};",
                *(f"REINDEX INDEX {each};" for each in exclusion),
                f"ALTER DATABASE {quoted(name)} REFRESH COLLATION VERSION;",
            ]),
            f"database {name}",
        )  # fmt: skip
    for oid, name, was, now in context.rows(_COLLATIONS):
        indexes = context.rows(_INDEXES, [oid])
        names = [row[0] for row in indexes]
        told = f": {several(names)}" if names else ""
        yield Reported(
            f"collation {name}",
            Severity.CRITICAL if indexes else Severity.WARNING,
            f"The collation {name} is at another version than what uses it",
            f"It was {was} when it was made, and the system has {now}. It is the order of "
            f"{len(names)} {'index' if len(names) == 1 else 'indexes'}{told}.",
            # Most belong to whoever made the server.
            as_superuser("\n".join([
                *(f"REINDEX INDEX {'' if exclusion else 'CONCURRENTLY '}{each};"
                  for each, exclusion in indexes),
                f"ALTER COLLATION {name} REFRESH VERSION;",
            ])),
            f"collation {name}",
        )  # fmt: skip


_DEFAULT = 100  # the number of the collation "default", the database's own
_UNLOGGED = f"""
    SELECT n.nspname::text, c.relname::text, c.relkind::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relpersistence = 'u' AND c.relkind IN ('r', 'p', 'S') AND {NOT_OURS}
      -- The sequence of an identity column goes with its table.
      AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid
        WHERE c.relkind = 'S' AND d.objid = c.oid AND d.classid = 'pg_class'::regclass
          AND d.deptype IN ('i', 'a') AND t.relpersistence = 'u')
    ORDER BY 1, 2
"""  # noqa: S608 (constants)
_PREPARED = """
    SELECT gid, owner::text, prepared AT TIME ZONE 'UTC' FROM pg_prepared_xacts
    WHERE database = current_database()
      AND prepared <= %(now)s::timestamptz - %(seconds)s * interval '1 second'
    ORDER BY prepared, gid
"""
_DATABASE = """
    SELECT datname::text, datcollversion, pg_database_collation_actual_version(oid)
    FROM pg_database
    WHERE datname = current_database() AND datcollversion IS NOT NULL
      AND datcollversion <> pg_database_collation_actual_version(oid)
"""
# Of the hundreds that a server has, those that are used.
_COLLATIONS = """
    SELECT o.oid::bigint, format('%I.%I', n.nspname, o.collname), o.collversion, v.now
    FROM pg_collation o
    JOIN pg_namespace n ON n.oid = o.collnamespace,
    pg_collation_actual_version(o.oid) AS v(now)
    WHERE o.collversion IS NOT NULL AND v.now IS NOT NULL AND o.collversion <> v.now
      AND (EXISTS (SELECT FROM pg_attribute a WHERE a.attcollation = o.oid AND a.attrelid >= 16384)
        OR EXISTS (SELECT FROM pg_index i WHERE o.oid = ANY (i.indcollation)
          AND i.indexrelid >= 16384))
    ORDER BY 2
"""
_INDEXES = """
    SELECT format('%%I.%%I', n.nspname, c.relname), i.indisexclusion
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE %s::oid = ANY (i.indcollation) AND c.relkind = 'i' AND n.nspname !~ '^pg_'
    ORDER BY 1
"""
