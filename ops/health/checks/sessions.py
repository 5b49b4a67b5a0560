"""What sessions do right now: statements that run for too long, and sessions that wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ops.health.blocking import Node, blocking_trees, release, seconds, shortened
from ops.health.context import Context
from ops.health.contract import OFTEN, Reported, check
from ops.health.ending import IS_PROTECTED, Target
from ops.health.steps import together
from ops.models import Area, Severity
from ops.postgres.endpoint import APPLICATION

# Backups and restores read everything there is, and take as long as that takes.
_PATIENT = f"{APPLICATION}%"


@check(Area.PERFORMANCE, "Statements that run for too long", every=OFTEN)
def long_running(context: Context) -> Iterable[Reported]:
    """A statement that runs for minutes keeps its locks and keeps VACUUM from removing dead rows.

    Whoever asked for it has usually gone away by then.
    """
    context.require_statistics("What other sessions are doing")
    found: dict[str, list[tuple[Target, str, str, float, str]]] = defaultdict(list)
    for pid, query_id, role, application, running, query, *at in context.rows(
        _LONG_RUNNING, [_PATIENT, context.limits.long_running_seconds]
    ):
        key = f"{role}.{query_id}" if query_id else f"{role}.{pid}"
        began, statement, is_protected = at
        target = Target(pid, began, is_protected, statement_start=statement)
        found[key].append((target, role, application, running, query))
    for key, sessions in found.items():
        target, role, application, running, query = sessions[0]
        many = f", and in {len(sessions) - 1} more sessions" if len(sessions) > 1 else ""
        by = f" by {application}" if application else ""
        yield Reported(
            key,
            Severity.WARNING,
            f"A statement of {role} has been running for {seconds(running)}",
            f"In session {target.pid}{by}{many}: {shortened(query, 500)}",
            together([each[0].cancelling for each in sessions]),
            f"session {target.pid}",
        )


@check(Area.PERFORMANCE, "Sessions that keep others waiting", every=OFTEN)
def blocked(context: Context) -> Iterable[Reported]:
    """A session that holds a lock keeps everybody waiting who wants it, and those behind them.

    Pages hang or fail for as long; the one on top of the tree is who has to let go.
    """
    context.require_statistics("Who waits for whom")
    for tree in blocking_trees(context.connection):
        if tree.longest_wait < context.limits.blocked_seconds:
            continue
        yield _blocking(tree, is_long=tree.longest_wait >= context.limits.long_running_seconds)


def _blocking(tree: Node, *, is_long: bool) -> Reported:
    count = len({each.session.pid for each in tree.everyone_behind()})
    waiting = "1 session waits" if count == 1 else f"{count} sessions wait"
    idle = (
        "\nIt is doing nothing, so there is no statement to cancel: end the session."
        if tree.session.state.startswith("idle")
        else ""
    )
    return Reported(
        f"session {tree.session.pid}" if tree.session.pid else "prepared",
        Severity.CRITICAL if is_long else Severity.WARNING,
        f"{waiting} for {tree.session.title}, for {seconds(tree.longest_wait)} so far",
        "\n".join(tree.lines()) + idle,
        release(tree),
        tree.session.title,
    )


_LONG_RUNNING = f"""
    SELECT a.pid, coalesce(a.query_id::text, ''), coalesce(a.usename, '?')::text,
        coalesce(a.application_name, '')::text,
        extract(epoch FROM clock_timestamp() - a.query_start)::float8, a.query,
        a.backend_start::text, a.query_start::text, {IS_PROTECTED}
    FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.state = 'active'
      AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
      AND a.application_name NOT LIKE %s
      AND a.query_start < clock_timestamp() - make_interval(secs => %s)
    ORDER BY a.query_start
"""  # noqa: S608 (constants)
