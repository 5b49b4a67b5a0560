"""What pings came to, for a terminal and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.postgres.endpoint import Endpoint
from ops.postgres.ping import Failure, Ping, Step


@dataclass
class Series:
    """The pings of one login."""

    endpoint: Endpoint
    pings: list[Ping] = field(default_factory=list)

    @property
    def failures(self) -> list[Failure]:
        """What went wrong, in order."""
        return [each.failure for each in self.pings if each.failure]

    def milliseconds(self, step: Step) -> list[float]:
        """What a step took, each time that it was taken."""
        return [each.took[step] * 1000 for each in self.pings if step in each.took]


def show_ping(out: Console, login: str, number: int, done: Ping) -> None:
    """Print one try as a line."""
    steps = [f"{step.label} {took * 1000:.2f} ms" for step, took in done.took.items()]
    if done.failure:
        steps.append(f"{done.failure.step.label} failed")
    colour = "red" if done.failure else ""
    out.print(Text(f"{login} {number}: {', '.join(steps)}", colour))


def show_summary(out: Console, several: Sequence[Series]) -> None:
    """Print what each step took, and why one failed."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in ("Login", "Step", "Min", "Average", "Max"):
        numeric = header not in {"Login", "Step"}
        table.add_column(header, justify="right" if numeric else "left", no_wrap=True)
    for series in several:
        for step in Step:
            if took := series.milliseconds(step):
                numbers = (min(took), mean(took), max(took))
                cells = (f"{number:.2f} ms" for number in numbers)
                table.add_row(series.endpoint.user, step.label, *cells)
    if table.row_count:
        out.print()
        out.print(table)
    for series in several:
        _show_end(out, series)


def as_json(series: Series) -> dict[str, Any]:
    """Return what programs are told of one login; times in milliseconds."""
    failure = series.failures[-1] if series.failures else None
    encrypted = [each.encrypted for each in series.pings if not each.failure]
    return {
        "login": series.endpoint.user,
        "place": series.endpoint.place,
        "sent": len(series.pings),
        "failed": len(series.failures),
        "tls": (encrypted[-1] or None) if encrypted else None,
        "steps": {
            step.value: {"min": min(took), "avg": mean(took), "max": max(took)}
            for step in Step
            if (took := series.milliseconds(step))
        },
        "failure": failure
        and {
            "step": failure.step.value,
            "what": failure.cause.what,
            "cause": failure.cause.cause,
            "next_step": failure.cause.next_step,
        },
    }


def _show_end(out: Console, series: Series) -> None:
    if not series.pings:
        return
    where = f"{series.endpoint.user} on {series.endpoint.place}"
    if not series.failures:
        how = series.pings[-1].encrypted or "without TLS"
        out.print(Text.assemble(("✓ ", "green"), f"{where}: signed in, {how}."))
        return
    last, number = series.failures[-1], len(series.failures)
    often = f" ({number} of {len(series.pings)} times)" if len(series.pings) > 1 else ""
    out.print(Text.assemble(("✗ ", "bold red"), f"{where}: {last.step.label} failed{often}."))
    for label, text in (
        ("What", last.cause.what),
        ("Usually", last.cause.cause),
        ("Next", last.cause.next_step),
    ):
        out.print(Text.assemble(("  " + label.ljust(9), "dim"), text))
