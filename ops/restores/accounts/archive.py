"""What an account's archive says about itself: manifest.json, read with distrust."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from ops.restores.errors import RefusedError
from ops.restores.partial.media_files import is_safe

PRODUCT, KIND, FORMAT = "SRVC", "account archive", 1
MANIFEST = "manifest.json"
LONGEST_MANIFEST = 64_000_000  # bytes; a line for every table and every file
LONGEST_LINE = 1_000_000_000  # bytes of one row
# Written as they are in JSON; of all others the text that PostgreSQL prints.
PLAIN = ("boolean", "smallint", "integer", "bigint")
_FILE = re.compile(r"(tables|shared)/[A-Za-z0-9_.]{1,200}\.jsonl")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class NoArchiveError(RefusedError):
    """The file itself is no archive of this format: whatever is done here, it stays useless."""


@dataclass(frozen=True)
class Rows:
    """The rows of one table in the archive."""

    name: str  # public.customers
    file: str
    columns: dict[str, str]  # name and type
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class StoredFile:
    """An uploaded file in the archive."""

    name: str  # below the folder of uploaded files
    bytes: int
    sha256: str

    @property
    def file(self) -> str:
        """Its name in the archive."""
        return f"files/{self.name}"


@dataclass(frozen=True)
class Archive:
    """Everything that manifest.json says."""

    made_at: str  # ISO 8601, UTC
    environment: str
    account: dict[str, Any]  # id, email
    migrations: list[str]  # app.name, as applied
    tables: list[Rows]
    shared: list[Rows] = field(default_factory=list)
    files: list[StoredFile] = field(default_factory=list)
    missing_files: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # tables
    passwords: bool = False
    server: str = ""  # version

    @property
    def members(self) -> dict[str, tuple[int, str]]:
        """Size and SHA-256 of every member but the manifest, in the order of the tar."""
        parts: list[Rows | StoredFile] = [*self.tables, *self.shared, *self.files]
        return {each.file: (each.bytes, each.sha256) for each in parts}

    @property
    def rows(self) -> int:
        """How many rows are in it."""
        return sum(each.rows for each in self.tables)

    def written(self) -> bytes:
        """Return the content of manifest.json."""
        document = {"product": PRODUCT, "kind": KIND, "format": FORMAT, **asdict(self)}
        return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Return what a manifest says. Raises NoArchiveError for one not of this format."""
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            raise damaged("its manifest.json is no JSON") from None
        if not isinstance(document, dict) or document.get("product") != PRODUCT:
            raise NoArchiveError(
                "This is an archive of another product. Nothing was imported. Name a file that "
                "`manage.py exportaccount` wrote."
            )
        if document.get("kind") != KIND:
            raise NoArchiveError(
                f"This is no account's archive but {str(document.get('kind'))[:60]!r}. Nothing was "
                "imported."
            )
        if document.get("format") != FORMAT:
            raise NoArchiveError(
                f"This archive has format {str(document.get('format'))[:20]!r}; this version of "
                f"SRVC reads format {FORMAT}. Nothing was imported. Use the version that wrote it, "
                "or a newer one."
            )
        try:
            found = cls(
                made_at=_text(document["made_at"]),
                environment=_text(document["environment"]),
                account={
                    "id": _count(document["account"]["id"]),
                    "email": _text(document["account"]["email"]),
                },
                migrations=[_text(each) for each in document["migrations"]],
                tables=[_rows(each) for each in document["tables"]],
                shared=[_rows(each) for each in document["shared"]],
                files=[_stored(each) for each in document["files"]],
                missing_files=[_text(each) for each in document["missing_files"]],
                left_out=[_text(each) for each in document["left_out"]],
                passwords=document["passwords"] is True,
                server=_text(document["server"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(f"its manifest.json is not of format {FORMAT} ({error})") from None
        for each in (found.tables, found.shared):
            if len({one.name for one in each}) != len(each):
                raise damaged("its manifest.json names a table twice")
        if len(found.members) != len(found.tables) + len(found.shared) + len(found.files):
            raise damaged("its manifest.json names a file twice")
        return found


def damaged(why: str) -> NoArchiveError:
    """Return the error for an archive that is not as it was written."""
    return NoArchiveError(
        f"The archive is damaged, or was edited: {why}. Nothing was imported. Fetch it again from "
        "where it was written, or export the account anew."
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is no text")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{str(value)[:40]!r} is no number")
    return value


def _sum(value: Any) -> str:
    if not _SHA256.fullmatch(_text(value)):
        raise ValueError(f"{value[:40]!r} is no SHA-256")
    return str(value)


def _rows(entry: dict[str, Any]) -> Rows:
    if not _FILE.fullmatch(_text(entry["file"])):
        raise ValueError(f"{entry['file'][:60]!r} is no name of a file of rows")
    columns = {_text(name): _text(kind) for name, kind in entry["columns"].items()}
    size = _count(entry["bytes"])
    name = _text(entry["name"])
    return Rows(name, entry["file"], columns, _count(entry["rows"]), size, _sum(entry["sha256"]))


def _stored(entry: dict[str, Any]) -> StoredFile:
    if not is_safe(_text(entry["name"])):
        raise ValueError(f"{entry['name'][:60]!r} leads out of the folder of uploaded files")
    return StoredFile(entry["name"], _count(entry["bytes"]), _sum(entry["sha256"]))
