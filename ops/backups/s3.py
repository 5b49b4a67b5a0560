"""Backups in an S3-compatible bucket: streamed both ways, in bounded memory, nothing left half-way.

django-storages' own S3Storage downloads an object whole before its first byte can be read, and
sends ten parts at a time. Here one part is sent while the next is read, a reader that is cut off
goes on where it was, and what fails is aborted, so that no part of it stays and costs money.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import File
from storages.backends.s3 import S3Storage

from ops.backups.errors import StorageError
from ops.backups.s3reader import Reader, error_code
from ops.backups.vault import OpenUpload

MEGABYTE = 1 << 20
PAGE = 1_000  # names that a listing has at most, by S3's own limit
MOST_PARTS = 10_000  # S3's own limit
# Half of the parts have the size that settings name, the rest twice that: 126 GB of 8 MB each.
_GROWS_AFTER = MOST_PARTS // 2
_GONE = {"404", "NoSuchKey", "NotFound"}


class S3Backups(S3Storage):  # type: ignore[misc]
    """A bucket, or a folder of one, that keeps backups."""

    def __init__(self, *, part_megabytes: int = 8, **options: Any) -> None:
        self.part_bytes = part_megabytes * MEGABYTE
        options.setdefault("file_overwrite", False)
        options.setdefault("client_config", _config(options.get("addressing_style")))
        super().__init__(**options)

    # --- what Django's storages do, another way ------------------------------------------------

    def _save(self, name: str, content: File[bytes]) -> str:
        key = self._normalize_name(name)
        # In a list, so that nobody holds on to it once it is sent.
        first = [_read_exactly(content, self.part_bytes)]
        if len(first[0]) < self.part_bytes:
            body = first.pop()
            self._client.put_object(
                Bucket=self.bucket_name, Key=key, Body=body, **_md5(body), **self._parameters
            )
        else:
            self._save_in_parts(key, first, content)
        return name

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        if mode != "rb":
            raise ValueError("Objects of backups are opened for reading only.")
        key = self._normalize_name(name)
        head = self._head(key)
        if head is None:
            raise FileNotFoundError(name)
        reader: Any = Reader(self._client, self.bucket_name, key, head)
        return File(reader, name=name)

    def exists(self, name: str) -> bool:
        """Tell whether there is an object of this name. Raises ClientError without the bucket."""
        return self._head(self._normalize_name(name)) is not None

    def size(self, name: str) -> int:
        """Return an object's size in bytes. Raises FileNotFoundError."""
        head = self._head(self._normalize_name(name))
        if head is None:
            raise FileNotFoundError(name)
        return int(head["ContentLength"])

    def replace(self, name: str, content: bytes) -> None:
        """Store a small object in the place of one of that name, in one step."""
        self._client.put_object(
            Bucket=self.bucket_name,
            Key=self._normalize_name(name),
            Body=content,
            **_md5(content),
            **self._parameters,
        )

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Yield the name and size of each object below this storage's folder, page by page."""
        prefix = f"{self.location.strip('/')}/".lstrip("/")
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket_name, Prefix=prefix, PaginationConfig={"PageSize": PAGE}
        )
        for page in pages:
            for entry in page.get("Contents", ()):
                yield entry["Key"].removeprefix(prefix), int(entry["Size"])

    # --- uploads that nobody completed ---------------------------------------------------------

    def open_uploads(self) -> Iterator[OpenUpload]:
        """Yield the uploads below this storage's folder that were begun and not completed."""
        prefix = f"{self.location.strip('/')}/".lstrip("/")
        pages = self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.bucket_name, Prefix=prefix
        )
        for page in pages:
            for entry in page.get("Uploads", ()):
                yield OpenUpload(
                    entry["Key"].removeprefix(prefix), entry["UploadId"], entry["Initiated"]
                )

    def abort(self, upload: OpenUpload) -> None:
        """Remove what an upload has sent. One that is gone already is fine."""
        self._abort(self._normalize_name(upload.name), upload.id)

    def _head(self, key: str) -> dict[str, Any] | None:
        """Return what the bucket says about an object, None when the bucket lacks it.

        Raises ClientError when the bucket itself is missing: that says nothing about the object.
        """
        try:
            found: dict[str, Any] = self._client.head_object(Bucket=self.bucket_name, Key=key)
        except ClientError as error:
            if error_code(error) not in _GONE:
                raise
            self._client.head_bucket(Bucket=self.bucket_name)
            return None
        return found

    # --- parts ---------------------------------------------------------------------------------

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    @property
    def _parameters(self) -> dict[str, Any]:
        return {"ContentType": "application/octet-stream", **self.get_object_parameters("")}

    def _save_in_parts(self, key: str, first: list[bytearray], content: File[bytes]) -> None:
        client = self._client
        upload = client.create_multipart_upload(
            Bucket=self.bucket_name, Key=key, **self._parameters
        )["UploadId"]
        with ThreadPoolExecutor(1, thread_name_prefix="s3-part") as executor:
            try:
                parts = self._send_parts(executor, client, key, upload, first, content)
            except BaseException:
                # A part still under way would survive the abort.
                executor.shutdown(wait=True, cancel_futures=True)
                with suppress(ClientError, BotoCoreError):
                    self._abort(key, upload)
                raise
        self._complete(key, upload, parts)

    def _send_parts(
        self,
        executor: ThreadPoolExecutor,
        client: Any,
        key: str,
        upload: str,
        first: list[bytearray],
        content: File[bytes],
    ) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        data = first.pop()
        under_way: Future[dict[str, Any]] | None = None
        while data:
            number = len(parts) + (under_way is not None) + 1
            if number > MOST_PARTS:
                raise StorageError(
                    f"{key} is larger than {MOST_PARTS:,} parts of this size can hold. Nothing of "
                    "it was kept. Put a larger part=… (megabytes) into the storage's address and "
                    "run this again."
                )
            if under_way is not None:
                parts.append(under_way.result())
            under_way = executor.submit(
                _send_part, client, self.bucket_name, key, upload, number, data
            )
            data = _read_exactly(content, part_size(number + 1, self.part_bytes))
        if under_way is not None:
            parts.append(under_way.result())
        return parts

    def _complete(self, key: str, upload: str, parts: list[dict[str, Any]]) -> None:
        try:
            self._client.complete_multipart_upload(
                Bucket=self.bucket_name,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
        except ClientError as error:
            # The answer to the first attempt was lost, the second finds it done.
            if error_code(error) == "NoSuchUpload" and self._head(key) is not None:
                return
            with suppress(ClientError, BotoCoreError):
                self._abort(key, upload)
            raise
        except BaseException:
            with suppress(ClientError, BotoCoreError):
                self._abort(key, upload)
            raise

    def _abort(self, key: str, upload: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self.bucket_name, Key=key, UploadId=upload)
        except ClientError as error:
            if error_code(error) != "NoSuchUpload":
                raise


def _config(addressing_style: str | None) -> Config:
    return Config(
        s3={"addressing_style": addressing_style},
        # "Slow down" and broken connections: waits 1, 2, 4 … 20 seconds, by chance less.
        retries={"mode": "standard", "total_max_attempts": 8},
        connect_timeout=10,
        read_timeout=60,
        tcp_keepalive=True,
        # Each part carries its MD5, which every S3 understands; botocore's newer trailing
        # checksums are refused by some.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def part_size(number: int, smallest: int) -> int:
    """Return how many bytes the part of this number has; all but the last are this long.

    Uniform for as long as possible, because some storages insist on that.
    """
    return smallest if number <= _GROWS_AFTER else 2 * smallest


def _send_part(
    client: Any, bucket: str, key: str, upload: str, number: int, data: bytearray
) -> dict[str, Any]:
    answer = client.upload_part(
        Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data, **_md5(data)
    )
    return {"PartNumber": number, "ETag": answer["ETag"]}


def _md5(data: bytes | bytearray) -> dict[str, str]:
    """Return what lets the storage see that it received what was sent."""
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return {"ContentMD5": base64.b64encode(digest).decode()}


def _read_exactly(content: File[bytes], size: int) -> bytearray:
    """Return `size` bytes, fewer only at the end; never more than that in memory."""
    buffer, filled = bytearray(size), 0
    while filled < size:
        piece = content.read(min(MEGABYTE, size - filled))
        if not piece:
            break
        buffer[filled : filled + len(piece)] = piece
        filled += len(piece)
    del buffer[filled:]
    return buffer
