"""Backups that are as they were stored and signed, and yet are none."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pyrage
import zstandard

from tests.ops.backups.corpus import Case, Sample

# --- stored and signed as it is, and yet no backup -----------------------------------------------


def _raw(change: Callable[[bytes], bytes]) -> Callable[[Sample], None]:
    return lambda sample: sample.store_raw(change(sample.raw()))


def _dumped(*options: str, before: str = "", after: str = "") -> Callable[[Sample], None]:
    return lambda sample: sample.store_raw(sample.stock.dump(*options, before=before, after=after))


def _before_last_block(raw: bytes) -> bytes:
    """Without the rows of the last table, cut where they begin."""
    return raw[: raw.rindex(b"\x01", 0, raw.rindex(b"\\.\n") - 20)]


def _wrong_key(sample: Sample) -> None:
    stranger = pyrage.x25519.Identity.generate().to_public()
    sample.store(pyrage.encrypt(sample.packed(), [stranger]))


def _twice_encrypted(sample: Sample) -> None:
    sample.store(sample.encrypt(sample.encrypt(sample.packed())))


def _not_encrypted(sample: Sample) -> None:
    sample.store(sample.packed())


def _gzip_for_zstd(sample: Sample) -> None:
    sample.store(sample.encrypt(gzip.compress(sample.raw())))


def _zstd_for_gzip(sample: Sample) -> None:
    sample.store(sample.encrypt(sample.packed()), compression="gzip")


def _unlike_itself(count: int) -> Callable[[Sample], None]:
    """What is compressed, cut off and stored as if that were all."""
    return lambda sample: sample.store(sample.encrypt(sample.packed()[:count]))


def _two_frames(sample: Sample) -> None:
    sample.store(sample.encrypt(sample.packed() + zstandard.compress(b"more")))


def _truncated_cipher(sample: Sample) -> None:
    sample.store(sample.path.read_bytes()[:-20])


def _checksum_of_the_frame(sample: Sample) -> None:
    packed = bytearray(sample.packed())
    packed[-1] ^= 1
    sample.store(sample.encrypt(bytes(packed)))


OPENED = [
    Case("for another key", _wrong_key, r"is as it was stored, but can't be opened: .*key"),
    Case(
        "encrypted twice", _twice_encrypted, r"can't be opened: .*(frame|descriptor|prefix|[zZ]std)"
    ),
    Case("not encrypted", _not_encrypted, r"can't be opened: .*(age|[Hh]eader)"),
    Case("gzip said to be zstd", _gzip_for_zstd, r"can't be opened: .*(frame|descriptor|[zZ]std)"),
    Case("zstd said to be gzip", _zstd_for_gzip, r"can't be opened: .*incorrect header check"),
    Case("half a zstd frame", _unlike_itself(5000), r"can't be opened: it ends in the middle"),
    Case("no zstd frame", _unlike_itself(0), r"can't be opened: it ends in the middle"),
    Case("something behind the frame", _two_frames, r"can't be opened: there is something behind"),
    Case("half a cipher", _truncated_cipher, r"is as it was stored, but can't be opened"),
    Case("the frame's checksum", _checksum_of_the_frame, r"can't be opened: .*checksum"),
    Case(
        "half a dump",
        _raw(lambda raw: raw[: len(raw) // 2]),
        r"the dump in it can't be read to its end: .*(end of file|unexpected)",
    ),
    Case(
        "a dump without its last byte",
        _raw(lambda raw: raw[:-1]),
        r"the dump in it can't be read to its end: .*end of file",
    ),
    Case(
        "a dump cut before its last table's rows",
        _raw(_before_last_block),
        r"the dump in it can't be read to its end",
    ),
    Case("an empty dump", _raw(lambda raw: b""), r"can't be read to its end: .*(too short|end of)"),
    Case(
        "no dump",
        _raw(lambda raw: b"-- PostgreSQL database dump\nSELECT 1;\n" * 50),
        r"can't be read to its end: .*does not appear to be a valid",
    ),
    Case(
        "a dump of a later pg_dump",
        _raw(lambda raw: raw[:5] + bytes([1, 99, 0]) + raw[8:]),
        r"can't be read to its end: .*unsupported version \(1\.99\)",
    ),
]

CONTENTS = [
    Case(
        "no rows at all", _dumped("--schema-only"), r"The table public\.customer is missing; it had"
    ),
    Case(
        "rows without definitions",
        _dumped("--data-only"),
        r"The definition of the table public\.customer is missing",
    ),
    Case(
        "a table's rows left out",
        _dumped("--exclude-table-data=public.invoice"),
        r"The table public\.invoice is missing; it had 500 row",
    ),
    Case(
        "an oddly named table's rows left out",
        _dumped('--exclude-table-data=public."odd ""name"'),
        r'The table public\."odd ""name" is missing; it had 2 row',
    ),
    Case(
        "a table left out",
        _dumped("--exclude-table=public.invoice"),
        r"The table public\.invoice is missing",
    ),
    Case(
        "a row less",
        _dumped(
            before="DELETE FROM invoice WHERE id = 500",
            after="INSERT INTO invoice (id, customer_id, total) VALUES (500, 500, 500)",
        ),
        r"public\.invoice has 499 row\(s\) instead of 500",
    ),
    Case(
        "a table more",
        _dumped(before="CREATE TABLE more AS SELECT 1 AS n", after="DROP TABLE more"),
        r"The table public\.more was not there; it has 1 row",
    ),
    Case(
        "a sequence behind",
        _dumped(
            before="SELECT setval('customer_id_seq', 7)",
            after="SELECT setval('customer_id_seq', 1500)",
        ),
        r"The sequence public\.customer_id_seq stands at 7 instead of 1500",
    ),
    Case(
        "of another database",
        lambda sample: sample.sign(database={**sample.manifest.database, "name": "elsewhere"}),
        r"It is of the database \S+, not of elsewhere",
    ),
    Case(
        "a proof of no table",
        lambda sample: sample.sign(proof={**(sample.manifest.proof or {}), "tables": []}),
        r"A full backup has to hold rows, and this one proves those of no table",
    ),
    Case("rows in a schema", _dumped(), r"was not there; it has", which="schema"),
    Case(
        "another table's rows",
        _dumped("--table=public.invoice"),
        r"The table public\.customer is missing; it had 1500 row",
        which="tables",
    ),
    Case(
        "rows missing in data alone",
        _dumped("--data-only", "--exclude-table=public.customer"),
        r"The table public\.customer is missing",
        which="data",
    ),
    Case(
        "readable to anybody, a bit changed",
        lambda sample: sample.flip(sample.size // 2),
        r"was changed after it was stored",
        which="plain",
    ),
]
# --- what only a restore can tell ----------------------------------------------------------------

DEEP = [
    Case(
        "a value changed",
        _dumped(
            before="UPDATE customer SET balance = 0.01 WHERE id = 7",
            after="UPDATE customer SET balance = 7 / 7.0 WHERE id = 7",
        ),
        r"Restored, it is not what its manifest says\. public\.customer has as many rows, but",
    ),
    Case(
        "a policy missing",
        _dumped(
            before="DROP POLICY yours ON customer",
            after="CREATE POLICY yours ON customer TO srvc_admin USING (true)",
        ),
        r"Missing: policy .*yours",
    ),
    Case(
        "a trigger switched off",
        _dumped(
            before="ALTER TABLE customer DISABLE TRIGGER stamped",
            after="ALTER TABLE customer ENABLE TRIGGER stamped",
        ),
        r"Defined otherwise: trigger .*stamped",
    ),
    Case(
        "a right missing",
        _dumped("--no-privileges"),
        r"Missing: grants on table public\.customer",
    ),
    Case(
        "an index missing",
        _dumped(
            before="DROP INDEX by_customer",
            after="CREATE INDEX by_customer ON invoice (customer_id)",
        ),
        r"Missing: index public\.by_customer",
    ),
    Case(
        "row security switched off",
        _dumped(
            before="ALTER TABLE customer DISABLE ROW LEVEL SECURITY",
            after="ALTER TABLE customer ENABLE ROW LEVEL SECURITY",
        ),
        r"Defined otherwise: table public\.customer",
    ),
    Case(
        "a row that breaks a key",
        _raw(lambda raw: raw.replace(b"500\t500\t500.00", b"500\t000\t500.00")),
        r"can't be restored: .*violates foreign key constraint",
    ),
    Case(
        "a role that is nowhere made",
        lambda sample: sample.sign(
            roles={**sample.manifest.roles, "somebody_else": "LOGIN"},
        ),
        r"The role somebody_else is missing",
    ),
    Case(
        "another owner of the database",
        lambda sample: sample.sign(database={**sample.manifest.database, "owner": "nobody"}),
        r"The database's owner is .* instead of nobody",
    ),
]
