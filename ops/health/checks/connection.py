"""Checks of the area connection: can everybody sign in, how quickly, in secret, with room left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from statistics import median

from ops.health.checks.pooling import connection_pooler
from ops.health.checks.waiting import idle_in_transaction, pool
from ops.health.checks.writing import writable
from ops.health.context import Context
from ops.health.contract import DAILY, HOURLY, OFTEN, Check, Reported, check
from ops.health.disk import is_here, is_local
from ops.health.steps import as_superuser
from ops.models import Area, Severity
from ops.postgres.endpoint import Endpoint
from ops.postgres.errors import ServerError
from ops.postgres.server import NEWEST_MAJOR, OLDEST_MAJOR
from ops.rls.router import OWNER_ALIAS

# When each version's last release is: https://www.postgresql.org/support/versioning/
END_OF_LIFE = {
    13: date(2025, 11, 13),
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}
_PATIENCE = 5  # seconds until a server that does not answer counts as away
_ROUND_TRIPS = 5


@check(Area.CONNECTION, "Logins that can't sign in", every=OFTEN, connects=True)
def reachable(context: Context) -> Iterator[Reported]:
    """Without the web process's login the site is down; without the owner's nothing is backed up,
    migrated or checked; without the one for replication there are no base backups and no WAL."""
    replication = Endpoint.replication()
    logins = [
        ("owner", Endpoint.of(OWNER_ALIAS), "No backup is taken and no check runs until it can."),
        ("web", Endpoint.of("default"), "The site is down until it can."),
        ("replication", replication, "No base backup is taken and no WAL stored until it can."),
    ]
    for key, endpoint, meaning in logins:
        if endpoint is None:
            continue
        try:
            endpoint.connect(connect_timeout=_PATIENCE).close()
        except ServerError as error:
            yield Reported(
                key,
                Severity.WARNING if key == "replication" else Severity.CRITICAL,
                f"{endpoint.user} can't sign in",
                f"{meaning} {error}",
                "manage.py dbping",
                f"login {endpoint.user}",
            )


@check(Area.CONNECTION, "A server that answers slowly", every=OFTEN)
def latency(context: Context) -> Iterator[Reported]:
    """Each page asks several questions one after the other, and waits for each answer on its
    way."""
    took = []
    for _ in range(_ROUND_TRIPS):
        began = time.perf_counter()
        context.connection.execute("SELECT 1")
        took.append((time.perf_counter() - began) * 1000)
    typical, most = median(took), context.limits.latency_milliseconds
    if typical > most:
        yield Reported(
            "",
            Severity.WARNING,
            "The server answers slowly",
            f"A query that does nothing takes {typical:.0f} ms (the median of {_ROUND_TRIPS}); "
            f"more than {most:g} ms is too much. Ten such queries make a page wait for "
            f"{typical / 100:.1f} s. Either the network in between is slow, or the server is busy.",
            "manage.py dbping --count 20",
        )


@check(Area.CONNECTION, "Data that crosses a network in clear")
def tls(context: Context) -> Iterator[Reported]:
    """Whoever sees the packets of a connection without TLS reads customers' data, and can change
    it."""
    endpoints = [Endpoint.of(OWNER_ALIAS), Endpoint.of("default")]
    if replication := Endpoint.replication():
        endpoints.append(replication)
    if all(is_local(each.host, each.options.get("hostaddr", "")) for each in endpoints):
        return
    for endpoint in endpoints:
        try:
            connection = endpoint.connect(connect_timeout=_PATIENCE)
        except ServerError as error:
            context.blind(f"Whether {endpoint.user} comes by TLS could not be tried: {error}")
            continue
        with closing(connection):
            if connection.pgconn.ssl_in_use or is_here(connection):
                continue
        yield Reported(
            endpoint.user,
            Severity.CRITICAL,
            f"{endpoint.user} reaches the server without TLS",
            f"What it reads and writes on {endpoint.place} can be read and changed on the way. Let "
            "the server offer TLS, and have the address demand it: sslmode=verify-full (or "
            "sslmode=require, which does not check whose server it is).",
            as_superuser("ALTER SYSTEM SET ssl = on;\nSELECT pg_reload_conf();"),
            f"login {endpoint.user}",
        )


@check(Area.CONNECTION, "A version of PostgreSQL near its end, or not supported", every=DAILY)
def version(context: Context) -> Iterator[Reported]:
    """A version past its end of life gets no more fixes: holes found from then on stay open."""
    major = context.facts.major
    if not OLDEST_MAJOR <= major <= NEWEST_MAJOR:
        yield Reported(
            "unsupported",
            Severity.WARNING,
            f"PostgreSQL {major} is no version that SRVC works with",
            f"The server is {context.facts.version}. Tests run on {OLDEST_MAJOR} to "
            f"{NEWEST_MAJOR}; what else works is luck. Restore a full backup into a server of one "
            "of these versions.",
            "manage.py backup --full",
        )
    if (end := END_OF_LIFE.get(major)) is None:
        return
    left = (end - context.now.date()).days
    if left > context.limits.end_of_life_days:
        return
    is_over = left < 0
    yield Reported(
        "end-of-life",
        Severity.CRITICAL if is_over else Severity.WARNING,
        f"PostgreSQL {major} {'is past' if is_over else 'comes to'} its end of life",
        f"The server is {context.facts.version}; its last release "
        f"{'was' if is_over else 'is'} on {end:%Y-%m-%d}. Holes found after that stay open. Take a "
        "full backup, and restore it into a server of a newer version.",
        "manage.py backup --full",
    )


@check(Area.CONNECTION, "Clocks that differ", every=HOURLY)
def clock_skew(context: Context) -> Iterator[Reported]:
    """Moments to restore to, sessions' ends and schedules mean different times on a server whose
    clock differs from this machine's."""
    best: tuple[float, float] | None = None
    for _ in range(_ROUND_TRIPS):
        began, here = time.perf_counter(), _now()
        there: datetime = context.value("SELECT clock_timestamp()")
        trip = time.perf_counter() - began
        # The server looked at its clock some time in between; the quickest trip knows best when.
        skew = there.timestamp() - (here + trip / 2)
        best = min(best or (trip, skew), (trip, skew))
    assert best is not None
    trip, skew = best
    if abs(skew) - trip / 2 > context.limits.clock_skew_seconds:
        ahead = "ahead of" if skew > 0 else "behind"
        yield Reported(
            "",
            Severity.WARNING,
            "The server's clock and this machine's differ",
            f"The server's is {abs(skew):,.1f} s {ahead} this machine's. A moment to restore to "
            "may be off by that. Let both follow a time server.",
            "timedatectl set-ntp true",
        )


