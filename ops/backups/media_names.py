"""Names of uploaded files: which of them a restore can put back."""

from __future__ import annotations

import re
import secrets
from pathlib import PurePosixPath

_LONGEST = 4_096  # characters of a name; longer ones are no file's
_UNFINISHED = re.compile(r"\.srvc-restore-[0-9a-f]{16}\Z")


def is_restorable(name: str) -> bool:
    """Tell whether a name stays below the folder of uploaded files, as it is written."""
    return (
        0 < len(name) <= _LONGEST
        and "\0" not in name
        and not name.startswith("/")
        and name != "."
        and str(PurePosixPath(name)) == name
        and ".." not in name.split("/")
    )


def unfinished_name() -> str:
    """Return what a file is called in its folder until it is whole: each time another name."""
    return f".srvc-restore-{secrets.token_hex(8)}"


def is_unfinished(name: str) -> bool:
    """Tell whether a name is one that a killed restore left behind."""
    return _UNFINISHED.match(name.rpartition("/")[2]) is not None
