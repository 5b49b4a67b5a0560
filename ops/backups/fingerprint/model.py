"""The fingerprint as a value, in manifests too, and what of two fingerprints can be compared."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

# Raised when a query tells something else of a definition that is what it was.
VERSION = 2
# Kinds that version 1 tells in other words (a default as it was typed in), and kinds that only one
# of the two versions tells, or that version 1 told although the dump did not bring them.
_IN_OTHER_WORDS = (
    "domain ", "type ", "operator family ", "text search ", "view ", "materialized view ",
    "grants on table ",
)  # fmt: skip
_IN_ONE_ONLY = (
    "extension ", "shell type ", "comment on large object ", "subscription ",
    "comment on subscription ",
)  # fmt: skip

# One for all: json.dumps() would make another for each of thousands of objects.
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


@dataclass(frozen=True)
class Fingerprint:
    """A digest of each object's definition, by kind and name ("table public.crm_customer")."""

    objects: dict[str, str]  # 16 hexadecimal digits each
    version: int = VERSION

    @cached_property
    def digest(self) -> str:
        """One digest over all of them."""
        return digest_of(sorted(self.objects.items()))

    def as_json(self) -> dict[str, Any]:
        """Return it for a manifest."""
        return {
            "version": self.version,
            "digest": self.digest,
            "objects": dict(sorted(self.objects.items())),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Return the fingerprint that as_json() wrote, in this release or an older one."""
        return cls(objects=dict(document["objects"]), version=document.get("version", 1))

    def beside(self, other: Fingerprint) -> dict[str, str]:
        """Return its objects as far as they can be compared with those of another.

        Of two versions of the fingerprint, kinds that one of them tells otherwise have names only.
        """
        if self.version == other.version:
            return self.objects
        return {
            key: "" if key.startswith(_IN_OTHER_WORDS) else digest
            for key, digest in self.objects.items()
            if not key.startswith(_IN_ONE_ONLY)
        }


def digest_of(facts: object) -> str:
    """Return the digest of what is told of an object."""
    return hashlib.blake2b(_JSON.encode(facts).encode(), digest_size=8).hexdigest()
