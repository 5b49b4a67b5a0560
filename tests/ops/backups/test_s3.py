"""Backups in a real S3 server: whole or not at all, in bounded memory, whatever the server does."""

from __future__ import annotations

import io
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.base import File
from pytest_django import Settings

from ops.backups import s3
from ops.backups.errors import MissingObjectError, StorageError
from ops.backups.incoming import receive
from ops.backups.manifest import Manifest, StoredObject
from ops.backups.vault import Vault
from ops.backups.verify import ask_for_verification, verify_backup
from tests.ops.backups.conftest import ASKER, SIGNING_KEY, Backups
from tests.ops.backups.s3server import KEYS, Faults, S3Server, faulty, s3_server

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def proxy(server: S3Server) -> Iterator[Faults]:
    with faulty(server) as faults:
        yield faults


@pytest.fixture
def bucket(server: S3Server, request: pytest.FixtureRequest) -> str:
    return server.bucket(f"b{abs(hash(request.node.name)):x}")


def options(url: str, bucket: str, **changes: Any) -> dict[str, Any]:
    return {
        "bucket_name": bucket,
        "location": "deep/backups",
        "endpoint_url": url,
        "region_name": "us-east-1",
        "addressing_style": "path",
        "part_megabytes": 5,  # the smallest that S3 takes
        "access_key": KEYS["aws_access_key_id"],
        "secret_key": KEYS["aws_secret_access_key"],
        **changes,
    }


def vault_of(url: str, bucket: str, **changes: Any) -> Vault:
    return Vault(s3.S3Backups(**options(url, bucket, **changes)), "dbbackup")


class Stream(File[bytes]):
    """A source that can't be rewound, and may fail."""

    def __init__(self, content: bytes, error: BaseException | None = None) -> None:
        super().__init__(io.BytesIO(content))
        self._error = error

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(min(size, 700_000))
        if not data and self._error is not None:
            raise self._error
        return bytes(data)

    def seekable(self) -> bool:
        return False


