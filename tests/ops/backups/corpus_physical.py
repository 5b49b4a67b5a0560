"""Damaged and wrong copies of a server's files, with the reasons they are refused for."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import zstandard

from tests.harness.database import connect as superuser
from tests.ops.backups.corpus import Case, Sample

# --- ways to be wrong ----------------------------------------------------------------------------


def _packed_anew(
    sample: Sample, change: Callable[[tarfile.TarInfo, bytes], bytes | None], *more: str
) -> bytes:
    """The tar with some members changed, without those that become None, with more at its end."""
    made = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(sample.raw())) as old,
        tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as new,
    ):
        for member in old:
            file = old.extractfile(member) if member.isfile() else None
            content = change(member, file.read()) if file else b""
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
        for name in more:
            new.addfile(tarfile.TarInfo(name))
    return made.getvalue()


def _with(
    change: Callable[[tarfile.TarInfo, bytes], bytes | None], *more: str
) -> Callable[[Sample], None]:
    return lambda sample: sample.store_raw(_packed_anew(sample, change, *more))


def _same(member: tarfile.TarInfo, content: bytes) -> bytes:
    return content


def _byte_of_a_table(member: tarfile.TarInfo, content: bytes) -> bytes:
    if not re.fullmatch(r"(\./)?base/\d+/1259", member.name):
        return content
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


def _without(pattern: str) -> Callable[[tarfile.TarInfo, bytes], bytes | None]:
    return lambda member, content: None if re.search(pattern, member.name) else content


def beside(sample: Sample) -> Path:
    """Where PostgreSQL's own manifest lies."""
    return sample.folder / sample.manifest.objects[1].name


def _beside_edited(sample: Sample) -> None:
    """PostgreSQL's manifest with a blank more, and signed for."""
    content = zstandard.decompress(beside(sample).read_bytes()) + b" "
    packed = zstandard.compress(content)
    beside(sample).write_bytes(packed)
    stored = replace(
        sample.manifest.objects[1],
        size=len(packed),
        sha256=hashlib.sha256(packed).hexdigest(),
        raw_size=len(content),
    )
    sample.sign(objects=[sample.manifest.archive, stored])


def _beside_flipped(sample: Sample) -> None:
    content = bytearray(beside(sample).read_bytes())
    content[20] ^= 1
    beside(sample).write_bytes(content)


def parent(sample: Sample) -> Sample:
    """The backup that one adds to."""
    assert sample.manifest.parent
    return Sample(sample.stock, sample.folder, sample.manifest.parent)


def _of_another_server(sample: Sample) -> None:
    identity = {**sample.manifest.server, "system_identifier": "7000000000000000001"}
    sample.sign(server=identity)


def _on_another_base(sample: Sample) -> None:
    sample.stock.sample("other", sample.folder)
    sample.sign(parent=sample.stock.names["other"])


CASES = [
    Case("base: a bit changed", lambda sample: sample.flip(99), "was changed after it was", "base"),
    Case("base: cut off", lambda sample: sample.truncate(-1), "is cut off: the storage", "base"),
    Case(
        "base: a file changed and signed for",
        _with(_byte_of_a_table),
        r"is not whole: .*checksum mismatch for file \"base/\d+/1259\"",
        "base",
    ),
    Case(
        "base: a file left out and signed for",
        _with(_without(r"pg_control$")),
        r"is not whole: .*\"global/pg_control\"",
        "base",
    ),
    Case(
        "base: a file more",
        _with(_same, "base/1/999999"),
        r'is not whole: .*"base/1/999999" is present (on disk|in .*) but not in the manifest',
        "base",
    ),
    Case(
        "base: WAL left out",
        _with(_without(r"pg_wal/[0-9A-F]{24}$")),
        r"is not whole: .*WAL parsing failed",
        "base",
    ),
    Case(
        "base: files cut off",
        lambda sample: sample.store_raw(sample.raw()[:1_000_000]),
        r"its files can't be read to the last one: (unexpected end|it has no end|.*truncated)",
        "base",
    ),
    Case(
        "base: no closing blocks",
        lambda sample: sample.store_raw(sample.raw().rstrip(b"\0") + b"\0" * 10),
        r"its files can't be read to the last one",
        "base",
    ),
    Case(
        "base: no files at all",
        lambda sample: sample.store_raw(b"no tar" * 1000),
        r"its files can't be read to the last one",
        "base",
    ),
    Case(
        "base: PostgreSQL's manifest exchanged",
        _beside_edited,
        r"is not the manifest that PostgreSQL wrote into",
        "base",
    ),
    Case(
        "base: PostgreSQL's manifest damaged",
        _beside_flipped,
        r"backup_manifest\.zst was changed after it was stored",
        "base",
    ),
    Case(
        "base: PostgreSQL's manifest not named",
        lambda sample: sample.sign(objects=sample.manifest.objects[:1]),
        r"has no backup_manifest beside it",
        "base",
    ),
    Case(
        "base: of another server",
        _of_another_server,
        r"is of another server \(system identifier \d+\) than its manifest says \(70000",
        "base",
    ),
    Case(
        "incremental: its base has no manifest",
        lambda sample: parent(sample).manifest_path.unlink(),
        r"adds to, is not in the storage .*\. Without it nothing can be restored from this one",
        "incremental",
    ),
    Case(
        "incremental: its base's manifest was edited",
        lambda sample: parent(sample).edit(seconds=1.5),
        r"was changed after it was written, or signed with another",
        "incremental",
    ),
    Case(
        "incremental: its base is damaged",
        lambda sample: parent(sample).flip(99),
        r"-base-\w+, which \S+ stands on, is damaged: .*was changed after it was stored",
        "incremental",
    ),
    Case(
        "incremental: its base is gone",
        lambda sample: parent(sample).path.unlink(),
        r"-base-\w+, which \S+ stands on, is damaged: .* is not in the storage",
        "incremental",
    ),
    Case(
        "incremental: its base is of another server",
        lambda sample: _of_another_server(parent(sample)),
        r"adds to \S+, which is of another server \(70000",
        "incremental",
    ),
    Case(
        "incremental: another base",
        _on_another_base,
        r"adds to a backup that began at \S+, and \S+ began at",
        "incremental",
    ),
    Case(
        "incremental: no parent",
        lambda sample: sample.sign(parent=None),
        r"adds to a backup that its manifest does not name",
        "incremental",
    ),
    Case(
        "incremental: its own parent",
        lambda sample: sample.sign(parent=sample.name),
        r"The chain of \S+ leads back to itself",
        "incremental",
    ),
    Case(
        "incremental: said to be a base",
        lambda sample: sample.sign(kind="base", parent=None),
        r"is called a incremental backup, and its manifest says that it is a base one",
        "incremental",
    ),
]

