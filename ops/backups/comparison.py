"""Where two databases differ, each difference in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ops.backups.fingerprint import Fingerprint
from ops.backups.proof import Proof, SequenceProof, TableProof

ABSENT = "absent"
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was proven."""

    what: str  # rows, content, sequence, schema; missing or extra table, sequence, object
    where: str  # the table, sequence or object
    expected: str
    found: str

    def __str__(self) -> str:
        return _SENTENCES[self.what].format(self)


_SENTENCES = {
    "missing table": "The table {0.where} is missing; it had {0.expected} row(s).",
    "extra table": "The table {0.where} was not there; it has {0.found} row(s).",
    "rows": "{0.where} has {0.found} row(s) instead of {0.expected}.",
    "content": "{0.where} has as many rows, but other content.",
    "missing sequence": "The sequence {0.where} is missing; it stood at {0.expected}.",
    "extra sequence": "The sequence {0.where} was not there; it stands at {0.found}.",
    "sequence": "The sequence {0.where} stands at {0.found} instead of {0.expected}.",
    "missing object": "Missing: {0.where}.",
    "extra object": "Was not there: {0.where}.",
    "schema": "Defined otherwise: {0.where}.",
}


def compare(
    expected: Proof,
    found: Proof,
    *,
    sequences: bool = True,
    sequences_move: bool = False,
    schema: bool = True,
) -> list[Difference]:
    """Return every difference, the rows' first.

    `schema=False` leaves out definitions, of which a backup of single tables has only some. A
    database in use moves its sequences while it is dumped, and a recovered one skips some values:
    with `sequences_move` one that went on in its own direction is no difference, one that fell
    behind still is, unless the proof says that it went back while it was dumped.
    """
    differences = list(_tables(expected.tables, found.tables))
    if sequences:
        differences += _sequences(expected.sequences, found.sequences, sequences_move)
    if schema:
        differences += _objects(expected.fingerprint, found.fingerprint)
    return differences


def _tables(expected: list[TableProof], found: list[TableProof]) -> Iterator[Difference]:
    before = {(each.schema, each.name): each for each in expected}
    after = {(each.schema, each.name): each for each in found}
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        where = _name(key)
        if old is not None and new is not None:
            if old.rows != new.rows:
                yield Difference("rows", where, str(old.rows), str(new.rows))
            elif old.content != new.content:
                yield Difference("content", where, old.content, new.content)
        elif old is not None:
            yield Difference("missing table", where, str(old.rows), ABSENT)
        elif new is not None:
            yield Difference("extra table", where, ABSENT, str(new.rows))


def _sequences(
    expected: list[SequenceProof], found: list[SequenceProof], move: bool
) -> Iterator[Difference]:
    before = {(each.schema, each.name): each for each in expected}
    after = {(each.schema, each.name): each for each in found}
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        where = _name(key)
        if old is not None and new is not None:
            if old.position != new.position and not (move and _may_stand(old, new)):
                yield Difference("sequence", where, _stand(old), _stand(new))
        elif old is not None:
            yield Difference("missing sequence", where, _stand(old), ABSENT)
        elif new is not None:
            yield Difference("extra sequence", where, ABSENT, _stand(new))


def _objects(expected: Fingerprint, found: Fingerprint) -> Iterator[Difference]:
    before, after = expected.beside(found), found.beside(expected)
    for key in sorted(before.keys() | after.keys()):
        if key not in after:
            yield Difference("missing object", key, before[key], ABSENT)
        elif key not in before:
            yield Difference("extra object", key, ABSENT, after[key])
        elif before[key] != after[key]:
            yield Difference("schema", key, before[key], after[key])


def _name(parts: tuple[str, str]) -> str:
    return ".".join(
        part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in parts
    )


def _may_stand(old: SequenceProof, new: SequenceProof) -> bool:
    return old.may_go_back or old.went_on_to(new)


def _stand(sequence: SequenceProof) -> str:
    return str(sequence.last_value) + ("" if sequence.is_called else " (not given out yet)")