def some(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def test_what_was_stored_is_read_again(server: S3Server, bucket: str) -> None:
    vault = vault_of(server.url, bucket)
    contents = {
        "empty": b"",
        "small": some(10),
        "part": some(5 * MEGABYTE),
        "large": some(12_345_678),
    }
    for name, content in contents.items():
        vault.save(name, Stream(content))
        with vault.open(name) as file:
            assert file.read() == content
        assert vault.size(name) == len(content)
    assert vault.names() == sorted(contents)
    assert server.names(bucket) == sorted(f"deep/backups/{name}" for name in contents)
    assert server.open_uploads(bucket) == []
    head = server.client.head_object(Bucket=bucket, Key="deep/backups/large")
    assert head["ETag"].endswith('-3"')  # three parts


def test_an_object_is_read_from_any_place_without_being_fetched_whole(
    server: S3Server, bucket: str
) -> None:
    vault = vault_of(server.url, bucket)
    content = some(2_000_000)
    vault.save("x", Stream(content))
    with vault.open("x") as file:
        assert file.read(5) == content[:5]
        file.seek(1_999_990)
        assert file.read(100) == content[-10:]
        assert file.read(100) == b""
        file.seek(0)
        assert file.read() == content


def test_a_listing_goes_beyond_its_first_page(server: S3Server, bucket: str) -> None:
    vault = vault_of(server.url, bucket)
    names = [f"manifests/{number:04d}.json" for number in range(35)]
    client = server.client
    for name in names:
        client.put_object(Bucket=bucket, Key=f"deep/backups/{name}", Body=b"{}")
    assert vault.names("manifests") == [name.removeprefix("manifests/") for name in names]
    assert vault.names() == []


def test_a_source_that_fails_leaves_no_object_and_no_part(server: S3Server, bucket: str) -> None:
    vault = vault_of(server.url, bucket)
    for size in (10, 11_000_000):
        with pytest.raises(StorageError, match="the dump ended early"):
            vault.save("x", Stream(some(size), StorageError("the dump ended early")))
    with pytest.raises(KeyboardInterrupt):
        vault.save("x", Stream(some(11_000_000), KeyboardInterrupt()))
    assert server.names(bucket) == []
    assert server.open_uploads(bucket) == []


def test_an_object_that_is_there_is_neither_replaced_nor_removed(
    server: S3Server, bucket: str
) -> None:
    vault = vault_of(server.url, bucket)
    vault.save("x", Stream(b"first"))
    with pytest.raises(StorageError, match=r"already has an object x\. Nothing was overwritten"):
        vault.save("x", Stream(b"second"))
    assert vault.read("x", 100) == b"first"
    vault.write("x", b"third")
    assert vault.read("x", 100) == b"third"


def test_slow_down_is_waited_for(server: S3Server, bucket: str, proxy: Faults) -> None:
    vault = vault_of(proxy.url, bucket)
    proxy.refuse = 2
    content = some(6 * MEGABYTE)
    vault.save("x", Stream(content))
    proxy.refuse = 1
    assert vault.read("x", 10 * MEGABYTE) == content
    assert proxy.refuse == 0


def test_a_reader_that_is_cut_off_goes_on_where_it_was(
    server: S3Server, bucket: str, proxy: Faults
) -> None:
    vault = vault_of(proxy.url, bucket)
    content = some(3_000_000)
    vault.save("x", Stream(content))
    proxy.cut = 3
    with vault.open("x") as file:
        assert file.read() == content
    assert proxy.cut == 0


def test_a_storage_that_keeps_breaking_off_says_nothing_about_the_backup(
    server: S3Server, bucket: str, proxy: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    vault = vault_of(proxy.url, bucket)
    vault.save("x", Stream(some(1_000)))
    proxy.cut = 1_000_000
    stored = StoredObject("archive", "x", 1_000, "0" * 64, 1_000, "none", "none")
    with (
        vault.open("x") as file,
        pytest.raises(
            StorageError, match="can't be read to its end: the storage broke off at byte"
        ),
    ):
        receive(file, stored, io.BytesIO())


def test_an_object_replaced_while_it_is_read_is_told(server: S3Server, bucket: str) -> None:
    vault = vault_of(server.url, bucket)
    vault.save("x", Stream(some(1_000)))
    with vault.open("x") as file:
        file.read(10)
        file.seek(500)
        vault.write("x", some(1_001))
        with pytest.raises(StorageError, match="was replaced while it was read"):
            file.read(10)


def test_a_missing_object_and_a_missing_bucket_are_not_the_same(
    server: S3Server, bucket: str
) -> None:
    vault = vault_of(server.url, bucket)
    with pytest.raises(MissingObjectError, match="x is not in the storage dbbackup"):
        vault.open("x")
    with pytest.raises(MissingObjectError):
        vault.size("x")
    assert not vault.exists("x")
    away = vault_of(server.url, "no-such-bucket")
    for ask in (away.open, away.size, away.exists, away.names):
        with pytest.raises(StorageError, match="The storage dbbackup refused") as caught:
            ask("x")
        assert not isinstance(caught.value, MissingObjectError)
    with pytest.raises(StorageError, match="refused"):
        away.save("x", Stream(b"1"))


def test_a_server_that_is_away_is_told(bucket: str) -> None:
    vault = vault_of("http://127.0.0.1:1", bucket)
    vault.storage.client_config.retries = {"total_max_attempts": 1}  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="Could not connect to the endpoint URL"):
        vault.names()


def test_wrong_keys_are_refused_without_being_shown() -> None:
    with s3_server() as strict:
        strict.bucket("locked")
        strict.require_keys(0)
        vault = vault_of(strict.url, "locked", access_key="AKIAWRONG", secret_key="hunter2hunter2")
        with pytest.raises(StorageError, match=r"InvalidAccessKeyId|Forbidden|403") as caught:
            vault.save("x", Stream(b"1"))
    assert "hunter2" not in str(caught.value)


def test_uploads_that_nobody_completed_are_listed_and_removed(
    server: S3Server, bucket: str
) -> None:
    client = server.client
    for key in ("deep/backups/physical/a.tar", "deep/backups/b", "elsewhere/c"):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"1")
    vault = vault_of(server.url, bucket)
    found = vault.open_uploads()
    assert sorted(upload.name for upload in found) == ["b", "physical/a.tar"]
    for upload in found:
        vault.abort(upload)
        vault.abort(upload)
    assert vault.open_uploads() == []
    assert server.open_uploads(bucket) == ["elsewhere/c"]