# --- what only starting it can tell --------------------------------------------------------------


def _damaged_block(sample: Sample) -> None:
    """A block of a table changed, and every manifest made to agree: as if the disk had done it."""
    where, changed = _migrations_damaged(sample)

    def agree(member: tarfile.TarInfo, content: bytes) -> bytes:
        if member.name == where:
            return changed
        if member.name.endswith("backup_manifest"):
            return _pg_manifest(content, where.removeprefix("./"), changed)
        return content

    sample.store_raw(_packed_anew(sample, agree))
    archive = json.loads(sample.manifest_path.read_bytes())["objects"][0]
    content = _pg_manifest(
        zstandard.decompress(beside(sample).read_bytes()), where.removeprefix("./"), changed
    )
    packed = zstandard.compress(content)
    beside(sample).write_bytes(packed)
    stored = replace(
        sample.manifest.objects[1],
        size=len(packed),
        sha256=hashlib.sha256(packed).hexdigest(),
        raw_size=len(content),
    )
    sample.sign(objects=[type(stored)(**archive), stored])


def _migrations_damaged(sample: Sample) -> tuple[str, bytes]:
    """Where the stock's table of migrations lies, and its content with a letter changed."""
    with superuser(sample.stock.database) as connection:
        row = connection.execute("SELECT pg_relation_filepath('django_migrations')").fetchone()
    assert row is not None
    with tarfile.open(fileobj=io.BytesIO(sample.raw())) as tar:
        member = next(each for each in tar if each.name.removeprefix("./") == row[0])
        file = tar.extractfile(member)
        assert file is not None
        content = file.read()
    position = content.rindex(b"0001_initial")
    return member.name, content[:position] + b"X" + content[position + 1 :]


def _pg_manifest(content: bytes, name: str, changed: bytes) -> bytes:
    """PostgreSQL's manifest with another checksum of one file, and of itself."""
    line = re.search(rb'\{[^}]*"Path": "' + name.encode() + rb'"[^}]*\}', content)
    assert line is not None
    entry = json.loads(line[0])
    assert entry["Checksum-Algorithm"] == "CRC32C"
    # PostgreSQL writes the value's bytes as they lie in memory.
    checksum = _crc32c(changed).to_bytes(4, "little").hex()
    edited = line[0].replace(entry["Checksum"].encode(), checksum.encode())
    body = content.replace(line[0], edited)
    end = body.rindex(b'"Manifest-Checksum"')
    digest = hashlib.sha256(body[:end]).hexdigest()
    return body[:end] + b'"Manifest-Checksum": "' + digest.encode() + b'"}\n'


def _crc32c(data: bytes) -> int:
    table = []
    for entry in range(256):
        folded = entry
        for _ in range(8):
            folded = (folded >> 1) ^ (0x82F63B78 if folded & 1 else 0)
        table.append(folded)
    value = 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _not_what_it_says(sample: Sample) -> None:
    details = json.loads(json.dumps(sample.manifest.details))
    details["witness"] = 999_999
    objects = details["fingerprint"]["objects"]
    objects["policy gone on public.ops_run"] = "0" * 16
    sample.sign(details=details)


DEEP = [
    Case(
        "a damaged block that every manifest agrees with",
        _damaged_block,
        r"Restored, it is damaged: .*(invalid page|checksum)",
        "base",
    ),
    Case(
        "another end",
        lambda sample: sample.sign(wal={**sample.manifest.wal, "stop_lsn": "FF/0"}),
        r"Restored, it ends at \S+, before FF/0, where it would be whole: WAL is missing",
        "base",
    ),
    Case(
        "no witness, and other definitions",
        _not_what_it_says,
        r"Missing: policy gone on public\.ops_run\. Run 999999, which was written before",
        "base",
    ),
]
