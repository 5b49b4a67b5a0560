"""What a backup's page shows: facts, history, tables, objects, chain, copies."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ops.admin.chains import Chains
from ops.admin.run_state import has_died
from ops.admin.words import MEANINGS, ago, exactly, length, moment, size, state_tag, status_tag
from ops.backups.proof import short_content
from ops.models import Backup, BackupKind, BackupState

_MOST_TABLES = 2_000
_MOST_RUNS = 50
Fact = tuple[str, Any]


def detail(backup: Backup, now: dt.datetime) -> dict[str, Any]:
    """The page's context."""
    document = backup.manifest
    tables = (document.get("proof") or {}).get("tables") or []
    chain = Chains.load().of(backup) if backup.is_physical else None
    return {
        "backup": backup,
        "state": state_tag(backup.state),
        "meaning": _meaning(backup),
        "facts": _facts(backup, now),
        "server": _server(document),
        "tables": [
            {
                "name": f"{each['schema']}.{each['name']}"
                if each["schema"] != "public"
                else each["name"],
                "rows": each["rows"],
                "content": each["content"],
                "short_content": short_content(each["content"]),
            }
            for each in tables[:_MOST_TABLES]
        ],
        "tables_left_out": max(len(tables) - _MOST_TABLES, 0),
        "objects": document.get("objects", []),
        "links": [] if chain is None else _links(backup, chain, now),
        "copies": [
            {"row": copy, "state": state_tag(copy.state), "when": moment(copy.copied_at, now)}
            for copy in backup.copies.all()
        ],
        "history": _history(backup, now),
        "migrations": document.get("migrations", []),
        "extensions": sorted((document.get("extensions") or {}).items()),
    }


def _meaning(backup: Backup) -> str:
    """What its state is worth; of others' backups there is no proof."""
    state = BackupState(backup.state)
    if backup.kind == BackupKind.MEDIA and state == BackupState.PROVEN:
        return "Every file of it was restored beside, and is what it was."
    if not backup.is_logical and not backup.is_physical and state in {"taken", "verified"}:
        return ""
    return MEANINGS[state]


def _facts(backup: Backup, now: dt.datetime) -> list[Fact]:
    facts: list[Fact] = [
        ("Holds", f"{exactly(backup.taken_at)} ({ago(backup.taken_at, now)})"),
        ("Kind", backup.get_kind_display()),
        ("Database", ", ".join(filter(None, (backup.database, backup.environment)))),
        ("Size", _sizes(backup)),
    ]
    if backup.rows is not None:
        tables = f" in {backup.tables:,} tables" if backup.tables is not None else ""
        facts.append(("Rows", f"{backup.rows:,}{tables}"))
    if backup.seconds is not None:
        facts.append(("Took", length(backup.seconds)))
    facts.append(("Encryption", backup.encryption.replace("none", "") or "None"))
    facts.append(("Storage", backup.storage))
    facts += _told(backup.manifest)
    if backup.start_lsn:
        span = f"{backup.start_lsn} to {backup.stop_lsn}, timeline {backup.timeline}"
        facts.append(("WAL", span))
    if backup.verified_at:
        facts.append(("Verified", _checked(backup.verified_at, now)))
    if backup.proven_at:
        facts.append(("Proven", _checked(backup.proven_at, now)))
    if backup.check_seconds is not None:
        facts.append(("Last check took", length(backup.check_seconds)))
    if backup.pinned_at:
        facts.append(
            ("Pinned", f"by {backup.pinned_by}, {ago(backup.pinned_at, now)}: {backup.pin_reason}")
        )
    return facts


def _told(document: dict[str, Any]) -> list[Fact]:
    """What only the manifests of some kinds tell."""
    details = document.get("details") or {}
    files = details.get("files")
    facts: list[Fact] = [
        ("Files", "" if files is None else f"{files:,}"),
        ("Tables chosen", ", ".join(document.get("selection") or [])),
        ("Why a base", details.get("why_base", "")),
    ]
    return [(name, value) for name, value in facts if value]


def _checked(when: dt.datetime, now: dt.datetime) -> str:
    return f"{exactly(when)} ({ago(when, now)})"


def _sizes(backup: Backup) -> str:
    if not backup.raw_size or backup.raw_size == backup.size:
        return size(backup.size)
    return f"{size(backup.size)} stored, {size(backup.raw_size)} before compression"


def _server(document: dict[str, Any]) -> list[Fact]:
    server = document.get("server") or {}
    programs = document.get("programs") or {}
    facts: list[Fact] = [
        ("PostgreSQL", server.get("version", "")),
        ("System identifier", server.get("system_identifier", "")),
        ("WAL position", server.get("wal_position", "")),
        ("Written by", ", ".join(f"{name} {version}" for name, version in programs.items())),
    ]
    return [(name, value) for name, value in facts if value]


def _links(backup: Backup, chain: Any, now: dt.datetime) -> list[dict[str, Any]]:
    return [
        {
            "row": each,
            "when": moment(each.taken_at, now),
            "state": state_tag(each.state),
            "size": size(each.size),
            "is_this": each.pk == backup.pk,
        }
        for each in [*chain.parents, backup, *chain.children]
    ]


def _history(backup: Backup, now: dt.datetime) -> list[dict[str, Any]]:
    return [
        {
            "run": run,
            "status": status_tag(run.status, died=has_died(run, now)),
            "when": moment(run.asked_at, now),
        }
        for run in backup.runs.newest_first()[:_MOST_RUNS]
    ]