def test_parts_double_once_and_hold_what_backups_grow_to() -> None:
    sizes = [s3.part_size(number, 8 * MEGABYTE) for number in range(1, s3.MOST_PARTS + 1)]
    assert set(sizes[:5_000]) == {8 * MEGABYTE}
    assert set(sizes[5_000:]) == {16 * MEGABYTE}
    assert sum(sizes) == 120_000 * MEGABYTE  # 126 GB


def test_an_object_of_too_many_parts_says_what_to_set(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "MOST_PARTS", 2)
    vault = vault_of(server.url, bucket)
    with pytest.raises(StorageError, match=r"larger than 2 parts .* larger part=… \(megabytes\)"):
        vault.save("x", Stream(some(11 * MEGABYTE)))
    assert server.names(bucket) == []
    assert server.open_uploads(bucket) == []


@pytest.fixture
def on_s3(backups: Backups, server: S3Server, bucket: str, settings: Settings) -> Backups:
    """Return an installation whose backups go to the bucket."""
    entry = {"BACKEND": "ops.backups.s3.S3Backups", "OPTIONS": options(server.url, bucket)}
    settings.STORAGES = {**settings.STORAGES, "dbbackup": entry}
    return backups


def test_a_full_backup_goes_to_the_bucket_and_comes_back(
    on_s3: Backups, server: S3Server, bucket: str
) -> None:
    backup = on_s3.take()
    vault = Vault.primary()
    assert vault.names("manifests") == [f"{backup.name}.json"]
    assert server.names(bucket) == [
        f"deep/backups/manifests/{backup.name}.json",
        f"deep/backups/{backup.name}.dump.zst.age",
        f"deep/backups/{backup.name}.dump.zst.age.metadata",
    ]
    content = vault.read(f"manifests/{backup.name}.json", 10 * MEGABYTE)
    manifest = Manifest.read(content, [SIGNING_KEY], name=backup.name)
    sink = io.BytesIO()
    with vault.open(manifest.archive.name) as file:
        receive(file, manifest.archive, sink)
    assert sink.getvalue().startswith(b"PGDMP")
    assert on_s3.stored == []
    verify_backup(ask_for_verification(backup, deep=False, by=ASKER))
    backup.refresh_from_db()
    assert backup.state == "verified"


def test_a_backup_killed_while_it_goes_up_leaves_nothing_that_looks_like_one(
    on_s3: Backups, server: S3Server, bucket: str
) -> None:
    on_s3.execute(
        "CREATE TABLE public.heavy AS SELECT string_agg(md5((n * m)::text), '') AS x"
        " FROM generate_series(1, 400) n, generate_series(1, 4000) m GROUP BY n"
    )
    on_s3.execute("ALTER TABLE public.heavy OWNER TO srvc_owner")
    with faulty(server) as faults:
        faults.hold = threading.Event()
        address = f"s3://{bucket}/deep/backups?endpoint={faults.url}&part=8&addressing=path"
        variables = {
            "BACKUP_STORAGE": address,
            "BACKUP_S3_ACCESS_KEY": "a",
            "BACKUP_S3_SECRET_KEY": "b",
        }
        process = on_s3.manage("backup", **variables)
        deadline = time.monotonic() + 60
        while not server.open_uploads(bucket):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        faults.hold.set()
    # The parts are all that is left: no object, no manifest.
    assert server.names(bucket) == []
    assert len(server.open_uploads(bucket)) == 1
    assert len(Vault.primary().open_uploads()) == 1
