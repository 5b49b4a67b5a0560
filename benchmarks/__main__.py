"""Run benchmarks: `python -m benchmarks [NAME …] [--rows N] [--json] [--strict]`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"

from benchmarks.result import Result
from benchmarks.server import Bench, throw_away

MILLION = 1_000_000


def _benchmarks() -> dict[str, Callable[[Bench], list[Result]]]:
    from benchmarks import (
        admin_search,
        complete_restore,
        customer_page,
        full_backup,
        health_run,
        importcsv,
        incremental_backup,
        member_list,
        one_customer,
        seed_copy,
        swap,
        table_difference,
        verify_backup,
    )

    return {
        "member_list": member_list.run,
        "admin_search": admin_search.run,
        "customer_page": customer_page.run,
        "seed_copy": seed_copy.run,
        "importcsv": importcsv.run,
        "full_backup": full_backup.run,
        "incremental_backup": incremental_backup.run,
        "verify_backup": verify_backup.run,
        "one_customer": one_customer.run,
        "table_difference": table_difference.run,
        "complete_restore": complete_restore.run,
        "swap": swap.run,
        "health_run": health_run.run,
    }


NAMES = (
    "member_list",
    "admin_search",
    "customer_page",
    "seed_copy",
    "importcsv",
    "full_backup",
    "incremental_backup",
    "verify_backup",
    "one_customer",
    "table_difference",
    "complete_restore",
    "swap",
    "health_run",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 unless a benchmark crashed or, when strict, missed its bar."""
    options = _options(arguments)
    import django

    django.setup()
    results: list[Result] = []
    crashed = []
    with throw_away(options.rows) as bench:
        for name in options.names or NAMES:
            bench.say(f"{name} …")
            try:
                found = _benchmarks()[name](bench)
                for result in found:
                    bench.say(f"  {result.name}: {result.measured:.2f}, wanted {result.wanted}")
                results += found
            except Exception:  # noqa: BLE001 (the others still run; this one is told whole)
                traceback.print_exc()
                crashed.append(name)
    if options.json:
        print(json.dumps([result.as_json() for result in results], indent=2))
    else:
        _print_table(results)
    for name in crashed:
        print(f"{name} crashed; see above.", file=sys.stderr)
    missed = [result for result in results if not result.met]
    return 1 if crashed or (options.strict and missed) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all")
    parser.add_argument(
        "--rows", type=int, default=MILLION, help="customers to measure with, 1,000 or more"
    )
    parser.add_argument("--json", action="store_true", help="print results for programs")
    parser.add_argument("--strict", action="store_true", help="fail when a bar is not met")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))} (of {', '.join(NAMES)})")
    if options.rows < 1_000:
        parser.error("--rows is 1000 at least")
    return options


def _print_table(results: Sequence[Result]) -> None:
    header = ("what", "against", "ours", "theirs", "ratio", "bar", "")
    table = [header] + [
        (r.name, r.peer, r.ours, r.theirs, f"{r.measured:.2f}", r.wanted,
         "met" if r.met else "NOT MET")
        for r in results
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


if __name__ == "__main__":
    sys.exit(main())
