"""A script comes apart in the same places, however it is cut on its way here."""

from __future__ import annotations

import random

import pytest

from ops.restores.files.lexing import LONGEST, Kind, Lexer
from ops.restores.files.script import roles_of, survey

SCRIPT = rb"""--
-- a comment; with 'quotes
SET a = 'it''s;'; SET b = E'\';''\'';
CREATE FUNCTION f() AS $a$ ; $b$ ' $a$ LANGUAGE sql;
SELECT "a;""b", x$a$y FROM t /* ; /* nested */ ' */ WHERE 1 -- ; "
= 2;
COPY public.t (a) FROM stdin;
'a; -- \\! \N
\\.
\.
COPY none FROM stdin;
\.
\! echo
INSERT INTO t VALUES (';');
"""
PARTS = [
    (Kind.COMMENT, b"--\n"),
    (Kind.COMMENT, b"-- a comment; with 'quotes\n"),
    (Kind.STATEMENT, b"SET a = 'it''s;';"),
    (Kind.STATEMENT, b"SET b = E'\\';''\\'';"),
    (Kind.STATEMENT, b"CREATE FUNCTION f() AS $a$ ; $b$ ' $a$ LANGUAGE sql;"),
    (
        Kind.STATEMENT,
        b'SELECT "a;""b", x$a$y FROM t /* ; /* nested */ \' */ WHERE 1 -- ; "\n= 2;',
    ),
    (Kind.STATEMENT, b"COPY public.t (a) FROM stdin;"),
    (Kind.ROWS, b"'a; -- \\\\! \\N\n\\\\.\n\\.\n"),
    (Kind.STATEMENT, b"COPY none FROM stdin;"),
    (Kind.ROWS, b"\\.\n"),
    (Kind.COMMAND, b"\\! echo\n"),
    (Kind.STATEMENT, b"INSERT INTO t VALUES (';');"),
]


def taken_apart(pieces: list[bytes]) -> list[tuple[Kind, bytes]]:
    lexer = Lexer()
    found: list[tuple[Kind, bytes]] = []
    whole = b""
    for piece in [*pieces, b""]:
        for part in lexer.feed(piece):
            whole += part.text
            text = part.text.strip(b"\n") if part.kind is Kind.STATEMENT else part.text
            if part.kind is Kind.ROWS and found and found[-1][0] is Kind.ROWS:
                found[-1] = (Kind.ROWS, found[-1][1] + text)
            elif part.kind is not Kind.BLANK:
                found.append((part.kind, text))
    assert whole == b"".join(pieces)
    assert lexer.is_between
    return [(kind, text.lstrip(b"\n") if kind is Kind.ROWS else text) for kind, text in found]


def test_a_script_in_pieces_of_any_size() -> None:
    assert taken_apart([SCRIPT]) == PARTS
    assert taken_apart([bytes([each]) for each in SCRIPT]) == PARTS
    chance = random.Random(4)
    for _ in range(200):
        cuts = sorted(chance.sample(range(1, len(SCRIPT)), 6))
        pieces = [SCRIPT[a:b] for a, b in zip([0, *cuts], [*cuts, len(SCRIPT)], strict=True)]
        assert taken_apart(pieces) == PARTS


def test_a_long_statement_passes_by_in_parts() -> None:
    row = b"('it''s; $a$ -- '),\n"
    script = b"INSERT INTO t VALUES\n" + row * (3 * LONGEST // len(row)) + b"('x');SELECT 1;"
    lexer = Lexer()
    parts = [
        part
        for at in range(0, len(script) + 4096, 4096)
        for part in lexer.feed(script[at : at + 4096])
    ]
    assert parts[0].kind is Kind.BEGINNING
    assert {part.kind for part in parts[1:-1]} == {Kind.REST}
    assert (parts[-1].kind, parts[-1].text) == (Kind.STATEMENT, b"SELECT 1;")
    assert b"".join(part.text for part in parts) == script
    assert max(len(part.text) for part in parts) < LONGEST + 2 * 4096


@pytest.mark.parametrize("text", [b"SELECT 'a", b"SELECT $x$ ;", b"COPY t FROM stdin;\n1\n", b"/*"])
def test_what_is_left_open_is_noticed(text: bytes) -> None:
    assert survey("x", iter([text])).is_between is False


def test_the_roles_a_statement_speaks_of() -> None:
    assert roles_of(b'ALTER TABLE public.t OWNER TO "a ""b";') == {'a "b'}
    assert roles_of(b'GRANT SELECT ON TABLE t TO a, "b", PUBLIC WITH GRANT OPTION;') == {"a", "b"}
    assert roles_of(b"CREATE POLICY p ON t FOR SELECT TO x, y USING ((z TO 1));") == {"x", "y"}
    assert roles_of(
        b"ALTER DEFAULT PRIVILEGES FOR ROLE o IN SCHEMA s GRANT ALL ON TABLES TO g;"
    ) == {"o", "g"}
    assert roles_of(b"CREATE TABLE t (owner text);") == set()
