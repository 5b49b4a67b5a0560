"""Restores, recoveries and drills as a year leaves them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ops.models import (
    Drill,
    DrillVerdict,
    Recovery,
    RecoveryState,
    Restore,
    RestoreState,
    Run,
    RunStatus,
)
from ops.restores.complete.steps import WRITES_CLOSED
from ops.restores.requests import RecoverRequest
from ops.rls.router import as_owner_by_default
from ops.runs import Asker, ask

ADA = Asker("ada@platform.example", "admin", 1)
PHASES = [
    {"name": "fetch and unpack", "seconds": 2.5, "found": "41 MB"},
    {"name": "restore beside", "seconds": 12.5, "found": ""},
    {"name": "compare", "seconds": 5.0, "found": "61 tables equal, row by row"},
    # With what was done meanwhile: its time is in others'.
    {"name": WRITES_CLOSED, "seconds": 6.0, "found": "as long as nothing could be changed"},
]
PLAN: dict[str, Any] = {
    "tables": [
        {
            "table": "public.customers",
            "missing": 1,
            "changed": 0,
            "extra": 0,
            "planned": {"inserted": 1, "updated": 0, "deleted": 0},
            "samples": [
                {
                    "key": {"id": "77"},
                    "what": "missing",
                    "act": "inserted",
                    "columns": {"name": [None, "Hanari Carnes"], "city": [None, "Rio"]},
                }
            ],
        },
        {
            "table": "public.invoices",
            "missing": 1_204,
            "changed": 2,
            "extra": 0,
            "planned": {"inserted": 1_204, "updated": 0, "deleted": 0},
            "samples": [
                {
                    "key": {"id": "12"},
                    "what": "changed",
                    "act": "",
                    "columns": {"total": ["90.00", "120.00"]},
                }
            ],
        },
    ],
    "conflicts": ["Number INV-0042 is taken by row 77 of today."],
    "notes": ["The column nickname is gone; it is left out."],
}
LADDER = [
    {
        "step": "restore",
        "title": "It restores",
        "state": "held",
        "seconds": 9.0,
        "found": "in 9.0 s",
    },
    {
        "step": "rows",
        "title": "Every row is there",
        "state": "failed",
        "seconds": 3.0,
        "found": "invoices: 829 instead of 830",
    },
    {
        "step": "smoke",
        "title": "The application works",
        "state": "skipped",
        "seconds": None,
        "found": "after a failure",
    },
]


def an_ended_run(kind: str, subject: str, arguments: dict[str, Any] | None = None) -> Run:
    """A run that is done."""
    with as_owner_by_default():
        run = ask(kind, subject, by=ADA, arguments=arguments)
        Run.objects.filter(pk=run.pk).update(status=RunStatus.DONE, message=f"{subject} is done.")
        run.refresh_from_db()
    return run


def make_restore(now: dt.datetime, **values: Any) -> Restore:
    """A restore that took the live database's place an hour ago, and can be undone."""
    run = an_ended_run("restore", "srvc-full")
    with as_owner_by_default():
        return Restore.objects.create(
            **{
                "run": run,
                "origin": "the backup srvc-full",
                "holds": now - dt.timedelta(hours=3),
                "database": "srvc",
                "beside": "srvc_restore_1",
                "state": RestoreState.SWAPPED,
                "note": "61 tables are equal.",
                "phases": PHASES,
                "kept_database": "srvc_before_1",
                "kept_until": now + dt.timedelta(days=7),
                "swapped_at": now - dt.timedelta(hours=1),
                **values,
            }
        )


def make_recovery(**values: Any) -> Recovery:
    """A preview of a customer's rows."""
    wanted = RecoverRequest(subject="customer", keys=("77",), dry_run=True)
    run = an_ended_run("recover", "customer 77", wanted.as_json())
    with as_owner_by_default():
        return Recovery.objects.create(
            **{
                "run": run,
                "origin": "the backup srvc-full",
                "subject": "customer 77",
                "state": RecoveryState.PREVIEWED,
                "plan": PLAN,
                **values,
            }
        )


def make_drill(began: dt.datetime, verdict: str = DrillVerdict.PASSED, **values: Any) -> Drill:
    """A drill that has ended."""
    run = an_ended_run("drill", "srvc-full")
    with as_owner_by_default():
        drill = Drill.objects.create(
            **{
                "run": run,
                "subject": "srvc-full",
                "verdict": verdict,
                "steps": LADDER,
                "rto_seconds": 42.0,
                "rpo_seconds": 3_600.0,
                "seconds": 95.0,
                "note": "Told in a sentence.",
                "finished_at": began + dt.timedelta(seconds=95),
                **values,
            }
        )
        Drill.objects.filter(pk=drill.pk).update(started_at=began)
        drill.refresh_from_db()
    return drill
