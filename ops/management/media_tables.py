"""What `restore --media` prints: what would change, what was done, and what is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import IO, Any

from rich.table import Table
from rich.text import Text

from ops.backups.media_restore.differences import Differences
from ops.backups.media_restore.journal import PutBack
from ops.management import backup_tables
from ops.restores.media.kept import KeptFiles
from ops.restores.media.restoring import MediaOutcome

_SHOWN = 20  # names of each group


def show_differences(out: IO[str], found: Differences, *, only_missing: bool, exact: bool) -> None:
    """Print what would become of which files."""
    replaced = "differ and stay as they are" if only_missing else "differ and would be replaced"
    removed = "not in the backup and would be removed" if exact else "not in the backup, and stay"
    for names, said in (
        (found.missing, "missing here and would come back"),
        (found.changed, replaced),
        (found.extra, removed),
    ):
        out.write(f"{len(names):,} {'file' if len(names) == 1 else 'files'} {said}\n")
        out.write("".join(f"  {_printable(name)}\n" for name in names[:_SHOWN]))
        if len(names) > _SHOWN:
            out.write(f"  and {len(names) - _SHOWN:,} more; --json names all\n")
    out.write(f"{found.same:,} equal\n")


def _printable(name: str) -> str:
    """Show a name on a terminal, which must not obey what somebody put into one."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in name)


def show_outcome(out: IO[str], done: MediaOutcome, request: Any, options: dict[str, Any]) -> None:
    """Print what was done, and how to take it back."""
    restored = done.restored
    if options["json"]:
        out.write(json.dumps(as_json(done), ensure_ascii=False, indent=2) + "\n")
        return
    if not restored.applied:
        show_differences(
            out, restored.differences, only_missing=request.only_missing, exact=request.exact
        )
    out.write(f"{done.note}\n")
    if restored.written or restored.removed:
        out.write(f"To take it back: manage.py restore --media --undo {done.run}\n")


def show_undone(out: IO[str], done: PutBack, note: str, options: dict[str, Any]) -> None:
    """Print what was put back."""
    if options["json"]:
        document = {"undone": not done.left, "returned": done.returned, "left": done.left}
        out.write(json.dumps({**document, "note": note}, ensure_ascii=False, indent=2) + "\n")
        return
    out.write(f"{note}\n")


def show_kept(out: IO[str], rows: Iterable[KeptFiles], options: dict[str, Any]) -> None:
    """Print which restores of uploaded files can be taken back, newest first."""
    rows = list(rows)
    if options["json"]:
        document = [
            {
                "id": row.run, "begun": row.begun.isoformat(), "origin": row.origin,
                "files": row.files, "kept_until": row.until.isoformat(),
            }
            for row in rows
        ]  # fmt: skip
        out.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
        return
    if not rows:
        out.write("No restore of uploaded files is kept that could be taken back.\n")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("ID", "Begun (UTC)", "From", "Files", "Kept until"):
        table.add_column(name, overflow="fold")
    for row in rows:
        cells = (
            str(row.run), f"{row.begun:%Y-%m-%d %H:%M}", row.origin, f"{row.files:,}",
            f"{row.until:%Y-%m-%d %H:%M}",
        )  # fmt: skip
        table.add_row(*(Text(each) for each in cells))
    backup_tables.console(out).print(table)


def as_json(done: MediaOutcome) -> dict[str, Any]:
    """What programs are told."""
    found, restored = done.restored.differences, done.restored
    return {
        "restored": restored.applied,
        "id": done.run,
        "origin": done.origin,
        "holds": done.holds.isoformat(),
        "missing": found.missing,
        "changed": found.changed,
        "extra": found.extra,
        "same": found.same,
        "written": restored.written,
        "removed": restored.removed,
        "left": restored.left,
        "note": done.note,
    }
