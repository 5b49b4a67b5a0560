"""Encodings, separators and line numbers; no database needed."""

from __future__ import annotations

import codecs

import pytest
from django.test import override_settings

from crm.imports.problems import ImportRefusedError, Problems
from crm.imports.reading import Row, Source, Table

TEXT = "Name,City\nJosé Müller,Genève\nZoë,Åre\n"


def read(content: bytes, **options: str) -> tuple[Table, list[Row], list[str]]:
    problems = Problems()
    with Table(Source.from_bytes("a.csv", content), **options) as table:
        rows = list(table.rows(problems))
    return table, rows, [str(problem) for problem in problems.first]


def refusal(content: bytes, **options: str) -> str:
    with pytest.raises(ImportRefusedError) as caught:
        read(content, **options)
    (problem,) = caught.value.problems
    return str(problem)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (codecs.BOM_UTF8 + TEXT.encode(), "utf-8-sig"),
        (TEXT.encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("utf-32"), "utf-32"),
        (TEXT.encode("cp1252"), "cp1252"),
        (TEXT.encode("latin-1"), "cp1252"),
        ("Name,Preis\nKäse,5 €\n".encode("cp1252"), "cp1252"),
        (b"Name,City\nAda,London\n", "utf-8"),
    ],
)
def test_the_encoding_is_detected(content: bytes, encoding: str) -> None:
    table, rows, _ = read(content)
    assert table.encoding == encoding
    assert table.header[0] == "Name"
    if encoding != "utf-8" or b"Jos" in content:
        assert any("é" in field or "ä" in field for _, fields in rows for field in fields)


def test_cyrillic_is_told_from_western_text() -> None:
    # ruff: noqa: RUF001 - Cyrillic is what this is about
    text = "Имя,Город\nЕлена Сергеевна,Москва\nПётр Ильич,Санкт-Петербург\n" * 5
    table, rows, _ = read(text.encode("cp1251"))
    assert table.encoding == "cp1251"
    assert rows[0][1] == ["Елена Сергеевна", "Москва"]


def test_a_named_encoding_wins() -> None:
    table, rows, _ = read("Name\nJosé\n".encode("cp437"), encoding="cp437")
    assert (table.encoding, rows) == ("cp437", [(2, ["José"])])
    assert "There is no encoding 'klingon'" in refusal(b"Name\nAda\n", encoding="klingon")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_separator_is_detected(delimiter: str) -> None:
    text = f"Name{delimiter}Notes\nAda{delimiter}a, b; c\nGrace{delimiter}\n"
    if delimiter in ",;":
        text = text.replace("a, b; c", '"a, b; c"')
    table, rows, problems = read(text.encode())
    assert table.delimiter == delimiter
    assert rows == [(2, ["Ada", "a, b; c"]), (3, ["Grace", ""])]
    assert problems == []


def test_excels_own_hint_about_the_separator_is_taken_and_counted() -> None:
    table, rows, _ = read(b"sep=;\r\nName;City\r\nAda;London\r\n")
    assert (table.delimiter, table.header_line) == (";", 2)
    assert rows == [(3, ["Ada", "London"])]


def test_a_single_column_is_a_table_too() -> None:
    assert read(b"Name\nAda\nGrace\n")[1] == [(2, ["Ada"]), (3, ["Grace"])]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_through_quoted_line_ends_and_empty_lines(end: str) -> None:
    text = f'Name,Notes{end}Ada,"one{end}two{end}three"{end}{end},{end}Grace,{end}'
    _, rows, _ = read(text.encode())
    assert rows == [(2, ["Ada", f"one{end}two{end}three"]), (7, ["Grace", ""])]


def test_ragged_rows_are_each_told_with_their_line() -> None:
    _, rows, problems = read(b'Name,City\nAda\n"Grace\nHopper",NYC\nEdsger,Rotterdam,NL\n')
    assert rows == [(3, ["Grace\nHopper", "NYC"])]
    assert [problem.split(". ")[0] for problem in problems] == [
        "a.csv, line 2: The row has 1 field, the header has 2",
        "a.csv, line 5: The row has 3 fields, the header has 2",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.csv: The file is empty."),
        (b"\n\n  \n,,,\n", "a.csv: The file holds nothing but empty lines."),
        (b"Name,City\n", "a.csv, line 1: The file has a header and no rows below it."),
        (b"PK\x03\x04rest", "a.csv: The file is no CSV: it is an Excel workbook or another ZIP"),
        (b"%PDF-1.7 rest", "a.csv: The file is no CSV: it is a PDF document"),
        (b"\x7fELF" + bytes(range(256)) * 9, "a.csv, line 1: The file is no text but binary data."),
        (b"Name\nAda\nGr\0ace\n", "a.csv, line 3: The text has a NUL byte in it."),
        (
            "Name\nAda\nZoë\n".encode() + b"Gr\xffce\n",
            "a.csv, line 4: The file is UTF-8 up to here and something else from here on.",
        ),
        (
            "Name\nZoë\n".encode() + b"\xff\xfe\x9d" * 400 + b"\n",
            "a.csv, line 3: The file is UTF-8 up to here and something else from here on.",
        ),
        (
            b'Name,City\nAda,London\n"Grace,NYC\nmore\n',
            "a.csv, line 3: A quoted field that begins in this row has no end",
        ),
        (
            b'Name,City\n"Ada" Lovelace,London\n',
            "a.csv, line 2: A quote inside a quoted field is not doubled",
        ),
        (
            b"Name,Notes\nAda," + b"x" * 200_000 + b"\n",
            "a.csv, line 2: A quoted field that begins in this row has no end, or is longer than",
        ),
        (b"," * 999_998 + b"x\n1\n", "a.csv, line 1: The file has 999,999 columns"),
        (
            b",".join(b"c%d" % n for n in range(100_000)) + b"\n1\n",
            "a.csv, line 1: The file has 100,000 columns; more than 500 are no table",
        ),
        (
            b",".join(b"c%d" % n for n in range(1_000_000)) + b"\n1\n",
            "a.csv, line 1: The line is longer than 1,000,000 characters",
        ),
    ],
)
def test_files_that_are_no_table_are_refused_with_their_line(content: bytes, message: str) -> None:
    assert refusal(content).startswith(message)


def test_a_wrong_named_encoding_is_told_at_the_byte_that_does_not_fit() -> None:
    content = b"Name\n" + b"Ada\n" * 5000 + b"Zo\xeb\n"
    assert refusal(content, encoding="utf-8").startswith(
        "a.csv, line 5002: The text is not valid utf-8."
    )


@override_settings(IMPORT_MAX_BYTES=1_000_000)
def test_a_file_over_the_limit_is_refused_unread() -> None:
    source = Source("a.csv", 1_500_000, lambda: pytest.fail("it was opened"))
    with pytest.raises(ImportRefusedError) as caught:
        Table(source)
    assert str(caught.value.problems[0]) == (
        "a.csv: The file has 1.5 MB; the limit is 1 MB. Split it, or raise IMPORT_MAX_MEGABYTES."
    )
