"""Counting what pg_restore writes out, whatever pieces it arrives in."""

from __future__ import annotations

import pytest

from ops.backups.dumpscan import DumpScanner

WRITTEN = rb'''--
-- PostgreSQL database dump
--

SET client_encoding = 'UTF8';

--
-- Data for Name: customer; Type: TABLE DATA; Schema: public; Owner: srvc_owner
--

COPY public.customer (id, name) FROM stdin;
1	one\\.
2	\N
3	COPY public.invoice (id) FROM stdin;
\.


COPY public.empty (id) FROM stdin;
\.


COPY "odd ""schema"""."a
table.with (dots)" ("x FROM stdin;", b) FROM stdin;
\\.	1
\.


COPY public.without_columns  FROM stdin;


\.


--
-- Data for Name: by hash 1; Type: TABLE DATA; Schema: odd "schema"; Owner: srvc_owner
--

-- load via partition root public.by_mood
COPY public.by_mood (mood) FROM stdin;
sad
happy
\.


SELECT pg_catalog.lo_open('16400', 131072);
SELECT pg_catalog.lowrite(0, '\x00');
SELECT pg_catalog.lo_close(0);
SELECT pg_catalog.setval('public.customer_id_seq', 3, true);
SELECT pg_catalog.setval('public."it''s
""odd"""', -9, false);
'''
ROWS = {
    ("public", "customer"): 3,
    ("public", "empty"): 0,
    ('odd "schema"', "a\ntable.with (dots)"): 1,
    ("public", "without_columns"): 2,
    ('odd "schema"', "by hash 1"): 2,
    ("pg_catalog", "pg_largeobject"): 1,
}
SEQUENCES = {
    ("public", "customer_id_seq"): (3, True),
    ("public", 'it\'s\n"odd"'): (-9, False),
}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 1000, 1 << 20])
def test_rows_and_sequences_are_counted_in_pieces_of_any_size(size: int) -> None:
    scanner = DumpScanner()

    for start in range(0, len(WRITTEN), size):
        scanner.write(WRITTEN[start : start + size])

    assert scanner.contents.rows == ROWS
    assert scanner.contents.sequences == SEQUENCES
    assert scanner.is_between_tables


def test_rows_without_an_end_are_noticed() -> None:
    scanner = DumpScanner()

    scanner.write(b"COPY public.customer (id) FROM stdin;\n1\n2\n")

    assert not scanner.is_between_tables
    assert scanner.contents.rows == {}
