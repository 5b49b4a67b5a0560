"""What is tried of a copy of the server's files: combined, started, recovered, every block read."""

from __future__ import annotations

from datetime import datetime

from ops.backups.deep import disproven
from ops.backups.deepphysical import (
    check_blocks,
    definitions_differ,
    let_in,
    read_rows,
    require_recovered,
    require_same_major,
    size_of_databases,
    start,
    witness_missing,
)
from ops.backups.errors import KeyMissingError
from ops.backups.inspection import inspect, read_manifest, require_told_size
from ops.backups.unpacking import Unpacked, unpacked
from ops.models import Backup, Run
from ops.progress import Progress
from ops.restores.drills.ladder import SkippedError, Step
from ops.restores.drills.steps.rehearsal import BackupRehearsal
from ops.restores.private import PrivateDatabase


class CopyRehearsal(BackupRehearsal):
    """A base or incremental backup, started on a server of its own."""

    def __init__(self, backup: Backup, progress: Progress) -> None:
        super().__init__(backup, progress)
        self._unpacked: Unpacked | None = None

    def steps(self) -> list[Step]:
        """Return the ladder of a physical backup."""
        return [
            Step("ended", "The backup was ended in order", self.ended, until_usable=True),
            Step("checksum", "Every file is as the server wrote it", self.checksum, True),
            Step("restore", "It starts and recovers", self.restore, until_usable=True),
            Step(
                "structure", "Everything is defined as it was", self.structure, True, may_lack=True
            ),
            Step("rows", "Every row can be read", self.rows, until_usable=True),
            Step(
                "sides",
                "It ends where it should, no sooner and no later",
                self.sides,
                True,
                may_lack=True,
            ),
            *self.common_steps(),
            Step("blocks", "Every block has its checksum", self.blocks, may_lack=True),
        ]

    def ended(self) -> str:
        """A backup has a manifest only when every program that made it ended well."""
        self.progress.phase("reading the manifest")
        manifest = read_manifest(self.backup.name, self.vault)
        self._manifest = manifest
        self.holds = datetime.fromisoformat(
            manifest.details.get("whole_at") or manifest.finished_at
        )
        return "Its manifest is signed by us."

    def checksum(self) -> str:
        """pg_verifybackup of every link: combining would hide a damaged one."""
        manifest = self.manifest
        for stored in manifest.objects:
            require_told_size(self.vault, stored)
        try:
            found = self.stack.enter_context(
                unpacked(manifest, self.vault, self.progress, more_room=size_of_databases(manifest))
            )
        except KeyMissingError:
            # No key is needed to tell whether the bytes are those that were stored.
            seen = inspect(manifest.name, self.vault, self.progress)
            raise SkippedError(seen.unread or "Nothing here can decrypt it.") from None
        self._unpacked = found
        many = "1 link" if len(found.links) == 1 else f"{len(found.links)} links"
        return f"{many}, each unpacked and found whole by pg_verifybackup."

    def restore(self) -> str:
        """Combine the links, start PostgreSQL on the result, and let it recover."""
        if self._unpacked is None:
            raise SkippedError("It could not be unpacked.")
        manifest, place = self.manifest, self._unpacked.place
        require_same_major(manifest)
        start(manifest, self._unpacked, self.progress)
        with let_in(manifest), place.connect() as connection:
            require_recovered(manifest, connection)
        name = str(manifest.database["name"])
        with let_in(manifest):
            place.connect(name).close()
        self.lend(
            PrivateDatabase(
                place=place,
                name=name,
                origin=f"the backup {manifest.name}",
                holds=self.holds,
                manifest=manifest,
            )
        )
        return f"It recovered to {manifest.wal['stop_lsn']}, where it is whole."

    def structure(self) -> str:
        """Compare definitions with those that were read when it was taken."""
        self.progress.phase("comparing definitions")
        with self.private.connect() as connection:
            differences = definitions_differ(self.manifest, connection)
        if differences:
            raise disproven(differences)
        told = self.manifest.details.get("fingerprint")
        if told is None:
            raise SkippedError(
                "Definitions changed while it was taken, so its manifest does not tell them."
            )
        return f"{len(told['objects']):,} definitions are equal."

    def rows(self) -> str:
        """Read every row of every table, as a query would."""
        proofs = read_rows(self.private.place, self.private.name, self.progress)
        rows = sum(each.rows for each in proofs)
        return f"{rows:,} rows in {len(proofs):,} tables were read."

    def sides(self) -> str:
        """A row written just before it began is there; those written after its end are not."""
        manifest = self.manifest
        with self.private.connect() as connection:
            differences = witness_missing(manifest, connection)
            later = list(
                Run.objects.filter(asked_at__gt=datetime.fromisoformat(manifest.finished_at))
                .order_by("asked_at")
                .values_list("pk", flat=True)[:1000]
            )
            rows = connection.execute(
                "SELECT id FROM public.ops_run WHERE id = ANY (%s) ORDER BY id", [later]
            ).fetchall()
        differences += [
            f"Run {number} is in it, which was asked for after it ended." for (number,) in rows
        ]
        if differences:
            raise disproven(differences)
        if manifest.details.get("witness") is None:
            raise SkippedError("Its manifest names no row that was written before it began.")
        return (
            f"Run {manifest.details['witness']}, written before it began, is in it; of "
            f"{len(later):,} asked for since it ended, none is."
        )

    def blocks(self) -> str:
        """Stop the server, and hold every block against its checksum."""
        place = self.private.place
        if not check_blocks(place, self.progress):
            raise SkippedError("The server it was taken of keeps no checksums of blocks.")
        return "pg_checksums read every block of the stopped server."
