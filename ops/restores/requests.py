"""What an operator, a page or the schedule asks for. A run's row keeps it as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

from ops.backups.media_restore.differences import Choices
from ops.models import Run

MODES = ("missing", "changed", "all")


@dataclass(frozen=True)
class _Request:
    """Kept in a run's arguments and read back from there."""

    _tuples: ClassVar[tuple[str, ...]] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what a run's row keeps."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """Return what a run was asked for; what it does not say is as by default."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in run.arguments.items() if name in known}
        return cls(**{**given, **{n: tuple(given[n]) for n in cls._tuples if n in given}})


@dataclass(frozen=True)
class RestoreRequest(_Request):
    """A complete restore. Exactly one of `backup`, `file` and `moment` is set."""

    backup: str = ""  # name in the catalogue
    file: str = ""  # path of a dump that SRVC did not make, or whose manifest lies beside it
    moment: str = ""  # ISO time, WAL position or restore point
    as_name: str = ""  # leave it under this name beside, and swap nothing
    other_environment: bool = False  # a backup of another environment was confirmed
    safety_backup: bool = True  # back up what it replaces
    empty: bool = False  # a backup without rows may replace a database that has some
    despite_invariants: bool = False  # what contradicts an invariant was confirmed
    jobs: int = 2  # sessions of pg_restore


@dataclass(frozen=True)
class MediaRequest(_Request):
    """Uploaded files back. At most one of `backup` and `file`; none: the newest media backup."""

    _tuples: ClassVar[tuple[str, ...]] = ("names",)

    media: bool = True  # tells it from a restore of the database
    backup: str = ""  # name in the catalogue
    file: str = ""  # path of one of our objects or manifests in a folder
    names: tuple[str, ...] = ()  # names, folders or patterns of files; none: every file
    only_missing: bool = False  # a file that is there stays as it is
    exact: bool = False  # files that are not in the backup are removed
    other_environment: bool = False  # a backup of another environment was confirmed
    dry_run: bool = False  # preview only

    @property
    def choices(self) -> Choices:
        """Which files that means."""
        return Choices(self.names, only_missing=self.only_missing, exact=self.exact)


@dataclass(frozen=True)
class RecoverRequest(_Request):
    """A partial recovery. At most one of `backup`, `file`, `moment` and `csv`; none: the newest."""

    _tuples: ClassVar[tuple[str, ...]] = ("tables", "columns", "csv", "keys")

    backup: str = ""
    file: str = ""  # path of a dump that SRVC did not make, or whose manifest lies beside it
    moment: str = ""
    csv: tuple[str, ...] = ()  # TABLE=FILE, the guide's way
    tables: tuple[str, ...] = ()  # names, or schema.name
    subject: str = ""  # name of a Subject: account, customer
    keys: tuple[str, ...] = ()  # which ones, as people name them: an e-mail address, ids
    account: str = ""  # the rows of the subject must belong to it, as people name it
    where: str = ""  # an SQL condition on the one table of `tables`
    columns: tuple[str, ...] = ()  # only these are set back, and only of rows that are there
    mode: str = "missing"  # missing, changed, all (both)
    exact: bool = False  # as `all`, and rows that were not there go; history tables too
    related: bool = True  # rows that belong to the chosen ones come along (lines of an invoice)
    dry_run: bool = False  # preview only


@dataclass(frozen=True)
class DrillRequest(_Request):
    """A rehearsal. At most one of `backup`, `random` and `moment`; none: the newest backup."""

    backup: str = ""
    random: bool = False
    moment: str = ""  # as of a restore, or "now": between two rows written for it
    kind: str = ""  # only of the newest and of random ones
