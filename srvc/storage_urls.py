"""Where backups are, from one variable: a folder, or a bucket behind an address.

    BACKUP_STORAGE=/srv/backups
    BACKUP_STORAGE=s3://bucket/folder?endpoint=https://s3.example.com&region=eu-central-1

Secrets are never part of the address: it is shown in lists, messages and process listings.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from srvc.configuration import Configuration

FOLDER_BACKEND = "django.core.files.storage.FileSystemStorage"
S3_BACKEND = "ops.backups.s3.S3Backups"
_S3_OPTIONS = ("endpoint", "region", "part", "addressing")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# An object has 10,000 parts at most; what is sent and what is read next are both in memory.
_PARTS = (8, 512)  # megabytes


@dataclass(frozen=True)
class Variables:
    """The three variables one storage is described by."""

    storage: str
    access_key: str
    secret_key: str

    @property
    def fix(self) -> str:
        """How a right value looks."""
        return (
            f"Set {self.storage}=/an/absolute/folder, or {self.storage}=s3://BUCKET/FOLDER?"
            "endpoint=https://HOST&region=REGION (docs/backups.md, Where)."
        )


PRIMARY = Variables("BACKUP_STORAGE", "BACKUP_S3_ACCESS_KEY", "BACKUP_S3_SECRET_KEY")
COPY = Variables("BACKUP_COPY_STORAGE", "BACKUP_COPY_S3_ACCESS_KEY", "BACKUP_COPY_S3_SECRET_KEY")


def backup_storages(read: Configuration, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of STORAGES for backups and, when one is wanted, their off-site copy.

    `folder` is where backups go when nobody says otherwise. What is wrong is reported to `read`.
    """
    served = tuple(folder.with_name(name) for name in ("static", "media"))
    primary = _storage(read, PRIMARY, served) or folder_storage(folder)
    second = _storage(read, COPY, served)
    if second is None:
        return {"dbbackup": primary}
    if _overlap(primary, second):
        read.report(
            "unsafe",
            COPY.storage,
            f"is the same place as {PRIMARY.storage}, or inside it: what takes the one takes both",
            f"Set {COPY.storage} to a folder of another disk or to a bucket elsewhere.",
        )
        return {"dbbackup": primary}
    return {"dbbackup": primary, "dbbackup_copy": second}


def folder_storage(folder: Path) -> dict[str, Any]:
    """Return the entry of STORAGES for a local folder, closed to other users."""
    return {
        "BACKEND": FOLDER_BACKEND,
        "OPTIONS": {
            "location": str(folder),
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    }


def _storage(
    read: Configuration, variables: Variables, served: tuple[Path, ...]
) -> dict[str, Any] | None:
    value = read.text(variables.storage)
    if not value.startswith("s3://"):
        for key in (variables.access_key, variables.secret_key):
            if read.text(key):
                wrong = f"is set, and {variables.storage} names no bucket that it would open"
                read.report("invalid", key, wrong, f"Remove it. Or: {variables.fix}")
    if not value:
        return None
    if value.startswith("/"):
        return _folder(read, variables, Path(value), served)
    if value.startswith("s3://"):
        return _s3(read, variables, value)
    read.report(
        "invalid",
        variables.storage,
        "is neither an absolute folder nor the address of a bucket",
        variables.fix,
    )
    return None


def _folder(
    read: Configuration, variables: Variables, folder: Path, served: tuple[Path, ...]
) -> dict[str, Any] | None:
    if any(folder.is_relative_to(each) or each.is_relative_to(folder) for each in served):
        wrong = "holds, or lies in, a folder of files that the site serves"
        read.report("unsafe", variables.storage, wrong, variables.fix)
        return None
    if os.path.exists(folder) and not os.path.isdir(folder):  # noqa: PTH110, PTH112 (never raise)
        read.report("invalid", variables.storage, "is no folder", variables.fix)
        return None
    return folder_storage(folder)


def _s3(read: Configuration, variables: Variables, value: str) -> dict[str, Any] | None:
    address, given, wrong = urlsplit("s3://"), {}, ""
    try:
        address = urlsplit(value)
        given = dict(parse_qsl(address.query, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        wrong = "has something behind ? that is no list of NAME=VALUE"
    if "@" in address.netloc or any("key" in name.lower() for name in given):
        read.report(
            "unsafe",
            variables.storage,
            "holds a secret, which lists and messages would show",
            f"Put the keys into {variables.access_key} and {variables.secret_key} instead.",
        )
        return None
    wrong = wrong or _wrong_s3(address.netloc, given)
    if wrong:
        read.report("invalid", variables.storage, wrong, variables.fix)
        return None
    access, secret = read.text(variables.access_key), read.text(variables.secret_key)
    if bool(access) != bool(secret):
        missing = variables.secret_key if access else variables.access_key
        read.missing(missing, f"Set {missing} as well, or neither to use the machine's own role.")
    return {
        "BACKEND": S3_BACKEND,
        "OPTIONS": {
            "bucket_name": address.netloc,
            "location": unquote(address.path).strip("/"),
            "endpoint_url": given.get("endpoint") or None,
            "region_name": given.get("region") or None,
            "addressing_style": given.get("addressing") or None,
            "part_megabytes": int(given.get("part") or 8),
            "access_key": access or None,
            "secret_key": secret or None,
        },
    }


def _wrong_s3(bucket: str, given: dict[str, str]) -> str:
    """Say what is wrong with an address, or nothing."""
    if not bucket:
        return "names no bucket"
    if not _BUCKET.fullmatch(bucket):
        return "names a bucket as none can be called"
    if unknown := sorted(set(given) - set(_S3_OPTIONS)):
        return f"has an option that is none ({', '.join(unknown)}; there are {_choices()})"
    endpoint = urlsplit(given.get("endpoint", "https://aws"))
    if endpoint.scheme not in {"https", "http"} or not endpoint.netloc or "@" in endpoint.netloc:
        return "has an endpoint that is no address such as https://s3.example.com"
    part = given.get("part", "8")
    if not (part.isascii() and part.isdigit() and _PARTS[0] <= int(part) <= _PARTS[1]):
        return f"has a part that is no whole number of megabytes from {_PARTS[0]} to {_PARTS[1]}"
    if given.get("addressing", "path") not in {"path", "virtual", "auto"}:
        return "has an addressing that is neither path, virtual nor auto"
    return ""


def _choices() -> str:
    return ", ".join(_S3_OPTIONS)


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one["BACKEND"] != other["BACKEND"]:
        return False
    first, second = one["OPTIONS"], other["OPTIONS"]
    if one["BACKEND"] == FOLDER_BACKEND:
        first_path, second_path = Path(first["location"]), Path(second["location"])
        return first_path.is_relative_to(second_path) or second_path.is_relative_to(first_path)
    if any(first[key] != second[key] for key in ("bucket_name", "endpoint_url")):
        return False
    paths = [f"{options['location']}/".lstrip("/") for options in (first, second)]
    return paths[0].startswith(paths[1]) or paths[1].startswith(paths[0])
