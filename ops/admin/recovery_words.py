"""Partial recoveries as pages show them: state, counts by table, samples, old beside new."""

from __future__ import annotations

from typing import Any

from django.utils.safestring import SafeString

from ops.admin.words import tag
from ops.models import Recovery, RecoveryState, RowAct

_STATES = {
    RecoveryState.PREVIEWED: ("info", "preview"),
    RecoveryState.APPLIED: ("success", "check_circle"),
    RecoveryState.UNDONE: ("", "undo"),
    RecoveryState.FAILED: ("danger", "error"),
}
_LONGEST = 80


def recovery_tag(recovery: Recovery) -> SafeString:
    """A recovery's state."""
    state = RecoveryState(recovery.state)
    return tag(str(state.label), *_STATES[state], recovery.note)


def planned_rows(recovery: Recovery) -> int:
    """How many rows a plan changes."""
    tables = (recovery.plan or {}).get("tables") or []
    return sum(sum(each.get("planned", {}).values()) for each in tables)


_WOULD = {
    RowAct.INSERTED: "would come back",
    RowAct.UPDATED: "would be set back",
    RowAct.DELETED: "would go",
}


def _said(act: RowAct, *, is_preview: bool) -> str:
    return _WOULD[act] if is_preview else str(act.label).lower()


def plan_context(recovery: Recovery) -> dict[str, Any]:
    """What the difference came to, as the page's tables take it."""
    plan = recovery.plan or {}
    preview = recovery.state == RecoveryState.PREVIEWED
    return {
        # Without a plan it ended before anything was compared.
        "was_compared": bool(plan),
        "tables": [_table(each, is_preview=preview) for each in plan.get("tables") or []],
        "conflicts": plan.get("conflicts") or [],
        "notes": plan.get("notes") or [],
        "planned": planned_rows(recovery),
    }


def _table(each: dict[str, Any], *, is_preview: bool) -> dict[str, Any]:
    planned = each.get("planned") or {}
    return {
        "name": str(each["table"]).removeprefix("public."),
        **{name: int(each.get(name) or 0) for name in ("missing", "changed", "extra")},
        "acts": [
            (_said(act, is_preview=is_preview), planned[act.value])
            for act in RowAct
            if planned.get(act.value)
        ],
        "samples": [_sample(sample, is_preview=is_preview) for sample in each.get("samples") or []],
    }


def _sample(sample: dict[str, Any], *, is_preview: bool) -> dict[str, Any]:
    """A row: its key, what is different, and its columns, now and then."""
    columns = sample.get("columns") or {}
    act = sample.get("act")
    known = act in RowAct.values
    return {
        "key": ", ".join(f"{name} {value}" for name, value in (sample.get("key") or {}).items()),
        "what": str(sample.get("what", "")),
        "act": _said(RowAct(str(act)), is_preview=is_preview) if known else "stays as it is",
        "columns": [
            {"name": name, "now": _short(now), "then": _short(then)}
            for name, (now, then) in columns.items()
        ],
    }


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
