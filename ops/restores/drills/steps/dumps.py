"""What is tried of a dump, and of uploaded files: read, restored, every number compared."""

from __future__ import annotations

from datetime import datetime

from ops.backups.comparison import Difference
from ops.backups.deep import (
    JOBS,
    RestoredDump,
    disproven,
    prove,
    restored,
    set_up_differs,
    told_limits,
)
from ops.backups.errors import DamagedError
from ops.backups.inspection import Inspection, inspect, read_manifest
from ops.backups.proof import Proof
from ops.backups.scratch import Scratch
from ops.models import Backup, BackupKind
from ops.progress import Progress
from ops.restores.drills.ladder import SkippedError, Step
from ops.restores.drills.steps.rehearsal import BackupRehearsal
from ops.restores.private import PrivateDatabase


class ReadRehearsal(BackupRehearsal):
    """A backup that is one object, read to its last byte."""

    def __init__(self, backup: Backup, progress: Progress) -> None:
        super().__init__(backup, progress)
        self._seen: Inspection | None = None

    def steps(self) -> list[Step]:
        """Return the two steps of reading."""
        return [
            Step("ended", "The backup was ended in order", self.ended, until_usable=True),
            Step("checksum", "Every byte is as it was stored", self.checksum, until_usable=True),
        ]

    @property
    def seen(self) -> Inspection:
        """What reading every byte told. Raises SkippedError when that was not possible."""
        if self._seen is None:
            raise SkippedError("It could not be read.")
        return self._seen

    def ended(self) -> str:
        """A backup has a manifest only when every program that made it ended well."""
        self.progress.phase("reading the manifest")
        self._manifest = read_manifest(self.backup.name, self.vault)
        self.holds = datetime.fromisoformat(self._manifest.taken_at)
        many = (
            "1 object"
            if len(self._manifest.objects) == 1
            else (f"{len(self._manifest.objects)} objects")
        )
        return f"Its manifest is signed by us and tells of {many}."

    def checksum(self) -> str:
        """Read every byte; a dump is also scanned by the pg_restore that would restore it."""
        seen = inspect(self.manifest.name, self.vault, self.progress)
        if seen.unread:
            raise SkippedError(seen.unread)
        self._seen = seen
        size = sum(each.size for each in self.manifest.objects)
        return f"{size:,} bytes, decrypted, unpacked and read to the last one."


class FilesRehearsal(ReadRehearsal):
    """Uploaded files, restored into a folder of ours."""

    def steps(self) -> list[Step]:
        """Return reading, and restoring as `restore --media` does."""
        restore = Step("restore", "Every file comes back as it was", self.restore, True)
        return [*super().steps(), restore]

    def restore(self) -> str:
        """Restore them beside, and compare each."""
        return prove(self.seen, self.vault, self.progress)


class DumpRehearsal(ReadRehearsal):
    """A dump, restored into a private database."""

    def __init__(
        self, backup: Backup, progress: Progress, *, server: Scratch | None = None
    ) -> None:
        super().__init__(backup, progress)
        self._server = server  # a scratch one; else one is made
        self._restored: RestoredDump | None = None
        self._differences: list[Difference] | None = None

    def steps(self) -> list[Step]:
        """Return the ladder of this kind of dump."""
        kind = self.backup.kind
        found = [
            *super().steps(),
            Step("restore", "It can be restored", self.restore, until_usable=True),
        ]
        if kind != BackupKind.TABLES:
            found.append(Step("structure", "Everything is defined as it was", self.structure, True))
        if kind == BackupKind.SCHEMA:
            return found
        found += [
            Step("rows", "Every table has as many rows as it had", self.rows, until_usable=True),
            Step("content", "Every row is what it was", self.content, until_usable=True),
        ]
        if kind == BackupKind.TABLES:
            return [*found, self.common_steps()[0]]
        return [*found, *self.common_steps()]

    @property
    def expected(self) -> Proof:
        """What its manifest proves. Raises DamagedError."""
        if self.manifest.proof is None:
            raise DamagedError(f"The manifest of {self.manifest.name} proves nothing.")
        return Proof.from_json(self.manifest.proof)

    @property
    def restored(self) -> RestoredDump:
        """The database. Raises SkippedError while there is none."""
        if self._restored is None:
            raise SkippedError("Nothing was restored that this could be tried on.")
        return self._restored

    def restore(self) -> str:
        """Restore it into a database of a server that nobody else can reach."""
        manifest = self.seen.manifest
        place = self.stack.enter_context(
            restored(self.seen, self.vault, self.progress, server=self._server)
        )
        self._restored = place
        self.lend(
            PrivateDatabase(
                place=place.server,
                name=place.database,
                origin=f"the backup {manifest.name}",
                holds=self.holds,
                manifest=manifest,
            )
        )
        with place.server.connect(place.database) as connection:
            version = connection.info.server_version // 10_000
        notes = "".join(f", {note}" for note in place.notes)
        limits = told_limits(manifest)
        return f"pg_restore put it into a PostgreSQL {version} of its own{notes}.{limits}"

    def structure(self) -> str:
        """Compare definitions, rights, policies, roles and the database's own settings."""
        self.progress.phase("comparing definitions")
        place = self.restored
        found = place.restored.read_definitions()
        differences = place.restored.definitions_differ(found) + set_up_differs(place)
        if differences:
            raise disproven(differences)
        return f"{len(found.objects):,} definitions, rights and policies among them, are equal."

    def rows(self) -> str:
        """Read every row once; counts now, and the content for the next step."""
        found = self.restored.restored.read(self.progress, jobs=JOBS, definitions=False)
        self._differences = self.restored.restored.rows_differ(found)
        counts = [str(each) for each in self._differences if each.what != "content"]
        if counts:
            raise disproven([str(each) for each in self._differences])
        rows = sum(each.rows for each in found.tables)
        return (
            f"{rows:,} rows in {len(found.tables):,} tables, and {len(found.sequences):,} "
            "sequences that never give a number twice."
        )

    def content(self) -> str:
        """Compare the hashes of all rows."""
        if self._differences is None:
            raise SkippedError("The rows could not be read.")
        if self._differences:
            raise disproven([str(each) for each in self._differences])
        return (
            f"{len(self.expected.tables):,} tables have the content hashes they were dumped with."
        )
