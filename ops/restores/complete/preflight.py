"""What is known about a complete restore before it begins: what stands in its way, what it does.

Nothing is touched. Everything that can be known now is asked now: an hour later, with the work
done, is a bad moment to learn that a role is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import Error

from ops.backups import keys
from ops.backups.errors import KeyMissingError
from ops.backups.fingerprint import Fingerprint
from ops.backups.inspection import tables_of
from ops.backups.manifest import Manifest
from ops.backups.proof import Proof
from ops.models import BackupKind, BackupState, Restore, RestoreState
from ops.models.backups import PHYSICAL
from ops.postgres.endpoint import Connection, Endpoint
from ops.restores.complete.migrating import known_migrations, pending
from ops.restores.complete.sources import Source
from ops.restores.complete.steps import total_seconds
from ops.restores.errors import RefusedError
from ops.restores.requests import RestoreRequest
from ops.words import ago, duration, size

_GUESS = 30_000_000  # bytes of dump a second, where no restore has been measured yet
_NAMED = 3


@dataclass(frozen=True)
class Question:
    """Something that an operator has to confirm; `option` is the field of RestoreRequest."""

    option: str
    sentence: str


@dataclass(frozen=True)
class Plan:
    """What a restore would do, and what keeps it from doing so."""

    origin: str
    holds: datetime | None
    live: str
    refusals: tuple[str, ...]
    questions: tuple[Question, ...]  # that the request has not answered yet
    notes: tuple[str, ...]
    steps: tuple[str, ...]
    seconds: float | None  # how long it will take, roughly

    def require(self) -> None:
        """Raise RefusedError when something stands in its way, or is not confirmed."""
        if self.refusals:
            raise RefusedError(" ".join(self.refusals))
        if self.questions:
            told = " ".join(
                f"{each.sentence} Confirm that by --{each.option.replace('_', '-')}."
                for each in self.questions
            )
            raise RefusedError(f"{told} Nothing was changed.")

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {**asdict(self), "holds": self.holds.isoformat() if self.holds else None}


def make_plan(
    request: RestoreRequest, source: Source | None, session: Connection, live: Endpoint
) -> Plan:
    """Look at everything that can be known before a restore begins; nothing is touched.

    `source` is None where a backup is to be made of a file or a moment first; `session` is the
    owner's, on the maintenance database. Raises psycopg.Error.
    """
    from ops.restores.complete.servercheck import server_notes, server_refusals

    refusals: list[str] = []
    questions: list[Question] = []
    notes: list[str] = []
    if source is not None:
        refusals += _manifest_refusals(source, request)
        questions += _questions(source.manifest, request, session, live)
        notes += _manifest_notes(source)
    refusals += server_refusals(request, source.manifest if source else None, session, live)
    notes += server_notes(request, source.manifest if source else None, session, live)
    holds = source.holds if source else None
    return Plan(
        origin=source.origin if source else _told_request(request),
        holds=holds,
        live=live.database,
        refusals=tuple(refusals),
        questions=tuple(questions),
        notes=tuple(notes),
        steps=tuple(_steps(request, source, live)),
        seconds=_estimate(source) if source else None,
    )


# --- what the manifest tells -------------------------------------------------------------------


def _manifest_refusals(source: Source, request: RestoreRequest) -> Iterator[str]:
    manifest = source.manifest
    if refusal := _wrong_kind(manifest):
        yield refusal
        return
    if source.row is not None:
        yield from _wrong_state(source)
    yield from _wrong_product(manifest)
    if unknown := sorted(set(manifest.migrations) - known_migrations()):
        yield (
            f"The backup is of a newer version of SRVC than this one: it has {len(unknown):,} "
            f"migrations that this one does not know ({_named(unknown)}). Nothing was changed. "
            "Install the version it was taken with, and restore it there."
        )
    yield from _wrong_key(manifest)
    if request.empty and manifest.kind != BackupKind.SCHEMA:
        yield "--empty is for backups without rows, and this one has some. Nothing was changed."


def _wrong_kind(manifest: Manifest) -> str:
    name = manifest.name
    if manifest.kind in PHYSICAL:
        return (
            f"{name} is a {manifest.kind} backup: of the whole server's files, from which a moment "
            f"is restored. Nothing was changed. Use: manage.py restore --to {manifest.taken_at}"
        )
    if manifest.kind == BackupKind.MEDIA:
        return (
            f"{name} holds uploaded files and no database. Nothing was changed. Use: manage.py "
            f"restore --media {name}"
        )
    if manifest.kind == BackupKind.TABLES:
        return (
            f"{name} holds some tables alone, and would replace a whole database. Nothing was "
            f"changed. Use: manage.py recover {name} --table TABLE"
        )
    if manifest.proof is None:
        return f"The manifest of {name} proves nothing about what is in it. Nothing was changed."
    return ""


def _wrong_state(source: Source) -> Iterator[str]:
    row = source.row
    assert row is not None
    is_copy = "off-site" in source.origin
    if row.disproven_at is not None or (row.state == BackupState.FAILED and not is_copy):
        yield (
            f"{row.name} can't be relied on: {row.state_note or 'a check found it damaged.'} "
            f"Nothing was changed. `manage.py verify {row.name} --deep` looks again; "
            "`manage.py backups` lists the others."
        )
    elif row.state == BackupState.MISSING and not is_copy:
        yield (
            f"{row.name} is missing: {row.state_note} Nothing was changed. If it is there again, "
            f"`manage.py verify {row.name}` says so."
        )


def _wrong_product(manifest: Manifest) -> Iterator[str]:
    assert manifest.proof is not None
    there = {
        f"{schema}.{name}"
        for schema, name in tables_of(Fingerprint.from_json(manifest.proof["fingerprint"]))
    }
    ours = {f"public.{model._meta.db_table}" for model in apps.get_models()}
    if "public.django_migrations" not in there or not there & ours:
        yield (
            f"{manifest.name} is of another product: none of SRVC's tables is in it. Nothing was "
            "changed. A complete restore would take SRVC away; `manage.py recover` takes single "
            "tables out of such a backup."
        )


def _wrong_key(manifest: Manifest) -> Iterator[str]:
    try:
        if manifest.archive.encryption == "age":
            keys.require_identities(manifest.archive.recipients)
    except KeyMissingError as error:
        yield f"{manifest.name} can't be opened here: {error} Nothing was changed."


def _questions(
    manifest: Manifest, request: RestoreRequest, session: Connection, live: Endpoint
) -> Iterator[Question]:
    if manifest.environment != settings.ENVIRONMENT and not request.other_environment:
        yield Question(
            "other_environment",
            f"{manifest.name} is of the environment {manifest.environment}, and this is "
            f"{settings.ENVIRONMENT}: its users, addresses and money would be here.",
        )
    if manifest.kind == BackupKind.SCHEMA and not request.as_name and not request.empty:
        yield Question(
            "empty",
            f"{manifest.name} has no rows: every row of {live.database} would be replaced by "
            "none. (--as NAME restores it beside instead.)",
        )


def _manifest_notes(source: Source) -> Iterator[str]:
    manifest = source.manifest
    now = datetime.now(UTC)
    lost = max((now - source.holds).total_seconds(), 0)
    rows = (
        sum(each.rows for each in Proof.from_json(manifest.proof).tables) if manifest.proof else 0
    )
    yield (
        f"It holds {source.holds:%Y-%m-%d %H:%M:%S} UTC ({ago(source.holds, now)}), {rows:,} rows, "
        f"{size(manifest.archive.raw_size)} of dump. What was written in the {duration(lost)} "
        "since would not be in it."
    )
    if source.row is not None and source.row.state != BackupState.PROVEN:
        yield (
            f"It is {source.row.get_state_display().lower()}, and no restore has proven it yet; "
            "this one compares everything before it takes place."
        )
    if ahead := pending(manifest.migrations):
        yield (
            f"The code is ahead of it: {len(ahead):,} migrations will be applied to what was "
            f"restored ({_named(ahead)})."
        )


# --- what would happen -------------------------------------------------------------------------


def _steps(request: RestoreRequest, source: Source | None, live: Endpoint) -> Iterator[str]:
    if source is None:
        yield f"{_told_request(request)} becomes a backup with proof, on a private server"
    yield "fetch, decrypt and check every byte of the dump"
    yield f"restore it into a new database beside {live.database}, by {request.jobs} sessions"
    yield "compare rows, hashes, sequences, definitions, policies, grants and roles"
    if source is not None and pending(source.manifest.migrations):
        yield "migrate it forward"
    yield "analyze, and ask the invariants"
    if request.as_name:
        yield f"leave it there as {request.as_name}; {live.database} stays as it is"
        return
    yield "refuse writes; pages can still be read"
    if request.safety_backup:
        yield f"back up {live.database} as it is then"
    yield "carry over the catalogue of operations and who is signed in"
    yield (
        f"swap the two by their names, and keep the old one for {settings.RESTORE_KEEP_DAYS} days"
    )


def _told_request(request: RestoreRequest) -> str:
    return f"the moment {request.moment}" if request.moment else f"the file {request.file}"


def _estimate(source: Source) -> float:
    """Guess how long it takes: by what the last one took for its bytes."""
    raw = source.manifest.archive.raw_size
    try:
        last = (
            Restore.objects.filter(state__in=(RestoreState.SWAPPED, RestoreState.BESIDE))
            .exclude(backup=None)
            .select_related("backup")
            .newest_first()
            .first()
        )
    except Error:
        last = None
    if last is not None and last.backup is not None and last.backup.raw_size > 1_000_000:
        return total_seconds(last.phases) * raw / last.backup.raw_size
    return 5 + raw / _GUESS


def _named(names: list[str]) -> str:
    more = f", and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
