"""Size, connections, cache hits and the slowest statements over time, as Unfold's charts."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.utils import timezone

from ops.admin.words import size
from ops.health.activity import outlined

LONGEST = dt.timedelta(days=7)
_POINTS = 84  # two hours each, over a week
_COLOURS = ("var(--color-primary-600)", "#0284c7", "#d97706", "#16a34a", "#db2777")
_SLOWEST = 5
_SIZES = [(1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")]
_METRICS = ("database_bytes", "connections", "connections_maximum", "cache_hit_ratio")
Series = list[tuple[dt.datetime, float]]


@dataclass(frozen=True)
class LineChart:
    """One picture: `data` is what Chart.js takes; `rows` are the same for whoever can't see it."""

    title: str
    summary: str
    data: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    legend: tuple[tuple[str, str], ...] = ()  # colour, what


@dataclass(frozen=True)
class Line:
    """One line of a picture."""

    name: str
    points: Series


def health_charts(now: dt.datetime) -> list[LineChart]:
    """Draw the last week, or as much of it as there is, by one query; nothing of one point."""
    found, statements = _asked(now)
    sizes, connections = found["database_bytes"], found["connections"]
    most = found["connections_maximum"][-1][1] if found["connections_maximum"] else 0
    hits = [(when, value * 100) for when, value in found["cache_hit_ratio"]]
    charts = [
        _sizes(sizes),
        line_chart(
            "Connections",
            [Line("Connections", connections)],
            lambda value: f"{value:,.0f}",
            note=f", of {most:,.0f} at most" if most else "",
        ),
        line_chart(
            "Found in memory", [Line("Share of blocks", hits)], lambda value: f"{value:.1f} %", "%"
        ),
        line_chart(
            "Slowest statements",
            [Line(name, points) for name, points in statements.items()],
            lambda value: f"{value:,.1f} ms",
            "ms",
        ),
    ]
    return [chart for chart in charts if chart is not None]


def _sizes(points: Series) -> LineChart | None:
    largest = max((value for _, value in points), default=0)
    factor, unit = next((each for each in _SIZES if largest >= each[0]), _SIZES[-1])
    scaled = [(when, value / factor) for when, value in points]
    return line_chart(
        "Database size",
        [Line("Size", scaled)],
        lambda value: size(int(value * factor)),
        unit,
    )


def line_chart(
    title: str,
    lines: Sequence[Line],
    word: Callable[[float], str],
    unit: str = "",
    *,
    note: str = "",
) -> LineChart | None:
    """Draw lines over the same moments; None when there are fewer than two of them."""
    moments = sorted({when for line in lines for when, _ in line.points})
    if len(moments) < 2:
        return None
    known = [dict(line.points) for line in lines]
    values = [value for line in lines for _, value in line.points]
    newest = ", ".join(
        word(line.points[-1][1]) if len(lines) == 1 else f"{line.name} {word(line.points[-1][1])}"
        for line in lines
    )
    summary = (
        f"{title} from {_moment(moments[0])} to {_moment(moments[-1])}: between "
        f"{word(min(values))} and {word(max(values))}, the newest {newest}{note}"
    )
    datasets = [
        {
            "label": f"{line.name}, {unit}" if unit else line.name,
            "data": [None if when not in own else round(own[when], 3) for when in moments],
            "borderColor": _COLOURS[number % len(_COLOURS)],
            "backgroundColor": _COLOURS[number % len(_COLOURS)],
            "spanGaps": True,
            "tension": 0.2,
            "displayYAxis": True,
            "suffixYAxis": unit,
            "maxTicksXLimit": 5,
        }
        for number, (line, own) in enumerate(zip(lines, known, strict=True))
    ]
    labels = [f"{timezone.localtime(when):%-d %b|%H:%M}".split("|") for when in moments]
    return LineChart(
        title,
        summary,
        json.dumps({"labels": labels, "datasets": datasets}),
        ("When", *(line.name for line in lines)),
        tuple(
            (_moment(when), *(word(own[when]) if when in own else "" for own in known))
            for when in reversed(moments)
        ),
        tuple(
            (_COLOURS[number % len(_COLOURS)], line.name)
            for number, line in enumerate(lines)
            if len(lines) > 1
        ),
    )


# Since when there is anything to show, and how long a point of the picture is; then the mean of
# each stretch of time, and what a call took of the statements that took the most time in all.
_QUERY = """
    WITH span AS (
        SELECT first, greatest((%(now)s - first) / %(points)s, interval '5 min') AS step
        FROM (SELECT min(taken_at) AS first FROM ops_sample
            WHERE metric = 'database_bytes' AND subject = ''
              AND taken_at BETWEEN %(since)s AND %(now)s) AS f
        WHERE first < %(now)s
    ), worst AS (
        SELECT statement_id FROM ops_statementsample, span WHERE taken_at >= first
        GROUP BY 1 ORDER BY sum(milliseconds) DESC LIMIT %(most)s
    )
    SELECT metric, '', date_bin(step, taken_at, first) AS at, avg(value)
    FROM span, ops_sample
    WHERE metric = ANY(%(metrics)s) AND subject = '' AND taken_at >= first
    GROUP BY 1, 3
    UNION ALL
    SELECT 'statement', t.text, date_bin(step, s.taken_at, first) AS at,
        sum(s.milliseconds) / greatest(sum(s.calls), 1)
    FROM span, ops_statementsample s JOIN worst USING (statement_id)
    JOIN ops_statement t ON t.id = s.statement_id
    WHERE s.taken_at >= first
    GROUP BY t.id, t.text, at
    ORDER BY 1, 3
"""


def _asked(now: dt.datetime) -> tuple[dict[str, Series], dict[str, Series]]:
    """Return metrics and statements, a series for each."""
    values: dict[str, Any] = {
        "now": now,
        "since": now - LONGEST,
        "points": _POINTS,
        "metrics": list(_METRICS),
        "most": _SLOWEST,
    }
    metrics: dict[str, Series] = defaultdict(list)
    statements: dict[str, Series] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_QUERY, values)
        for metric, text, when, value in cursor.fetchall():
            series = metrics[metric] if metric in _METRICS else statements[_short(text)]
            series.append((when, float(value)))
    return metrics, statements


def _short(text: str) -> str:
    line = outlined(text)
    return line if len(line) <= 60 else f"{line[:59]}…"


def _moment(when: dt.datetime) -> str:
    local = timezone.localtime(when)
    return f"{local.day} {local:%b %H:%M}"
