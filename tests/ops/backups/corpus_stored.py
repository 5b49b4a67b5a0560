"""What a storage, or somebody without the key, does to a backup."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace

from tests.ops.backups.corpus import Case, Sample

# --- what is stored is not what was stored -------------------------------------------------------


def _truncated(keep: int, said: str) -> Case:
    return Case(f"cut to {keep} bytes", lambda sample: sample.truncate(keep), said)


def _in_the_middle(seed: int) -> Case:
    def damage(sample: Sample) -> None:
        sample.truncate(random.Random(seed).randrange(1, sample.size))

    return Case(
        f"cut anywhere ({seed})", damage, r"is cut off: the storage .* has [\d,]+ of [\d,]+"
    )


def _flipped(where: str, position: Callable[[Sample], int]) -> Case:
    return Case(
        f"a bit changed {where}",
        lambda sample: sample.flip(position(sample)),
        r"was changed after it was stored: its SHA-256 is not the manifest's",
    )


def _anywhere(seed: int) -> Callable[[Sample], int]:
    return lambda sample: random.Random(seed).randrange(sample.size)


def _appended(sample: Sample) -> None:
    with sample.path.open("ab") as file:
        file.write(b"\0")


def _folder_instead(sample: Sample) -> None:
    sample.path.unlink()
    sample.path.mkdir()


def _other_object(sample: Sample) -> None:
    """The archive of another backup, as long as this one."""
    other = sample.stock.folder / f"{sample.stock.names['other']}.dump.zst.age"
    content = other.read_bytes()[: sample.size]
    sample.path.write_bytes(content.ljust(sample.size, b"\0"))


STORED = [
    _truncated(0, r"is cut off: the storage .* has 0 of [\d,]+ bytes"),
    _truncated(1, r"is cut off: the storage .* has 1 of [\d,]+ bytes"),
    _truncated(200, r"is cut off: the storage .* has 200 of"),
    Case("the last byte lost", lambda sample: sample.truncate(-1), r"is cut off: the storage"),
    Case(
        "cut between two blocks of the cipher",
        lambda sample: sample.truncate(sample.size // 65536 * 65536 or sample.size // 2),
        r"is cut off: the storage",
    ),
    *(_in_the_middle(seed) for seed in (1, 2, 3)),
    _flipped("at the beginning", lambda sample: 0),
    _flipped("in the cipher's header", lambda sample: 60),
    _flipped("in the middle", lambda sample: sample.size // 2),
    _flipped("in the authentication tag", lambda sample: sample.size - 1),
    *(_flipped(f"anywhere ({seed})", _anywhere(seed)) for seed in (1, 2, 3)),
    Case(
        "a byte appended", _appended, r"instead of [\d,]+: it is another object, or something was"
    ),
    Case("the archive of another backup", _other_object, r"was changed after it was stored"),
    Case(
        "a folder in its place",
        _folder_instead,
        r"in the storage .* instead of|is cut off: the storage .* has [0-9,]+ of|can't be used",
    ),
]

# --- the manifest --------------------------------------------------------------------------------


def _renamed(sample: Sample) -> None:
    """Every file of a backup under the name of a later one."""
    later = sample.name.replace("-full-", "-full-again-")
    sample.manifest_path.rename(sample.folder / f"manifests/{later}.json")
    sample.name = later


def _swapped(sample: Sample) -> None:
    other = sample.stock.folder / f"manifests/{sample.stock.names['other']}.json"
    shutil.copyfile(other, sample.manifest_path)


def _without_signature(sample: Sample) -> None:
    document = json.loads(sample.manifest_path.read_bytes())
    del document["signature"]
    sample.manifest_path.write_text(json.dumps(document))


def _fewer_rows(sample: Sample) -> None:
    document = json.loads(sample.manifest_path.read_bytes())
    document["proof"]["tables"][0]["rows"] += 1
    sample.manifest_path.write_text(json.dumps(document))


MANIFESTS = [
    Case(
        "manifest cut off",
        lambda sample: sample.manifest_path.write_bytes(sample.manifest_path.read_bytes()[:-9]),
        r"manifest of .* is cut off or no JSON",
    ),
    Case("manifest empty", lambda sample: sample.manifest_path.write_bytes(b""), r"no JSON"),
    Case(
        "manifest of another kind of file",
        lambda sample: sample.manifest_path.write_bytes(b"[1]\n"),
        r"is no manifest",
    ),
    Case("manifest without signature", _without_signature, r"has no signature"),
    Case("rows edited", _fewer_rows, r"was changed after it was written, or signed with another"),
    Case(
        "size edited",
        lambda sample: sample.edit(seconds=0.001),
        r"was changed after it was written",
    ),
    Case(
        "signed with another key",
        lambda sample: sample.sign("somebody else's key"),
        r"signed with another BACKUP_SIGNING_KEY",
    ),
    Case(
        "of a later version of SRVC",
        lambda sample: sample.sign_document(format=2),
        r"has format 2, which this version of SRVC \(format 1\) can't read",
    ),
    Case("manifest of another backup", _swapped, r"is the one of srvc-.*: files were swapped or"),
    Case("renamed", _renamed, r"is the one of srvc-.*: files were swapped or renamed"),
    Case(
        "another kind",
        lambda sample: sample.sign(kind="schema"),
        r"is called a full backup, and its manifest says that it is a schema one",
    ),
    Case("no object", lambda sample: sample.sign(objects=[]), r"names no object"),
    Case("no proof", lambda sample: sample.sign(proof=None), r"proves nothing about what is in it"),
    Case(
        "another raw size",
        lambda sample: sample.sign(objects=[replace(sample.manifest.archive, raw_size=7)]),
        r"opens to [\d,]+ bytes; 7 went in",
    ),
    Case(
        "of a field that is none",
        lambda sample: sample.sign_document(objects=[{"role": "archive", "wings": 2}]),
        r"is signed, and says other things than a manifest of format 1 does",
    ),
    Case(
        "half a character for a signature",
        lambda sample: sample.edit(signature="\ud800"),
        r"was changed after it was written, or signed with another",
    ),
]
