"""The command lines that README.md and docs/*.md show, as somebody would copy them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from srvc.command_line import COMMANDS
from srvc.environment import BASE_DIR

MANUALS = (BASE_DIR / "README.md", *sorted((BASE_DIR / "docs").glob("*.md")))
_LINE = re.compile(r"(?:^|[ /])manage\.py (.+)$")
# In a sentence `manage.py` may be left out, and a command's bare name is no example.
_INLINE = re.compile(rf"`(?:manage\.py )?((?:{'|'.join(COMMANDS)}) (?!…)[^`]+)`")


@dataclass(frozen=True)
class Example:
    """One command line of a manual, without `manage.py`."""

    manual: str
    line: int
    text: str

    def words(self, values: dict[str, str]) -> list[str]:
        """Return its words, with values in place of what stands for something else."""
        names = "|".join(sorted(map(re.escape, values), key=len, reverse=True))
        whole = re.compile(rf"(?<![\w@.-])(?:{names})(?![\w@-])")
        words = shlex.split(self.text, comments=True)
        return [whole.sub(lambda found: values[found[0]], word) for word in words]

    def __str__(self) -> str:
        return f"{self.manual}:{self.line} {self.text}"


def examples() -> Iterator[Example]:
    """Yield every example, in blocks of code and inside of sentences, in the manuals' order."""
    for manual in MANUALS:
        in_block = False
        for number, line in enumerate(manual.read_text("utf-8").splitlines(), start=1):
            if line.startswith("```"):
                in_block = not in_block
            elif in_block or line.startswith("    "):
                if found := _LINE.search(line):
                    # name=$(manage.py …) takes what the command says.
                    text = found[1].removesuffix(")") if "$(" in line else found[1]
                    yield Example(manual.name, number, text)
            else:
                for inline in _INLINE.finditer(line):
                    yield Example(manual.name, number, inline[1])


def by_text() -> dict[str, Example]:
    """Return the examples, each once: the first place where it stands."""
    found: dict[str, Example] = {}
    for example in examples():
        found.setdefault(" ".join(shlex.split(example.text, comments=True)), example)
    return found
