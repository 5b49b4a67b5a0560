"""The catalogue of backups as tables for a terminal, as plain columns for a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import IO, Any

from django.conf import settings
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.backups.manifest import Manifest
from ops.models import Backup, BackupCopy, BackupState, Run
from ops.words import ago, duration, size

_COLOURS = {
    BackupState.TAKEN: "yellow",
    BackupState.VERIFIED: "cyan",
    BackupState.PROVEN: "green",
    BackupState.FAILED: "bold red",
    BackupState.MISSING: "bold red",
}
Checked = Backup | BackupCopy
_WIDTH = 200  # of a file, which no line break may cut a row in


def console(stream: IO[str]) -> Console:
    """Return a console for a stream; colours are for terminals."""
    plain = not stream.isatty()
    return Console(file=stream, width=_WIDTH if plain else None, highlight=False)


def show_list(out: Console, backups: Sequence[Backup], now: datetime, readiness: str) -> None:
    """Print a line for each backup, what it comes to, and whether that is enough."""
    table = _table("ID", "When (UTC)", "", "Kind", "Size", "Rows", "Took", "State", "On", "Where")
    # Those of others bring nothing of this environment back, so they have to be told apart.
    has_others = any(backup.environment != settings.ENVIRONMENT for backup in backups)
    if has_others:
        table.add_column("Environment")
    for name in ("ID", "Size", "Rows", "Took"):
        next(each for each in table.columns if each.header == name).justify = "right"
    for backup in backups:
        copies = list(backup.copies.all())
        table.add_row(
            str(backup.pk),
            f"{backup.taken_at:%Y-%m-%d %H:%M:%S}",
            ago(backup.taken_at, now),
            _kind(backup),
            size(backup.size),
            "" if backup.rows is None else f"{backup.rows:,}",
            "" if backup.seconds is None else duration(backup.seconds),
            _state(backup.state, backup.pinned_at is not None),
            "" if backup.parent_id is None else f"#{backup.parent_id}",
            Text.assemble(
                backup.storage,
                *(f" + {each.storage} ({each.get_state_display().lower()})" for each in copies),
            ),
            *([Text(backup.environment)] if has_others else []),
        )
    out.print(table)
    total = sum(backup.size for backup in backups)
    out.print(f"{_many(len(backups), 'backup')}, {size(total)}. {readiness}", markup=False)


def show_checks(out: Console, checks: Sequence[tuple[Checked, str, str]]) -> None:
    """Print what became of each check: what was checked, its name, why it could not be."""
    table = _table("Backup", "In", "State", "Took", "What was found")
    table.columns[3].justify = "right"
    for checked, name, error in checks:
        took = "" if error or checked.check_seconds is None else duration(checked.check_seconds)
        said = Text(f"not checked: {error}", style="bold red") if error else checked.state_note
        state = _state(checked.state, pinned=False)
        table.add_row(Text(name), Text(checked.storage), state, took, said)
    out.print(table)


def show_one(out: Console, backup: Backup, runs: Iterable[Run], now: datetime) -> None:
    """Print everything that is known about a backup."""
    manifest = Manifest.of_row(backup.manifest) if backup.manifest else None
    facts = _table(headers=False)
    for name, value in _facts(backup, manifest, now):
        facts.add_row(name, value)
    out.print(facts)
    if manifest is not None:
        _show_objects(out, manifest)
        _show_proof(out, manifest)
    _show_runs(out, list(runs))


def _facts(
    backup: Backup, manifest: Manifest | None, now: datetime
) -> Iterable[tuple[str, str | Text]]:
    yield "Backup", f"{backup.name} (#{backup.pk})"
    yield "State", _state_with_times(backup, now)
    yield "Kind", backup.get_kind_display()
    yield "Holds", f"{backup.taken_at:%Y-%m-%d %H:%M:%S} UTC ({ago(backup.taken_at, now)})"
    yield "Of", f"{backup.database}, PostgreSQL {backup.server_version}, {backup.environment}"
    raw = f"{size(backup.raw_size)} before compression"
    yield "Size", f"{size(backup.size)} ({backup.size:,} bytes; {raw})"
    if backup.seconds is not None:
        yield "Took", duration(backup.seconds)
    if backup.rows is not None:
        yield "Rows", f"{backup.rows:,} in {_many(backup.tables or 0, 'table')}"
    yield "In", backup.storage
    for copy in backup.copies.all():
        yield "Copy in", Text.assemble(f"{copy.storage}: ", _state(copy.state, pinned=False))
    if backup.parent is not None:
        yield "Adds to", f"{backup.parent.name} (#{backup.parent_id})"
    children = ", ".join(f"#{child.pk}" for child in backup.children.order_by("pk"))
    if children:
        yield "Needed by", children
    if backup.pinned_at is not None:
        yield "Pinned", f"by {backup.pinned_by} {ago(backup.pinned_at, now)}: {backup.pin_reason}"
    if manifest is not None:
        yield from _manifest_facts(backup, manifest)


def _manifest_facts(backup: Backup, manifest: Manifest) -> Iterable[tuple[str, str]]:
    archive = manifest.archive
    opened_by = ", ".join(archive.recipients) if archive.recipients else ""
    told = "no: anybody can read it" if archive.encryption == "none" else archive.encryption
    yield "Encrypted", f"{told} {opened_by}".strip()
    if manifest.selection:
        yield "Tables", ", ".join(manifest.selection)
    if backup.start_lsn:
        yield "WAL", f"{backup.start_lsn} to {backup.stop_lsn}, timeline {backup.timeline}"
    if manifest.migrations:
        yield "Migrations", f"{len(manifest.migrations)} applied"
    if manifest.extensions:
        found = sorted(manifest.extensions.items())
        yield "Extensions", ", ".join(f"{name} {version}" for name, version in found)


def _show_objects(out: Console, manifest: Manifest) -> None:
    table = _table("Object", "Bytes", "SHA-256")
    table.columns[1].justify = "right"
    for stored in manifest.objects:
        table.add_row(Text(stored.name), f"{stored.size:,}", stored.sha256)
    out.print()
    out.print(table)


def _show_proof(out: Console, manifest: Manifest) -> None:
    found = (manifest.proof or {}).get("tables") or []
    if not found:
        return
    table = _table("Table", "Rows", "Content")
    table.columns[1].justify = "right"
    for each in found:
        table.add_row(
            Text(f"{each['schema']}.{each['name']}"), f"{each['rows']:,}", each["content"]
        )
    out.print()
    out.print(table)


def _show_runs(out: Console, runs: Sequence[Run]) -> None:
    if not runs:
        return
    table = _table("Run", "Asked (UTC)", "What", "By", "How it went")
    for run in runs:
        table.add_row(
            str(run.pk),
            f"{run.asked_at:%Y-%m-%d %H:%M:%S}",
            run.get_kind_display(),
            Text(run.asked_by),
            Text(f"{run.get_status_display()}. {run.message}".strip()),
        )
    out.print()
    out.print(table)


def _kind(backup: Backup) -> str:
    return str(backup.get_kind_display())


def _state(state: str, pinned: bool) -> Text:
    known = BackupState(state)
    text = Text(str(known.label), style=_COLOURS[known])
    return Text.assemble(text, " · pinned") if pinned else text


def _state_with_times(backup: Backup, now: datetime) -> Text:
    parts: list[Any] = [_state(backup.state, pinned=False)]
    if backup.checked_at is not None:
        took = "" if backup.check_seconds is None else f" in {duration(backup.check_seconds)}"
        parts.append(f", looked at {ago(backup.checked_at, now)}{took}")
    if backup.state_note:
        parts.append(f": {backup.state_note}")
    return Text.assemble(*parts)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _table(*headers: str, **options: Any) -> Table:
    show = options.pop("headers", True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=show)
    for header in headers or ("", ""):
        table.add_column(header)
    return table
