"""What pg_restore says of an error, also when its sessions write at the same time."""

from __future__ import annotations

import pytest

from ops.backups.dump_restore.loading import _Said

ENTRY = "pg_restore: from TOC entry 3211; 2606 16500 FK CONSTRAINT invoice invoice_fkey srvc_owner"
ERROR = "could not execute query: ERROR:  the key is not there"
FINISHED = "pg_restore: finished item 2874 CONSTRAINT other other_pkey"


@pytest.mark.parametrize(
    "lines",
    [
        (ENTRY, f"pg_restore: error: {ERROR}"),
        (ENTRY, f"pg_restore: error: {FINISHED}", ERROR),
    ],
)
def test_the_servers_own_words_are_found(lines: tuple[str, ...]) -> None:
    said = _Said()
    for line in (*lines, FINISHED, "ERROR:  a later one"):
        said.take(line)
    error = said.error("pg_restore failed (1)")
    assert error.what.startswith("FK CONSTRAINT invoice")
    assert error.reason == "the key is not there"
