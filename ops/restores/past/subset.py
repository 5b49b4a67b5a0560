"""Some tables of a dump, or some of their rows, on a private server: the rest is read past.

The dump streams through pg_restore, which writes out definitions and the wanted tables' rows, and
on into psql. No index and no key is built. Where only some rows are wanted, `rowfilter` stands in
between. The object's every byte is held against its manifest meanwhile.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from psycopg.conninfo import make_conninfo

from ops.backups.comparison import compare
from ops.backups.deep import asked_to_stop, counted
from ops.backups.dump_restore.errors import LACKING
from ops.backups.dumpreading import made_by, restore_program
from ops.backups.errors import DisprovenError
from ops.backups.fingerprint import Fingerprint
from ops.backups.manifest import Manifest
from ops.backups.placement import gathered, rehashed_partitions
from ops.backups.proof import Proof, TableProof
from ops.backups.proving import table_proofs
from ops.backups.receiving import receive_from
from ops.backups.scratch import Scratch
from ops.backups.vault import Vault
from ops.backups.watch import watched
from ops.postgres import tools
from ops.postgres.errors import ToolError
from ops.postgres.processes import StreamingProcess
from ops.progress import Progress
from ops.restores.diff.pairing import TableName
from ops.restores.errors import RestoreError
from ops.restores.past import rowfilter
from ops.restores.past.pipeline import Input, behind, pipe
from ops.restores.past.toc import ENTRY, contents

_FINISH = 24 * 3600.0  # seconds that a program may take once its input is at its end
_ROWS = "TABLE DATA "
_SEQUENCE = "SEQUENCE SET "
_ATTACHED = "TABLE ATTACH "
_SHOWN = 5  # differences told in a sentence
# As COPY writes them.
_ESCAPED = str.maketrans(
    {
        "\\": "\\\\",
        **{letter: f"\\{sign}" for letter, sign in zip("\t\n\r\b\f\v", "tnrbfv", strict=True)},
    }
)


@dataclass(frozen=True)
class Filter:
    """Only those rows are wanted whose column has one of these values."""

    column: str
    values: frozenset[str]  # as text
    or_null: bool = False


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a dump."""

    tables: Collection[TableName] | None = None  # that hold rows themselves; None: all
    filters: Mapping[TableName, Filter] = field(default_factory=dict)
    # With a partitioned table come partitions that it had then: attached ones that are none today.
    with_former_partitions: bool = False
    known: Collection[TableName] = frozenset()  # the tables of today

    def includes(self, table: TableName) -> bool:
        """Whether rows of a table are wanted."""
        return self.tables is None or table in self.tables


def fill_subset(
    place: Scratch,
    database: str,
    source: tuple[Manifest, Vault],
    schema: tuple[Manifest, Vault] | None,
    wanted: Wanted,
    progress: Progress,
) -> None:
    """Read what is wanted of a dump into an empty database, and hold it against its proof.

    `schema` is the backup that has the definitions, where the dump has none. Raises DisprovenError
    and DamagedError when it is not what its manifest says, RestoreError when it can't be read here,
    and KeyMissingError.
    """
    progress.phase("reading the table of contents")
    if schema is not None:
        definitions, _ = contents(schema, progress)
        _stream(place, database, schema, definitions, Wanted(), progress)
        wanted = _with_former_partitions(wanted, source[0], definitions)
        definitions, rows = [], contents(source, progress)[1]
    else:
        definitions, rows = contents(source, progress)
        wanted = _with_former_partitions(wanted, source[0], definitions)
    entries = [*definitions, *filter(_chosen(wanted), rows)]
    passed = _stream(place, database, source, entries, wanted, progress)
    _require_proven(place, database, source[0], wanted, passed, progress)


def _with_former_partitions(
    wanted: Wanted, manifest: Manifest, definitions: Sequence[str]
) -> Wanted:
    if wanted.tables is None or not wanted.with_former_partitions or manifest.proof is None:
        return wanted
    whats = [entry["what"] for line in definitions if (entry := ENTRY.match(line))]
    attached = {what for what in whats if what.startswith(_ATTACHED)}
    former = {
        name
        for each in Proof.from_json(manifest.proof).tables
        if (name := (each.schema, each.name)) not in wanted.known
        and any(
            what.startswith(f"{_ATTACHED}{' '.join(map(_on_a_line, name))} ") for what in attached
        )
    }
    return replace(wanted, tables=former.union(wanted.tables))


def _chosen(wanted: Wanted) -> Callable[[str], bool]:
    """Return what tells whether a line of the table of contents is one of rows that are wanted."""
    beginnings = None
    if wanted.tables is not None:
        beginnings = tuple(f"{_ROWS}{' '.join(map(_on_a_line, name))} " for name in wanted.tables)

    def is_chosen(line: str) -> bool:
        entry = ENTRY.match(line)
        what = entry["what"] if entry else ""
        if what.startswith(_SEQUENCE):
            return True
        return what.startswith(_ROWS if beginnings is None else beginnings)

    return is_chosen


# --- what is wanted of it -----------------------------------------------------------------------


