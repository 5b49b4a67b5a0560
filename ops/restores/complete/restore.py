"""A complete restore: beside first, compared there, swapped in last; the way back stays open.

Reads and writes go on until everything that can be known about the restored data is known. What
users write from then on is refused until the swap, and what they wrote before it is in the backup
that is taken first, and in the old database, which is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.db import Error
from psycopg import sql

from ops.backups.deep import schema_of
from ops.backups.dump_restore.extensions import SCHEMAS_DETAIL, fits_template
from ops.backups.dump_restore.procedure import Dump, Target
from ops.backups.errors import CannotProveError
from ops.backups.manifest import Manifest
from ops.backups.proof import Proof
from ops.backups.vault import Vault
from ops.errors import OpsError
from ops.models import BackupKind, Restore, RestoreState, Run, RunKind
from ops.postgres import server
from ops.postgres.endpoint import Connection, Endpoint
from ops.postgres.roles import MAINTENANCE_DATABASE
from ops.progress import Counter, Progress, Several
from ops.restores import approval
from ops.restores.complete.administrator import administrator, create_missing_roles
from ops.restores.complete.afterwards import analyze, ask_invariants, require_true
from ops.restores.complete.beside import database_beside, name_beside, remove_left_overs
from ops.restores.complete.fetching import fetch, private_folder
from ops.restores.complete.job import Job
from ops.restores.complete.loading import LackOfRightsError, load, require_equal
from ops.restores.complete.lock import one_restore_at_a_time
from ops.restores.complete.migrating import enter_migrations, migrate_forward, pending
from ops.restores.complete.preflight import Plan, make_plan
from ops.restores.complete.properties import adopt_properties
from ops.restores.complete.servercheck import require_no_backup_running
from ops.restores.complete.sources import Source, known_source, open_source
from ops.restores.complete.steps import Steps
from ops.restores.complete.takeplace import take_place
from ops.restores.errors import RefusedError
from ops.restores.requests import RestoreRequest
from ops.runs import OWNER, Asker, ask, refresh_connection, running


def ask_for_restore(request: RestoreRequest, *, by: Asker) -> Run:
    """Record that somebody wants the database restored. Nothing is done yet.

    Raises OpsError when that backup does not exist or can't be trusted.
    """
    source = known_source(request)
    subject = source.origin if source else request.moment or request.file
    backup = source.row if source else None
    return ask(RunKind.RESTORE, subject, by=by, arguments=request.as_json(), backup=backup)


def dry_run(request: RestoreRequest, progress: Progress | None = None) -> Plan:
    """Return what a restore would do and what stands in its way, touching nothing. Raises OpsError.

    A backup that has to be made of a file or a moment first is not made for it.
    """
    (progress or Counter()).phase("looking ahead")
    live = Endpoint.of(OWNER)
    source = known_source(request)
    if source is None and request.moment:
        from ops.restores.moments.reach import reach
        from ops.restores.moments.targets import Target

        reach(Target.parse(request.moment))
    with live.at(MAINTENANCE_DATABASE).connect() as session:
        return make_plan(request, source, session, live)


def restore(run: Run, progress: Progress | None = None) -> Restore:
    """Restore what a run asks for; return the row that says what became of it.

    Raises OpsError: the live database is as it was then, and what was begun is removed.
    """
    told = progress or Counter()
    approval.require(run, told)
    request, live = RestoreRequest.of_run(run), Endpoint.of(OWNER)
    with running(run) as own, one_restore_at_a_time(live, run) as session:
        told = Several(own, told)
        clean_up(session, live, told)
        if not request.as_name and request.safety_backup:
            require_no_backup_running()
        row = Restore.objects.create(
            run=run, backup=run.backup, origin=run.subject, database=live.database
        )
        by = Asker(run.asked_by, run.via, run.asked_by_user_id)
        job = Job(request, live, str(row.pk), by, told, Steps(told, _nowhere), session, row)
        job.steps = Steps(told, lambda done: job.keep(phases=done))
        with _recorded(job):
            carry_out(job)
        row = Restore.objects.get(pk=row.pk)
        own.say(row.note)
    return row


def clean_up(session: Connection, live: Endpoint, progress: Progress) -> None:
    """Remove what a killed restore left, and end its row; only who holds the lock may."""
    begun: list[str] = []
    with suppress(Error):
        rows = Restore.objects.filter(database=live.database, state=RestoreState.PREPARING)
        begun = list(rows.exclude(beside="").values_list("beside", flat=True))
    for left in remove_left_overs(session, live, begun):
        progress.say(left)
    with suppress(Error):
        rows.update(
            state=RestoreState.FAILED,
            note="Its process died before the swap. The live database was not touched, and what "
            "it had begun is removed.",
            beside="",
        )


def carry_out(job: Job) -> None:
    """Do all of it; `job.row`, where there is one, is kept up to date. Raises OpsError."""
    with private_folder(job.mark) as folder:
        source = _source(job, folder)
        name = name_beside(job.live.database, "restore", job.mark)
        job.source, job.origin, job.holds = source, source.origin, source.holds
        job.keep(origin=source.origin[:500], holds=source.holds, backup=source.row, beside=name)
        try:
            _carry_out_beside(job, source, folder, name)
        except LackOfRightsError as error:
            # Its manifest did not say so: one of an older version, or a rule that we don't know.
            if administrator() is None:
                raise
            job.told.say(f"{error} It begins again with the administrator's login.")
            with private_folder(job.mark) as again:
                _carry_out_beside(job, source, again, name, by_administrator=True)


def _carry_out_beside(
    job: Job, source: Source, folder: Path, name: str, *, by_administrator: bool = False
) -> None:
    from_template = fits_template(source.manifest.details.get(SCHEMAS_DETAIL, {}))
    with database_beside(job.session, job.live, name, from_template=from_template) as beside:
        prepare(job, source, folder, beside, by_administrator=by_administrator)
        if job.request.as_name:
            _leave_beside(job, beside)
        else:
            take_place(job, source, beside)


def prepare(
    job: Job, source: Source, folder: Path, beside: Endpoint, *, by_administrator: bool = False
) -> None:
    """Restore a backup into an empty database beside, and prove that it is what it was."""
    manifest, jobs = source.manifest, job.request.jobs
    expected_rows = manifest.kind in {BackupKind.FULL, BackupKind.DATA}
    schema = _schema(source) if manifest.kind == BackupKind.DATA else None
    with job.steps.step("fetched") as step:
        dump = Dump(manifest, fetch(manifest, source.vault, folder / "dump", job.told))
        other = Dump(schema[0], fetch(*schema, folder / "schema", job.told)) if schema else None
        step.found = f"{manifest.archive.raw_size:,} bytes, as they were stored"
    with job.steps.step("restored") as step:
        made = create_missing_roles(job.session, manifest, administrator())
        loaded = load(
            dump, other, Target(beside, administrator(), by_administrator), job.told, jobs=jobs
        )
        notes = [f"the roles {', '.join(made)} were made"] if made else []
        notes += [f"rows into the schema of {schema[0].name}"] if schema else []
        step.found = "; ".join([*notes, *loaded.notes])
        for each in filter(None, (dump, other)):
            each.file.unlink()
    with job.steps.step("compared") as step:
        step.found = str(require_equal(loaded.login, manifest, job.told, jobs=jobs))
    ahead = pending(manifest.migrations)
    if not job.request.as_name and (ahead or not expected_rows):
        with job.steps.step("migrated forward") as step:
            if not expected_rows:
                enter_migrations(beside, manifest.migrations)
            migrate_forward(beside, job.told, expected=len(ahead))
            step.found = f"{len(ahead):,} migration{'' if len(ahead) == 1 else 's'}"
    # Before the invariants, which join large tables.
    with job.steps.step("analyzed") as step:
        step.found = " ".join(analyze(loaded.login, job.told, jobs=jobs))
        job.warnings = [step.found] if step.found else []
    with job.steps.step("invariants") as step:
        step.found = _invariants(job, beside, ahead)


def _source(job: Job, folder: Path) -> Source:
    """Return what to restore from, once nothing that can be known stands in the way."""
    source = job.source or known_source(job.request)
    with job.steps.step("looked ahead"):
        make_plan(job.request, source, job.session, job.live).require()
    if source is None:
        with job.steps.step("made into a backup") as step:
            source = open_source(job.request, folder / "made", job.told)
            step.found = source.origin
        make_plan(job.request, source, job.session, job.live).require()
    return source


def _schema(source: Source) -> tuple[Manifest, Vault]:
    """Return the backup whose definitions rows alone are restored into. Raises RefusedError."""
    manifest = source.manifest
    assert manifest.proof is not None  # looked at ahead
    try:
        return schema_of(manifest, Proof.from_json(manifest.proof))
    except CannotProveError:
        raise RefusedError(
            f"{manifest.name} holds rows without definitions, and no schema-only or full backup of "
            "the same schema is in the catalogue to restore them into. The live database was not "
            "touched. Restore a full backup instead."
        ) from None


def _invariants(job: Job, beside: Endpoint, ahead: list[str]) -> str:
    if job.request.as_name and ahead:
        return "not asked: they speak of the schema of today"
    outcomes = ask_invariants(beside, job.told)
    if job.request.as_name or job.request.despite_invariants:
        wrong = [str(each) for each in outcomes if each.contradictions]
        return " ".join(wrong) or require_true(outcomes)
    return require_true(outcomes)


def _leave_beside(job: Job, beside: Endpoint) -> None:
    name, live = job.request.as_name, job.live.database
    with job.steps.step("named"):
        job.warnings += adopt_properties(job.session, live, beside.database, known_as=name)
        # Without our mark nothing of ours takes it for something to clean up.
        job.session.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(beside.database), sql.Literal(f"Restored from {job.origin}")
            )
        )
        server.rename_database(job.session, beside.database, name)
    job.note = (
        f"Restored beside as {name}, and {_compared(job.steps)}. {live} is as it was. Nobody "
        f"drops {name} but you."
    )
    job.note = " ".join([job.note, *job.warnings])
    job.keep(state=RestoreState.BESIDE, beside=name, note=job.note)


def _compared(steps: Steps) -> str:
    return next((each["found"] for each in steps.done if each["name"] == "compared"), "")


@contextmanager
def _recorded(job: Job) -> Iterator[None]:
    """Say in the row why a restore failed, whatever ended it."""
    try:
        yield
    except OpsError as error:
        _failed(job, str(error))
        raise
    except Exception:
        _failed(job, "It crashed; the log says where. The live database was not touched.")
        raise
    except BaseException:
        _failed(job, "It was interrupted. The live database was not touched.")
        raise


def _failed(job: Job, note: str) -> None:
    # The server may be what failed; the next restore ends the row then.
    with suppress(Error):
        refresh_connection()
        rows = Restore.objects.filter(pk__in=[job.row.pk] if job.row else [])
        # One that was swapped in has not failed, whatever came after.
        rows.filter(state=RestoreState.PREPARING).update(
            state=RestoreState.FAILED, note=note, beside=""
        )


def _nowhere(done: list[dict[str, Any]]) -> None:
    """No row keeps them yet."""
