"""Jobs: their columns in other systems, and how a row becomes one."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from crm.imports import fields as f
from crm.imports.duplicates import DuplicateRule
from crm.imports.fields import Context, Field
from crm.imports.references import (
    CUSTOMER_COLUMNS,
    CUSTOMER_FIELDS,
    CUSTOMER_RESOLVED,
    CUSTOMER_WANTED,
    customer_values,
    resolve_customers,
    take_numbers,
)
from crm.imports.sites import SITE_COLUMNS, SITE_FIELDS, SITE_RESOLVED, site_values, write_sites
from crm.imports.staging import Sheet, StagingTable
from crm.imports.values import ValueRefusedError
from crm.models import Job

_STATUS = {
    **dict.fromkeys(("draft", "unscheduled", "new", "pending"), "draft"),
    # Open in some way: which one, the dates tell.
    **dict.fromkeys(("active", "open", "late", "today", "upcoming"), ""),
    "scheduled": "scheduled",
    **dict.fromkeys(("in progress", "started", "working"), "in_progress"),
    **dict.fromkeys(("on hold", "hold", "action required"), "on_hold"),
    **dict.fromkeys(("completed", "complete", "done", "finished"), "completed"),
    **dict.fromkeys(("requires invoicing", "ready to invoice"), "completed"),
    **dict.fromkeys(("closed", "archived", "invoiced"), "closed"),
    **dict.fromkeys(("cancelled", "canceled"), "cancelled"),
}
_PRIORITY = {
    "low": "low",
    **dict.fromkeys(("normal", "medium", "standard"), "normal"),
    "high": "high",
    **dict.fromkeys(("emergency", "urgent", "critical"), "emergency"),
}


def _line(column: str) -> f.Parser:
    return f.line(Job, column)


FIELDS = (
    Field(
        "external_id",
        "External id",
        "jobid jobnumber workorderid workordernumber workorder orderid ordernumber id number",
        _line("external_id"),
    ),
    *CUSTOMER_FIELDS,
    Field("title", "Title", "jobtitle jobname subject summary job name", _line("title")),
    Field("description", "Description", "jobdescription details instructions notes", f.notes),
    Field("status", "Status", "jobstatus stage", f.choice(_STATUS)),
    Field("status_reason", "Reason", "reason holdreason cancelreason", _line("status_reason")),
    Field("priority", "Priority", "urgency", f.choice(_PRIORITY), empty="normal"),
    Field(
        "scheduled_start",
        "Scheduled start",
        "scheduledstartdate schedulestartdate scheduleddate startdate start starttime "
        "requireddate orderdate date",
        f.moment,
        empty=None,
    ),
    Field(
        "scheduled_end",
        "Scheduled end",
        "scheduledenddate scheduleenddate enddate end endtime",
        f.moment,
        empty=None,
    ),
    Field("started_at", "Started", "actualstart started", f.moment, empty=None),
    Field(
        "completed_at",
        "Completed",
        "completeddate completiondate datecompleted closeddate finished shippeddate",
        f.moment,
        empty=None,
    ),
    *SITE_FIELDS,
)
REQUIRED = (
    (CUSTOMER_WANTED, "whose job it is"),
    (("title", "external_id"), "what the job is called"),
)
_COPIED = (
    ("title", "text"),
    ("description", "text"),
    ("status", "text"),
    ("status_reason", "text"),
    ("priority", "text"),
    ("scheduled_start", "timestamptz"),
    ("scheduled_end", "timestamptz"),
    ("started_at", "timestamptz"),
    ("completed_at", "timestamptz"),
    ("external_id", "text"),
)
TABLE = StagingTable(
    "import_jobs",
    (*_COPIED, *CUSTOMER_COLUMNS, *SITE_COLUMNS),
    (*CUSTOMER_RESOLVED, *SITE_RESOLVED, ("number", "int")),
)
EXTERNAL_ID = DuplicateRule("external id", ("r.external_id",), ("e.external_id",))
SAME_WORK = DuplicateRule(
    "customer, title and start",
    ("r.customer_id::text", "lower(r.title)", "coalesce(r.scheduled_start::text, '-')"),
    ("e.customer_id::text", "lower(e.title)", "coalesce(e.scheduled_start::text, '-')"),
    when="r.external_id = ''",
)
_NAMED_AFTER = "order"


def to_row(row: dict[str, Any], context: Context) -> tuple[Any, ...]:
    """A row for the staging table. Raises ValueRefusedError for one that can't be a job."""
    if not row["title"]:
        if not row["external_id"]:
            raise ValueRefusedError("The job has neither a title nor a number.")
        noun = "Order" if row["id_column"].startswith(_NAMED_AFTER) else "Job"
        row["title"] = f"{noun} {row['external_id']}"
    row["status"] = row["status"] or _status_by_dates(row)
    _complete(row)
    if row["scheduled_start"] and row["scheduled_end"]:
        if row["scheduled_end"] < row["scheduled_start"]:
            raise ValueRefusedError("The job ends before it starts.")
    elif row["scheduled_end"]:
        raise ValueRefusedError("The job has an end and no start.")
    if row["status"] == "scheduled" and row["scheduled_start"] is None:
        raise ValueRefusedError("The job is scheduled and has no start.")
    copied = (row[column] for column, _ in _COPIED)
    return (*copied, *customer_values(row), *site_values(row))


def _status_by_dates(row: dict[str, Any]) -> str:
    if row["completed_at"]:
        return "completed"
    if row["started_at"]:
        return "in_progress"
    return "scheduled" if row["scheduled_start"] else "draft"


def _complete(row: dict[str, Any]) -> None:
    """What the database asks of each status and other systems do not write down."""
    status = row["status"]
    if status in {"on_hold", "cancelled"}:
        row["status_reason"] = row["status_reason"] or "Imported without a reason"
    if status in {"completed", "closed"}:
        row["completed_at"] = (
            row["completed_at"] or row["scheduled_end"] or row["scheduled_start"] or timezone.now()
        )
    else:
        row["completed_at"] = None
    if status == "in_progress":
        row["started_at"] = row["started_at"] or row["scheduled_start"]


def resolve(sheet: Sheet) -> tuple[DuplicateRule, ...]:
    """Find the customers; by which rules duplicates are told after that."""
    resolve_customers(sheet, TABLE)
    return (EXTERNAL_ID, SAME_WORK)


def write(sheet: Sheet) -> None:
    """Insert the jobs that are new, and the sites of theirs that are."""
    sheet.created["sites"] = write_sites(sheet, TABLE)
    take_numbers(sheet, "job", TABLE, "r.skip IS NULL AND r.status <> 'draft'")
    columns = ", ".join(column for column, _ in _COPIED)
    sheet.created["jobs"] = sheet.in_chunks(
        TABLE,
        f"INSERT INTO jobs (user_id, number, customer_id, site_id, {columns}) "
        f"SELECT %(account)s, number, customer_id, site_id, {columns} "
        "FROM import_jobs r WHERE {chunk} ORDER BY n",
    )