def _stream(
    place: Scratch,
    database: str,
    source: tuple[Manifest, Vault],
    entries: Sequence[str],
    wanted: Wanted,
    progress: Progress,
) -> dict[TableName, int]:
    """Run entries of a dump in a database; return how many rows of filtered tables passed by."""
    manifest, vault = source
    progress.phase("reading the dump", manifest.archive.size, "bytes")
    listed, rules, told = (place.folder / name for name in ("entries", "rules", "passed"))
    listed.write_text("".join(f"{line}\n" for line in entries))
    rules.write_text(json.dumps(_rules(wanted)))
    told.unlink(missing_ok=True)
    errors: list[str] = []

    def listen(line: str) -> None:
        if "ERROR: " in line or "error: " in line:
            errors.append(line)

    with ExitStack() as stack:
        read, write = pipe()
        feed = stack.enter_context(write)
        with read:
            reader = stack.enter_context(
                StreamingProcess(
                    restore_program(made_by(manifest)),
                    f"--use-list={listed}",
                    "--no-owner",
                    "--no-privileges",
                    "--file=-",
                    environment=tools.environment(),
                    stdin=read,
                    on_line=listen,
                )
            )
        programs = [reader]
        if wanted.filters:
            programs.append(
                behind(
                    stack,
                    reader,
                    Path(sys.executable),
                    "-I",
                    "-S",
                    rowfilter.__file__,
                    rules,
                    told,
                    on_line=listen,
                )
            )
        programs.append(
            behind(
                stack,
                programs[-1],
                _psql(place),
                "--no-psqlrc",
                "--quiet",
                "--no-password",
                "--set=ON_ERROR_STOP=1",
                "--output=/dev/null",
                f"--dbname={_address(place, database)}",
                on_line=listen,
            )
        )
        watch = stack.enter_context(watched(progress.check))
        for each in programs:
            watch.stop_by(each.kill)
        receive_from(vault, manifest.archive, Input(feed), progress)
        progress.phase("waiting for the rows")
        with suppress(BrokenPipeError):
            feed.close()
        programs[-1].stdout.read()
        for each in reversed(programs):
            try:
                each.finish(_FINISH)
            except ToolError as error:
                progress.check()
                raise _told(manifest, errors or [str(error)]) from None
    if not wanted.filters:
        return {}
    return {(schema, name): rows for schema, name, rows in json.loads(told.read_text())}


def _psql(place: Scratch) -> Path:
    with place.connect() as connection:
        return tools.find("psql", connection.info.server_version // 10000)


def _address(place: Scratch, database: str) -> str:
    address = {key: str(value) for key, value in place.server.connection.items()}
    return make_conninfo(**{**address, "dbname": database})


def _told(manifest: Manifest, errors: Sequence[str]) -> RestoreError | DisprovenError:
    error = next((each for each in errors if "ERROR: " in each), errors[0])
    said = error.rpartition("ERROR: ")[2].removeprefix("pg_restore: error: ").strip().rstrip(".")
    if LACKING.search(said):
        return RestoreError(
            f"{manifest.name} can't be read on this machine: {said}. Nothing live was touched."
        )
    return DisprovenError(f"{manifest.name} can't be restored: {said}.")


def _rules(wanted: Wanted) -> list[tuple[str, str, str, list[str]]]:
    """Return the filters as rowfilter reads them: values as COPY writes them."""
    found = []
    for (schema, name), each in wanted.filters.items():
        values = [value.translate(_ESCAPED) for value in sorted(each.values)]
        found.append((schema, name, each.column, [*values, "\\N"] if each.or_null else values))
    return found


def _on_a_line(name: str) -> str:
    """Return a name as pg_restore lists it."""
    return name.replace("\n", " ").replace("\r", " ")


# --- whether it is what was proven ----------------------------------------------------------------


def _require_proven(
    place: Scratch,
    database: str,
    manifest: Manifest,
    wanted: Wanted,
    passed: Mapping[TableName, int],
    progress: Progress,
) -> None:
    """Hold the tables that were read against the manifest: of filtered ones, the rows that passed.

    Raises DisprovenError.
    """
    if manifest.proof is None:
        return
    expected = [
        each
        for each in Proof.from_json(manifest.proof).tables
        if wanted.includes((each.schema, each.name)) and each.schema != "pg_catalog"
    ]
    with place.connect(database) as connection:
        rehashed = rehashed_partitions(connection)
        # Loaded through their whole table, rows of a partition pass by under that table's name.
        filtered = wanted.filters.keys() & passed.keys()
        whole = [each for each in expected if (each.schema, each.name) not in filtered]
        progress.phase("comparing", len(whole), "tables")
        found = table_proofs(
            connection, whole, on_table=counted(progress), cancelled=asked_to_stop(progress)
        )
    found += [
        TableProof(each.schema, each.name, passed.get((each.schema, each.name), 0), each.content)
        for each in expected
        if (each.schema, each.name) in filtered
    ]
    expected, found = gathered(expected, rehashed), gathered(found, rehashed)
    nothing = Fingerprint({})
    differences = compare(Proof(expected, [], nothing), Proof(found, [], nothing), schema=False)
    if differences:
        raise DisprovenError(
            f"Read from {manifest.name}, its tables are not what its manifest says. "
            f"{' '.join(map(str, differences[:_SHOWN]))} Nothing live was touched. Use another "
            "backup."
        )
