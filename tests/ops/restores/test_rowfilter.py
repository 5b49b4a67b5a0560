"""Rows are kept by one column's value, wherever pg_restore's output is cut into pieces."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ops.restores.past import rowfilter
from ops.restores.past.rowfilter import RowFilter, Rule

_HEADER = b"SET client_encoding = 'UTF8';\n\nCREATE TABLE public.t (id int);\n"


def filtered(
    script: bytes, rules: dict[tuple[str, str], Rule], size: int
) -> tuple[bytes, RowFilter]:
    target = io.BytesIO()
    keeping = RowFilter(rules, target)
    for start in range(0, len(script), size):
        keeping.write(script[start : start + size])
    assert keeping.is_between_tables
    return target.getvalue(), keeping


@pytest.mark.parametrize("value", ["7", "1007", "\\N", "a\\tb"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_kept_is_what_looking_at_every_line_would_keep(value: str, place: int) -> None:
    chance = random.Random(f"{value}{place}")
    values = ["7", "1007", "17", "71007", "\\N", "a\\tb", "", "1007\\t"]
    rows = [
        b"\t".join(chance.choice(values).encode() for _ in range(3)) + b"\n" for _ in range(500)
    ]
    copy = b'COPY public.t (id, "my, ""account", note) FROM stdin;\n'
    script = _HEADER + copy + b"".join(rows) + b"\\.\n\n" + copy + b"\\.\nSELECT 1;\n"
    rule = Rule(("id", 'my, "account', "note")[place], (value,))
    expected = [row for row in rows if row[:-1].split(b"\t")[place] == value.encode()]

    found = {
        filtered(script, {("public", "t"): rule}, size)[0] for size in (1, 7, 100, len(script))
    }

    (only,) = found
    head, _, rest = only.partition(copy)
    body, _, tail = rest.partition(b"\\.\n")
    assert head == _HEADER
    assert sorted(body.splitlines(keepends=True)) == sorted(expected)
    assert tail == b"\n" + copy + b"\\.\nSELECT 1;\n"


def test_tables_without_a_rule_and_odd_names_pass_whole_and_are_counted() -> None:
    copy = b'COPY "odd ""schema"""."a.b\nc" (id, v) FROM stdin;\n'
    script = copy + b"1\tx\n2\ty\n\\.\n" + b"COPY public.u (v) FROM stdin;\n3\n\\.\n"
    rules = {("public", "u"): Rule("nowhere", ("3",)), ("public", "x"): Rule("v", ("x",))}

    same, keeping = filtered(script, rules, 5)
    kept, _ = filtered(script, {('odd "schema"', "a.b\nc"): Rule("v", ("y", "z", "w"))}, 3)

    assert same == script
    assert list(keeping.passed.values()) == [2, 1]
    assert kept == script.replace(b"1\tx\n", b"")


def test_rows_that_are_cut_off_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("[]")

    ended = subprocess.run(
        [sys.executable, "-I", "-S", rowfilter.__file__, tmp_path / "rules", tmp_path / "passed"],
        input=b"COPY public.t (id) FROM stdin;\n1\n2",
        capture_output=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (1, b"the rows of a table are cut off\n")
    assert not (tmp_path / "passed").exists()
