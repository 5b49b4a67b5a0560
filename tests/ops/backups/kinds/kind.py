"""What one kind of object in the corpus is."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of object: the SQL that makes it, and a change of it that the fingerprint sees.

    Both run with the kind's own schema alone in the path; `{k}` stands for its name, which objects
    outside of schemas have too. `change` is empty where the rows tell it, not the definitions.
    """

    name: str
    sql: str
    change: str = ""
    since: int = 0  # major version of the server
    refused: str = ""  # a word of the reason why only an administrator can restore it

    @property
    def schema(self) -> str:
        """Where its objects are."""
        return f"k_{self.name}"

    def filled(self, statements: str) -> str:
        """Return statements with this kind's name."""
        return statements.replace("{k}", self.schema)

    def is_named_in(self, text: str) -> bool:
        """Whether a text speaks of this kind's schema or objects."""
        return re.search(rf"\b{self.schema}\b", text) is not None