def _now() -> float:
    return time.time()


@check(Area.CONNECTION, "Connections that run out", every=OFTEN)
def connections(context: Context) -> Iterator[Reported]:
    """When the last connection is taken, nobody else gets in: the site fails, and so does every
    command that would mend it."""
    context.require_statistics("How many connections are used")
    yield from _of_the_server(context)
    yield from _of_limits(context)


def _of_the_server(context: Context) -> Iterator[Reported]:
    used, most = context.one(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
        # Since PostgreSQL 16 some may be kept for a role.
        " (SELECT sum(CASE name WHEN 'max_connections' THEN setting::int ELSE -setting::int END)"
        " FROM pg_settings WHERE name IN ('max_connections', 'superuser_reserved_connections',"
        " 'reserved_connections'))"
    )
    if used >= context.limits.connections_share * most:
        yield Reported(
            "server",
            Severity.CRITICAL if used >= most - 1 else Severity.WARNING,
            "The server's connections run out",
            f"{used:,} of {most:,} are taken (those kept for superusers not counted): "
            f"{_holders(context)}. End what hangs, give each web process fewer (DATABASE_POOL), or "
            "put a pooler in between.",
            "SELECT usename, application_name, state, count(*) FROM pg_stat_activity WHERE "
            "backend_type = 'client backend' GROUP BY 1, 2, 3 ORDER BY 4 DESC;",
        )
    elif used >= context.limits.connections:
        yield Reported(
            "many",
            Severity.WARNING,
            "Very many connections are open",
            f"{used:,} of {most:,}: {_holders(context)}. Each costs memory, and each snapshot "
            "looks at all of them. Put a pooler in between.",
            "SELECT usename, application_name, state, count(*) FROM pg_stat_activity WHERE "
            "backend_type = 'client backend' GROUP BY 1, 2, 3 ORDER BY 4 DESC;",
        )


def _of_limits(context: Context) -> Iterator[Reported]:
    """The limits that were given to this database and to roles."""
    rows = context.rows(
        "SELECT 'database', quote_ident(datname), datconnlimit,"
        "   (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid"
        "    AND backend_type = 'client backend')"
        " FROM pg_database d WHERE datname = current_database() AND datconnlimit > 0"
        " UNION ALL"
        " SELECT 'role', quote_ident(rolname), rolconnlimit,"
        "   (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid"
        "    AND backend_type = 'client backend')"
        " FROM pg_roles r WHERE rolcanlogin AND rolconnlimit > 0 AND NOT rolsuper"
    )
    for kind, name, most, used in rows:
        if used < context.limits.connections_share * most:
            continue
        yield Reported(
            f"{kind} {name}",
            Severity.CRITICAL if used >= most else Severity.WARNING,
            f"The connections of the {kind} {name} run out",
            f"{used:,} of the {most:,} that its limit allows are taken.",
            _wider(kind, name, 2 * most),
            f"{kind} {name}",
        )


def _wider(kind: str, name: str, most: int) -> str:
    statement = f"ALTER {kind.upper()} {name} CONNECTION LIMIT {most};"
    return statement if kind == "database" else as_superuser(statement)


def _holders(context: Context) -> str:
    rows = context.rows(
        "SELECT coalesce(usename::text, '?'), count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5"
    )
    return ", ".join(f"{name} {count:,}" for name, count in rows)


CHECKS: tuple[Check, ...] = (
    reachable,
    writable,
    latency,
    tls,
    version,
    clock_skew,
    connections,
    idle_in_transaction,
    pool,
    connection_pooler,
)
