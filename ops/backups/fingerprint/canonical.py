"""One spelling for definitions that PostgreSQL itself writes in two.

`status IN ('a', 'b')` on a varchar column is written as an array cast as a whole, and after a dump
and a restore as an array of casts. `(a, b) IS DISTINCT FROM (c, d)` is written as pairs of
alternatives in brackets of their own, and after that as a plain list of alternatives. A list of
VALUES in brackets gets a blank before it when it was read from such a definition. A view of one
table (function, query) names it before each column up to PostgreSQL 15, and not any more since 16.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Strings and quoted names as wholes, so that nothing inside them is taken for syntax.
_WORD = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\w+|.""", re.DOTALL)
_START = ["(", "ARRAY", "["]
_NAME = r'(?:"(?:[^"]|"")*"|\w+)'
_CAST = re.compile(rf"\)::({_NAME}(?:[. ]{_NAME})*(?:\(\d+(?:,\d+)?\))?)\[\]")
_AFTER_FROM = {"WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR"}
_JOINTS = {"OR", "AND", "BETWEEN"}
_SEVERAL = {"UNION", "INTERSECT", "EXCEPT"}
_BESIDE_NAME = {"ONLY", "LATERAL", "WITH", "ORDINALITY", ")", "]"}  # in FROM, beside what is named


@lru_cache(maxsize=4096)  # a database is looked at before and after, and columns repeat each other
def canonical(definition: str) -> str:
    """Return a definition with casts of arrays moved to their elements, and without brackets that
    only group alternatives within alternatives, or conditions within conditions.
    """
    if "(ARRAY[" in definition:
        definition = _moved(_words(definition))
    if any(joint in definition for joint in (") OR ", " OR (", ") AND ", " AND (")):
        definition = _flattened(definition)
    if "( VALUES " in definition:
        definition = _closed_up(_words(definition))
    return definition


def unqualified(view: str) -> str:
    """Return a view's query without the table's name before columns, if it has one table."""
    words = _words(view)
    outer = _outer(words)
    begins = [index for index in outer if words[index] == "FROM"]
    if len(begins) != 1 or any(words[index] in _SEVERAL for index in outer):
        return view
    begin = begins[0] + 1
    ends = (index for index in outer if index > begin and words[index] in {*_AFTER_FROM, ";"})
    end = next(ends, len(words))
    name = _only_name([words[index] for index in outer if begin <= index < end])
    if not name:
        return view
    before, after = _without(words[:begin], name), _without(words[end:], name)
    return "".join([*before, *words[begin:end], *after])


def _only_name(words: list[str]) -> str:
    """Return what the one table, function or query in FROM goes by; "" when there are several."""
    if "," in words or "JOIN" in words:
        return ""
    names = [word for word in words if word.strip() and word not in _BESIDE_NAME]
    if "TABLESAMPLE" in names:
        names = names[: names.index("TABLESAMPLE")]
    return names[-1] if names else ""


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _closed_up(words: list[str]) -> str:
    """Return it without the blank between a bracket and VALUES."""
    return "".join(
        word
        for index, word in enumerate(words)
        if not (word == " " and words[index - 1 : index] == ["("] and words[index + 1] == "VALUES")
    )


def _flattened(definition: str) -> str:
    """Return it with `((a OR b) OR c)` written as `(a OR b OR c)`."""
    open_groups: list[list[str]] = [[]]  # each one's parts: words, and groups that are closed
    for word in _words(definition):
        if word == "(":
            open_groups.append([])
        elif word != ")":
            open_groups[-1].append(word)
        elif len(open_groups) == 1:
            return definition
        else:
            group = _joined(open_groups.pop())
            open_groups[-1].append(f"({group})")
    return definition if len(open_groups) > 1 else _joined(open_groups[0])


def _joined(parts: list[str]) -> str:
    joints = _JOINTS & set(parts)
    if len(joints) != 1:
        return "".join(parts)
    (joint,) = joints
    words = [part for part in parts if part.strip()]
    for index, word in enumerate(words):
        beside = {*words[max(index - 1, 0) : index], *words[index + 1 : index + 2]}
        if beside == {joint} and word.startswith("(") and _joints_of(word[1:-1]) == {joint}:
            parts = [part[1:-1] if part == word else part for part in parts]
    return "".join(parts)


def _joints_of(text: str) -> set[str]:
    words = _words(text)
    return _JOINTS & {words[index] for index in _outer(words)}


def _outer(words: list[str]) -> list[int]:
    """Return where the words are that stand in no brackets."""
    found, depth = [], 0
    for index, word in enumerate(words):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(word, 0)
        if depth == 0:
            found.append(index)
    return found


def _without(words: list[str], name: str) -> list[str]:
    kept: list[str] = []
    for index, word in enumerate(words):
        preceded = kept[-1] if kept else ""
        if word == name and words[index + 1 : index + 2] == ["."] and preceded != ".":
            kept.append("")
        elif not (word == "." and preceded == ""):
            kept.append(word)
    return kept


def _moved(words: list[str]) -> str:
    written: list[str] = []
    index = 0
    while index < len(words):
        if words[index : index + len(_START)] == _START:
            elements, after = _elements(words, index + len(_START))
            cast = _CAST.match("".join(words[after:]))
            if cast is not None:
                pushed = ", ".join(f"({_moved(element)})::{cast[1]}" for element in elements)
                written.append(f"ARRAY[{pushed}]")
                index = after + len(_words(cast[0]))
                continue
        written.append(words[index])
        index += 1
    return "".join(written)


def _elements(words: list[str], start: int) -> tuple[list[list[str]], int]:
    """Return an array's elements, and where the words after its closing bracket begin."""
    elements: list[list[str]] = [[]]
    depth = 0
    for index in range(start, len(words)):
        word = words[index]
        if word == "]" and depth == 0:
            return elements, index + 1
        if word == "," and depth == 0:
            elements.append([])
            continue
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(word, 0)
        if elements[-1] or word != " ":
            elements[-1].append(word)
    return elements, len(words)
