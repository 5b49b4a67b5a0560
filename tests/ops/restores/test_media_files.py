"""Files that recovered rows name come back from a backup of media; nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from ops.models import Recovery
from ops.progress import CancelledError, Counter
from ops.restores.partial.media_files import files_of, is_safe, missing_files, restore_files
from tests.ops.backups.conftest import Backups
from tests.ops.restores.between import cloned


class Told(Counter):
    """Keeps what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


@pytest.fixture
def uploads(tmp_path: Path, settings: Settings) -> Path:
    """Return the folder of uploaded files."""
    folder = tmp_path / "media"
    settings.MEDIA_ROOT = str(folder)
    settings.RECOVERY_FILE_COLUMNS = ["public.photos.file", "public.photos.thumb", "public.x.y"]
    return folder


def put(uploads: Path, name: str, content: bytes) -> Path:
    path = uploads / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_missing_files_of_rows_come_from_the_newest_backup_that_has_them(
    backups: Backups, uploads: Path
) -> None:
    backups.execute("CREATE TABLE photos (id int PRIMARY KEY, file text, thumb text, note text)")
    backups.execute(
        "INSERT INTO photos VALUES (1, 'jobs/1/a.jpg', 'thumbs/a.jpg', 'x'),"
        " (2, 'b.jpg', '', 'y'), (3, 'jobs/1/a.jpg', NULL, 'z'), (4, 'never.jpg', NULL, 'z'),"
        " (5, '../../etc/passwd', NULL, 'z'), (6, 'kept.jpg', NULL, 'z')"
    )
    put(uploads, "b.jpg", b"older b")
    gone = put(uploads, "jobs/1/a.jpg", b"a")
    backups.take(kind="media")
    gone.unlink()
    for name, content in (("b.jpg", b"newer b"), ("thumbs/a.jpg", b"t" * 3_000_000)):
        put(uploads, name, content)
    put(uploads, "kept.jpg", b"as backed up")
    put(uploads, "unwanted.jpg", b"nobody names it")
    backups.take(kind="media")
    for name in ("b.jpg", "thumbs/a.jpg", "unwanted.jpg"):
        (uploads / name).unlink()
    put(uploads, "kept.jpg", b"of today")

    with backups.connect() as connection:
        names = list(files_of(connection, "public.photos"))
        assert list(files_of(connection, "public.others")) == []
    assert sorted(names) == [
        "../../etc/passwd", "b.jpg", "jobs/1/a.jpg", "kept.jpg", "never.jpg", "thumbs/a.jpg",
    ]  # fmt: skip
    restored, missing = restore_files(names, Counter())
    assert restored == ["b.jpg", "jobs/1/a.jpg", "thumbs/a.jpg"]
    assert missing == ["../../etc/passwd", "never.jpg"]
    found = {str(p.relative_to(uploads)): p.read_bytes() for p in uploads.rglob("*") if p.is_file()}
    assert found == {
        "b.jpg": b"newer b", "jobs/1/a.jpg": b"a", "kept.jpg": b"of today",
        "thumbs/a.jpg": b"t" * 3_000_000,
    }  # fmt: skip
    assert missing_files(names) == missing
    assert list((backups.var / "scratch").iterdir()) == []


def test_files_that_recovered_rows_name_come_back_with_them(
    backups: Backups, uploads: Path
) -> None:
    backups.execute(
        "SET ROLE srvc_owner; CREATE TABLE photos (id int PRIMARY KEY, file text, thumb text);"
        " INSERT INTO photos VALUES (1, 'a.jpg', 'never.jpg'), (2, 'b.jpg', NULL)"
    )
    for name in ("a.jpg", "b.jpg"):
        put(uploads, name, name.encode())
    backups.take(kind="media")
    with cloned(backups.database) as between:
        between.execute("DELETE FROM photos WHERE id = 1")
        for name in ("a.jpg", "b.jpg"):
            (uploads / name).unlink()

        preview = between.recover(tables=("photos",), dry_run=True)
        (note,) = preview.plan["notes"]
        assert note == (
            "2 file(s) that these rows name are missing: a.jpg, never.jpg. What the backups of "
            "media have of them comes back with the rows."
        )
        assert list(uploads.iterdir()) == []

        done = between.recover(tables=("photos",))
        assert done.note.endswith(
            " 1 file(s) came back: a.jpg. In no backup of media: 1 file(s): never.jpg."
        )
        assert Recovery.objects.get(pk=done.pk).note == done.note
        assert [path.read_bytes() for path in uploads.iterdir()] == [b"a.jpg"]


def test_a_damaged_backup_brings_nothing_and_an_older_one_is_read(
    backups: Backups, uploads: Path
) -> None:
    file = put(uploads, "a.jpg", b"good")
    backups.take(kind="media")
    file.write_bytes(b"newer")
    newest = backups.take(kind="media")
    stored = backups.folder / f"{newest.name}.tar.zst.age"
    stored.write_bytes(stored.read_bytes()[:-1] + b"!")
    file.unlink()
    told = Told()
    assert restore_files(["a.jpg"], told) == (["a.jpg"], [])
    assert file.read_bytes() == b"good"
    changed = f"{stored.name} was changed after it was stored: its SHA-256 is not the manifest's."
    assert told.said == [f"No file could be taken from {newest.name}: {changed}"]


def test_cancelled_it_leaves_nothing(backups: Backups, uploads: Path) -> None:
    file = put(uploads, "a.jpg", b"a")
    backups.take(kind="media")
    file.unlink()
    progress = Counter()
    progress.cancel()
    with pytest.raises(CancelledError):
        restore_files(["a.jpg"], progress)
    assert list(uploads.rglob("*")) == []
    assert list((backups.var / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["", ".", "/etc/passwd", "../a", "a/../../b", "a/./b", "a//b", "a/", "a\\b", "a\x00b", "a\nb"],
)
def test_a_name_that_leads_elsewhere_is_no_files(name: str) -> None:
    assert not is_safe(name)
    assert is_safe("Größe & Maß/ü.png")
