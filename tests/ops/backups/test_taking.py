"""A backup as it is taken: what is stored, what is recorded, what it proves."""

from __future__ import annotations

import io

from ops.backups.incoming import receive
from ops.backups.manifest import Manifest
from ops.models import BackupState, Run, RunStatus
from tests.ops.backups.conftest import SIGNING_KEY, Backups


def test_a_full_backup_is_a_dump_with_its_signed_manifest_and_a_row(backups: Backups) -> None:
    backups.execute("CREATE TABLE public.loose AS SELECT n FROM generate_series(1, 1000) AS n")
    backups.execute("ALTER TABLE public.loose OWNER TO srvc_owner")

    taken = backups.take()

    assert backups.stored == [
        f"manifests/{taken.name}.json",
        f"{taken.name}.dump.zst.age",
        f"{taken.name}.dump.zst.age.metadata",
    ]
    content = (backups.folder / f"manifests/{taken.name}.json").read_bytes()
    manifest = Manifest.read(content, [SIGNING_KEY], name=taken.name)
    assert manifest.proof is not None
    rows = {table["name"]: table["rows"] for table in manifest.proof["tables"]}
    assert rows["loose"] == 1000
    assert taken.rows == sum(rows.values())
    assert taken.tables == len(rows)
    assert taken.state == BackupState.TAKEN
    assert taken.encryption == "age"
    sink = io.BytesIO()
    with (backups.folder / manifest.archive.name).open("rb") as source:
        arrived = receive(source, manifest.archive, sink)
    assert sink.getvalue()[:5] == b"PGDMP"
    assert (arrived.size, arrived.raw_size) == (taken.size, taken.raw_size)
    run = Run.objects.get()
    assert (run.status, run.backup, run.message) == (
        RunStatus.DONE,
        taken,
        f"{taken.name} is taken.",
    )


def test_several_sessions_prove_what_one_does(backups: Backups) -> None:
    backups.execute("CREATE TABLE public.loose AS SELECT n FROM generate_series(1, 5000) AS n")
    backups.execute("ALTER TABLE public.loose OWNER TO srvc_owner")

    def proven(jobs: int) -> list[object]:
        proof = backups.take(kind="data", jobs=jobs).manifest["proof"]
        # What backups themselves write is another thing each time.
        return [each for each in proof["tables"] if not each["name"].startswith("ops_")]

    assert proven(4) == proven(1)
