"""Accounts in archives, as tests make, change and compare them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg

from ops.progress import Progress
from ops.restores.accounts.exporting import Exported, ask_for_export, export_account
from ops.restores.accounts.imported import Imported
from ops.restores.accounts.importing import ask_for_import, import_account
from ops.rls.router import as_owner_by_default
from tests.ops.backups.conftest import ASKER

Parts = dict[str, bytes]
Place = tuple[str, str]


def export(account: str, path: Path, *, passwords: bool = False) -> Exported:
    """Export as the command does."""
    with as_owner_by_default():
        return export_account(ask_for_export(account, path, by=ASKER, passwords=passwords))


def take_in(path: Path, progress: Progress | None = None, **choices: Any) -> Imported:
    """Import as the command does."""
    with as_owner_by_default():
        return import_account(ask_for_import(path, by=ASKER, **choices), progress)


def parts_of(path: Path) -> Parts:
    """Everything in an archive, by its names there."""
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def rewritten(path: Path, target: Path, change: Callable[[Parts, dict[str, Any]], None]) -> Path:
    """Write an archive anew, changed and with checksums that fit: by somebody who knows how."""
    parts = parts_of(path)
    says = json.loads(parts.pop("manifest.json"))
    change(parts, says)
    for entry in [*says["tables"], *says["shared"]]:
        content = parts.get(entry["file"], b"")
        entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return packed(target, {"manifest.json": json.dumps(says).encode(), **parts})


def packed(target: Path, parts: Parts) -> Path:
    """Write a tar of these members."""
    with tarfile.open(target, "w") as tar:
        for name, content in parts.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return target


def rows_of(parts: Parts) -> dict[str, list[dict[str, Any]]]:
    """The rows of an archive's tables."""
    return {
        name.removeprefix("tables/").removesuffix(".jsonl"): [
            json.loads(line) for line in content.splitlines()
        ]
        for name, content in parts.items()
        if name.startswith("tables/")
    }


def without_keys(parts: Parts, meant: Mapping[Place, Place]) -> dict[str, list[dict[str, Any]]]:
    """The rows of an archive, each key replaced by its rank among those of its table.

    Keys of everybody's rows, such as a plan's, are replaced by the row's name. Two archives of the
    same account say the same then, whatever numbers their servers gave out.
    """
    tables = rows_of(parts)
    ids: dict[Place, set[int]] = {}
    for (table, column), key in meant.items():
        ids.setdefault(key, set()).update(row[column] for row in tables[table])
    known: dict[Place, dict[int | None, Any]] = {}
    for key, found in ids.items():
        known[key] = {old: rank for rank, old in enumerate(sorted(found - {None}))}  # type: ignore[arg-type]
        for line in parts.get(f"shared/{key[0]}.jsonl", b"").splitlines():
            row = json.loads(line)
            known[key][row.pop("id")] = row
    for (table, column), key in meant.items():
        for row in tables[table]:
            row[column] = known[key].get(row[column])
    return tables


def contents(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """Count and content hash of every table but those of runs."""
    names = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename !~ '^ops_'"
    ).fetchall()
    return {
        name: connection.execute(
            f"SELECT count(*), sum(hashtextextended(r::text, 0)) FROM {name} r".encode()
        ).fetchone()
        for (name,) in names
    }
