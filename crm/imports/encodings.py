"""Which encoding a file is in, decided on the whole file before a row is read."""

from __future__ import annotations

import codecs
import re
from typing import BinaryIO

from charset_normalizer import from_bytes

from crm.imports.problems import ImportRefusedError, refuse

_BLOCK = 1 << 20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FORMATS = (
    (b"PK\x03\x04", "an Excel workbook or another ZIP archive; save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save the sheet as CSV"),
    (b"%PDF", "a PDF document; export CSV instead"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"SQLite format 3", "a SQLite database; export CSV instead"),
)
# What spreadsheets of these decades write; the first that fits as well as any other wins.
_LEGACY = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "latin_1", "mac_roman", "cp437"]
# A well-formed sequence of two to four bytes: text of another encoding hardly ever has one.
_UTF8_SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_HIGH = re.compile(rb"[\x80-\xff]")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")


def detect_encoding(stream: BinaryIO, *, file: str) -> str:
    """The encoding of a file as Python names it, and the stream back at its start.

    Raises ImportRefusedError for a file that is no text or is in two encodings at once.
    """
    head = stream.read(1 << 16)
    stream.seek(0)
    for magic, what in _FORMATS:
        if head.startswith(magic):
            raise refuse(f"The file is no CSV: it is {what}.", file=file)
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return encoding
    if b"\0" in head and (wide := _utf_16_without_bom(head)):
        return wide
    if len(_CONTROL.findall(head)) > max(len(head) // 50, 3):
        line = head[: _control_at(head)].count(b"\n") + 1
        raise refuse("The file is no text but binary data.", line=line, file=file)
    bad_line = _first_line_not_utf_8(stream)
    if bad_line is None:
        return "utf-8"
    return _legacy_encoding(stream, bad_line, file)


def _control_at(head: bytes) -> int:
    found = _CONTROL.search(head)
    return found.start() if found else 0


def _utf_16_without_bom(head: bytes) -> str | None:
    even, odd = head[0::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if half and odd > half * 0.6 and even < half * 0.1:
        return "utf-16-le"
    if half and even > half * 0.6 and odd < half * 0.1:
        return "utf-16-be"
    return None


def _first_line_not_utf_8(stream: BinaryIO) -> int | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    try:
        while block := stream.read(_BLOCK):
            pending = decoder.getstate()[0]
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError as error:
                return line + (pending + block)[: error.start].count(b"\n")
            line += text.count("\n")
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return line
        return None
    finally:
        stream.seek(0)


def _legacy_encoding(stream: BinaryIO, bad_line: int, file: str) -> str:
    """A one-byte encoding; refused when parts of the file are UTF-8 and others are not."""
    sample = bytearray()
    whole = strays = 0
    for number, line in enumerate(iter(lambda: stream.readline(_BLOCK), b""), start=1):
        if not _HIGH.search(line):
            continue
        rest, found = _UTF8_SEQUENCE.subn(b"", line)
        whole += found
        strays += len(_HIGH.findall(rest))
        # Before the bad line all was UTF-8. From there on, a well-formed sequence now and then is
        # chance in a one-byte encoding; many are not.
        if found and (number < bad_line or (number == bad_line and found * 4 >= strays)):
            raise _half_encoded(bad_line, file)
        if len(sample) < 1 << 17:
            sample += line
    stream.seek(0)
    if whole * 4 >= strays:
        raise _half_encoded(bad_line, file)
    matches = from_bytes(bytes(sample), cp_isolation=_LEGACY, threshold=0.5)
    best = matches.best()
    if best is None:
        return "cp1252"
    for match in matches:
        if "cp1252" in match.could_be_from_charset and match.chaos <= best.chaos + 0.05:
            return "cp1252"
    return best.encoding


def _half_encoded(line: int, file: str) -> ImportRefusedError:
    return refuse(
        "The file is UTF-8 up to here and something else from here on. Export it again as UTF-8.",
        line=line,
        file=file,
    )
