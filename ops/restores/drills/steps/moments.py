"""What is tried of a moment: recovered from a base and the WAL, and looked at from both sides."""

from __future__ import annotations

from datetime import datetime, timedelta

from ops.backups.comparison import compare
from ops.backups.deepphysical import check_blocks, read_rows
from ops.backups.fingerprint import Fingerprint, fingerprint
from ops.backups.proof import Proof
from ops.models import Run, RunKind
from ops.postgres.endpoint import Endpoint
from ops.progress import Progress
from ops.restores.drills.ladder import SkippedError, Step
from ops.restores.drills.steps.rehearsal import Rehearsal
from ops.restores.errors import UnequalError
from ops.restores.moments.recovering import Reach, Target, reach, recovered
from ops.runs import OWNER, Asker, record

NOW = "now"
# By so much a row's own time may be before its commit, and clocks of two machines apart.
_MARGIN = timedelta(seconds=2)


class MomentRehearsal(Rehearsal):
    """A moment: `now` stands between two rows that are written for it."""

    def __init__(self, text: str, progress: Progress, *, by: Asker) -> None:
        super().__init__(progress)
        self._by = by
        # What is no moment is refused before anything is begun.
        self.target: Target | None = None if text == NOW else Target.parse(text)
        self.reach: Reach | None = None
        if self.target is not None:
            self.reach = reach(self.target, progress)
        self._before: int | None = None
        self._after: int | None = None

    def steps(self) -> list[Step]:
        """Return the ladder of a moment."""
        return [
            Step("reach", "Backups and WAL lead to the moment", self.find, until_usable=True),
            Step("restore", "It is recovered to the moment", self.restore, until_usable=True),
            Step("structure", "Everything is defined as it was", self.structure, True),
            Step("rows", "Every row can be read", self.rows, until_usable=True),
            Step(
                "sides",
                "What was committed just before is there, what came just after is not",
                self.sides,
                until_usable=True,
            ),
            *self.common_steps(),
            Step("blocks", "Every block has its checksum", self.blocks),
        ]

    def find(self) -> str:
        """Find the backups and the WAL; for `now`, commit a row on each side of it first."""
        if self.target is None:
            self._make_witnesses()
        assert self.target is not None
        self.progress.phase("finding backups and WAL")
        self.reach = self.reach or reach(self.target, self.progress)
        return f"{self.reach}."

    def _make_witnesses(self) -> None:
        self.progress.phase("writing a row before and one after")
        self._before = self._witness("before").pk
        with Endpoint.of(OWNER).connect() as connection:
            row = connection.execute("SELECT clock_timestamp()").fetchone()
            # A commit within the same microsecond would be on both sides.
            connection.execute("SELECT pg_sleep(0.01)")
        assert row is not None
        self.target = Target.at(row[0])
        self._after = self._witness("after").pk

    def _witness(self, side: str) -> Run:
        return record(
            RunKind.DRILL,
            f"a witness {side} the moment",
            by=self._by,
            message="Written by a drill, which looks for it in what it restores.",
        )

    def restore(self) -> str:
        """Recover it on a private server."""
        if self.reach is None:
            raise SkippedError("Nothing leads to the moment.")
        private = self.stack.enter_context(recovered(self.reach, self.progress))
        self.holds = private.holds
        self.lend(private)
        return str(private.reached)

    def structure(self) -> str:
        """Compare definitions with the backup's, and with today's where those are others."""
        private = self.private
        self.progress.phase("comparing definitions")
        with private.connect() as connection:
            found = fingerprint(connection)
        told = private.manifest.details.get("fingerprint") if private.manifest else None
        if told and found == Fingerprint.from_json(told):
            return f"{len(found.objects):,} definitions are those of the backup it began from."
        with Endpoint.of(OWNER).connect() as connection:
            today = fingerprint(connection)
        if found == today:
            return f"{len(found.objects):,} definitions are those of today."
        differences = compare(Proof([], [], today), Proof([], [], found), sequences=False)
        raise SkippedError(
            "The schema changed between the backup, the moment and today, so there is nothing to "
            f"hold {len(differences):,} differences against. Take a base backup after migrations."
        )

    def rows(self) -> str:
        """Read every row of every table, as a query would."""
        proofs = read_rows(self.private.place, self.private.name, self.progress)
        rows = sum(each.rows for each in proofs)
        return f"{rows:,} rows in {len(proofs):,} tables were read."

    def sides(self) -> str:
        """Look for the last run before the moment, and for the first after it."""
        private = self.private
        before, after = self._before, self._after
        if before is None:
            before, after = self._runs_beside()
        if before is None or after is None:
            missing = "before" if before is None else "after"
            raise SkippedError(
                f"Nothing is known to have been committed {missing} it: there is no run that was "
                f"asked for {missing} the moment. `manage.py drill --to now` writes a row on each "
                "side of it."
            )
        with private.connect() as connection:
            rows = connection.execute(
                "SELECT id FROM public.ops_run WHERE id = ANY (%s)", [[before, after]]
            ).fetchall()
        there = {number for (number,) in rows}
        if before not in there:
            raise UnequalError(f"Run {before}, committed just before the moment, is not there.")
        if after in there:
            raise UnequalError(f"Run {after}, committed just after the moment, is there.")
        return f"Run {before}, committed just before, is there; run {after}, just after, is not."

    def _runs_beside(self) -> tuple[int | None, int | None]:
        moment = self._moment()
        if moment is None:
            return None, None
        runs = Run.objects.order_by("asked_at", "pk")
        before = runs.filter(asked_at__lt=moment - _MARGIN).last()
        after = runs.filter(asked_at__gt=moment + _MARGIN).first()
        return (before.pk if before else None), (after.pk if after else None)

    def _moment(self) -> datetime | None:
        if self.target is not None and self.target.time is not None:
            return self.target.time
        if self.reach is not None and self.reach.point is not None:
            return self.reach.point.made_at
        return None

    def blocks(self) -> str:
        """Stop the server, and hold every block against its checksum."""
        if not check_blocks(self.private.place, self.progress):
            raise SkippedError("The server it was taken of keeps no checksums of blocks.")
        return "pg_checksums read every block of the stopped server."

    @property
    def wanted(self) -> datetime | None:
        """What a failure then would have lost is counted from the moment asked for."""
        return self._moment()
