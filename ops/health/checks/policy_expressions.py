"""What a row policy's expression does, read from PostgreSQL's own tree of it.

Text can't tell a call inside a scalar sub-select, which is made once per statement, from one that
is made for every row; the stored tree (pg_policy.polqual) can. Its form is that of
src/backend/nodes/outfuncs.c: nodes in braces with named fields, lists in parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

_WORD = re.compile(r"(?:\\.|[^\s(){}\\])+|[(){}]", re.DOTALL)
# How a function came to be in the expression: as a call in so many words, not as a cast.
_EXPLICIT_CALL = "0"
_TEXT = "25"  # oid of the type
_COMPARISONS = {"OPEXPR", "SCALARARRAYOPEXPR", "DISTINCTEXPR", "ROWCOMPAREEXPR"}
# Tell the session or the moment, and are cheap.
_OF_THE_SESSION = {"SQLVALUEFUNCTION", "CURRENTOFEXPR"}


@dataclass
class _Node:
    kind: str
    fields: dict[str, list[_Value]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The field's first value, when it is a word."""
        first = (self.fields.get(name) or [""])[0]
        return first if isinstance(first, str) else ""

    def children(self) -> Iterator[_Node]:
        for values in self.fields.values():
            yield from _nodes(values)


_Value = str | _Node | list["_Value"]


@dataclass(frozen=True)
class Call:
    """A function called outside of any sub-select."""

    function: int  # its oid
    of_the_row: bool  # it is given a column, so that it can't be called once for all rows


@dataclass(frozen=True)
class Expression:
    """What can be said of an expression without knowing the rows."""

    calls_per_row: tuple[Call, ...]
    # A sub-select mentions the row, and so is run for every row.
    looks_up_per_row: bool
    # Columns of the row that are compared with something, by number.
    compared: tuple[int, ...]
    # The same for every row and every session: "true", "1 = 1".
    is_constant: bool
    # Texts it holds: names of settings among them.
    texts: frozenset[str]
    # One alternative is true as soon as a value of the session is missing.
    open_without_session: bool


@lru_cache(maxsize=4096)
def read_expression(tree: str) -> Expression:
    """Read a stored expression (pg_node_tree as text). Works for PostgreSQL 15 to 18."""
    (root,) = _nodes(_parsed(tree))
    calls: dict[Call, None] = {}
    compared: dict[int, None] = {}
    texts: set[str] = set()
    found = {"row": False, "moving": False, "per row": False}
    for node, depth, in_comparison in _walk(root, 0, in_comparison=False):
        if node.kind == "FUNCEXPR":
            found["moving"] = True
            if depth == 0 and node.text("funcformat") == _EXPLICIT_CALL:
                calls[Call(int(node.text("funcid")), _mentions_row(node))] = None
        elif node.kind == "VAR" and int(node.text("varlevelsup")) == depth:
            found["row"] = True
            found["per row"] |= depth > 0
            if depth == 0 and in_comparison:
                compared[int(node.text("varattno"))] = None
        elif node.kind == "CONST" and node.text("consttype") == _TEXT:
            texts.add(_constant(node))
        elif node.kind == "QUERY" or node.kind in _OF_THE_SESSION:
            found["moving"] = True
    return Expression(
        tuple(calls),
        found["per row"],
        tuple(compared),
        texts=frozenset(texts),
        is_constant=not (found["row"] or found["moving"]),
        open_without_session=any(map(_is_absence, _alternatives(root))),
    )


def _walk(node: _Node, depth: int, *, in_comparison: bool) -> Iterator[tuple[_Node, int, bool]]:
    """Every node, how many queries it is inside of, and whether it is part of a comparison."""
    depth += node.kind == "QUERY"
    # "column IN (SELECT …)" keeps its comparison beside the query.
    in_comparison = in_comparison or node.kind in _COMPARISONS
    yield node, depth, in_comparison
    for child in node.children():
        yield from _walk(child, depth, in_comparison=in_comparison)


def _alternatives(root: _Node) -> Iterator[_Node]:
    if root.kind == "BOOLEXPR" and root.text("boolop") == "or":
        for child in root.children():
            yield from _alternatives(child)
    else:
        yield root


def _is_absence(node: _Node) -> bool:
    """Whether it says that something is NULL that is no value of the row."""
    negated = node.kind == "BOOLEXPR" and node.text("boolop") == "not"
    test = next(iter(node.children()), node) if negated else node
    if test.kind != "NULLTEST" or test.text("nulltesttype") != ("1" if negated else "0"):
        return False
    return not _mentions_row(test)


def _constant(node: _Node) -> str:
    """The text of a constant: bytes in brackets, the first four of which are its length."""
    values = [value for value in node.fields.get("constvalue", []) if isinstance(value, str)]
    numbers = values[values.index("[") + 1 : -1] if "[" in values else []
    return bytes(int(number) % 256 for number in numbers[4:]).decode(errors="replace")


def _mentions_row(part: _Node) -> bool:
    return any(
        each.kind == "VAR" and int(each.text("varlevelsup")) == depth
        for each, depth, _ in _walk(part, 0, in_comparison=False)
    )


def _nodes(values: list[_Value]) -> Iterator[_Node]:
    for value in values:
        if isinstance(value, _Node):
            yield value
        elif isinstance(value, list):
            yield from _nodes(value)


def _parsed(text: str) -> list[_Value]:
    """The values of a text, with nodes and lists nested; a stack, as trees are deep."""
    top: list[_Value] = []
    values, node = top, None
    outer: list[tuple[list[_Value], _Node | None]] = []
    names_node = False
    for match in _WORD.finditer(text):
        word = match.group()
        if word == "{":
            outer.append((values, node))
            names_node = True
        elif word == "(":
            outer.append((values, node))
            inner: list[_Value] = []
            values.append(inner)
            values, node = inner, None
        elif word in "})":
            values, node = outer.pop()
        elif names_node:
            node, names_node = _Node(word), False
            values.append(node)
            values = []
        elif node is not None and word.startswith(":"):
            values = node.fields.setdefault(word[1:], [])
        else:
            values.append(word)
    return top
