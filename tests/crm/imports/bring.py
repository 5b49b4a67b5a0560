"""Imports as tests write them: texts in, a summary or the problems out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crm.imports.files import Options
from crm.imports.problems import ImportRefusedError
from crm.imports.reading import Source
from crm.imports.run import Summary, run_import
from crm.models import User
from ops.rls.session import acting_as
from tests.factories import account_of

FILES = Path(__file__).parent / "files"


def bring(
    owner: User, kind: str, *files: str | bytes | Path, dry_run: bool = False, **options: Any
) -> Summary:
    """Import into an owner's account, as the owner."""
    sources = [_source(file, number) for number, file in enumerate(files, start=1)]
    with acting_as(owner, via="test"):
        return run_import(
            kind=kind,
            sources=sources,
            account=account_of(owner),
            by=owner,
            options=Options(**options),
            dry_run=dry_run,
        )


def problems_of(owner: User, kind: str, *files: str | bytes | Path, **options: Any) -> list[str]:
    """What keeps files out, as people read it; fails when nothing does."""
    with pytest.raises(ImportRefusedError) as caught:
        bring(owner, kind, *files, **options)
    assert str(caught.value).endswith("Nothing was imported; correct the file and try again.")
    return [str(problem) for problem in caught.value.problems]


def _source(file: str | bytes | Path, number: int) -> Source:
    if isinstance(file, Path):
        return Source.from_path(file)
    content = file.encode() if isinstance(file, str) else file
    return Source.from_bytes(f"file{number}.csv", content)
