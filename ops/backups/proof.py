"""What a database holds, as numbers two databases can be compared by.

A table's content is the sum of its rows' 64-bit hashes: it does not depend on the order of rows
or, because columns go by name, of columns. It finds damage and loss. It does not keep out
somebody who forges rows on purpose; the manifest's signature is for that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

from ops.backups.fingerprint import Fingerprint


class Named(Protocol):
    """Anything that names a table; `snapshot.Table` does."""

    @property
    def schema(self) -> str: ...

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class TableProof:
    """The rows of one table, without those of its children."""

    schema: str
    name: str
    rows: int
    content: str  # 32 hexadecimal digits


def sum_of(schema: str, name: str, proofs: Iterable[TableProof]) -> TableProof:
    """Return the proof of a table that holds the rows of all of these."""
    rows = total = 0
    for each in proofs:
        rows += each.rows
        total += int(each.content, 16)
    return TableProof(schema, name, rows, f"{total % 2**128:032x}")


def short_content(content: str) -> str:
    """Return the digits of a table's content that tell it from another's.

    It is a sum of 64-bit numbers in 128 bits: the first half is its sign, and some carried bits.
    """
    return content[-12:]


@dataclass(frozen=True)
class SequenceProof:
    """Where a sequence stands."""

    schema: str
    name: str
    last_value: int
    is_called: bool
    increment: int = 1
    # It started over or was set back while it was dumped: where it stood in the dump, nobody knows.
    may_go_back: bool = False

    @property
    def position(self) -> tuple[int, bool]:
        """What of it moves."""
        return self.last_value, self.is_called

    def went_on_to(self, later: SequenceProof) -> bool:
        """Whether it never gives out again, later, what it had given out."""
        steps = (later.last_value - self.last_value) * (1 if self.increment > 0 else -1)
        return steps > 0 or (steps == 0 and later.is_called)


@dataclass(frozen=True)
class Proof:
    """Everything two databases are compared by."""

    tables: list[TableProof]
    sequences: list[SequenceProof]
    fingerprint: Fingerprint

    def as_json(self) -> dict[str, Any]:
        """Return it for a manifest: sorted, so that equal proofs are equal texts."""
        return {
            "tables": [asdict(each) for each in sorted(self.tables, key=_by_name)],
            "sequences": [asdict(each) for each in sorted(self.sequences, key=_by_name)],
            "fingerprint": self.fingerprint.as_json(),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Return the proof that as_json() wrote."""
        return cls(
            tables=[TableProof(**each) for each in document["tables"]],
            sequences=[SequenceProof(**each) for each in document["sequences"]],
            fingerprint=Fingerprint.from_json(document["fingerprint"]),
        )


def _by_name(each: Named) -> tuple[str, str]:
    return each.schema, each.name
