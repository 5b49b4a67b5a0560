"""Reading an object of a bucket as it comes, from any place of it, through broken connections."""

from __future__ import annotations

import io
import time
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from ops.backups.errors import StorageError

_ATTEMPTS = 8
_LONGEST_PAUSE = 20.0  # seconds


class Reader(io.RawIOBase):
    """An object read as it comes. Cut off, it goes on where it was; changed meanwhile, it fails.

    `head` is what the storage said about it when it was opened.
    """

    def __init__(self, client: Any, bucket: str, key: str, head: dict[str, Any]) -> None:
        self._client, self._bucket, self._key = client, bucket, key
        self.size, self._etag = int(head["ContentLength"]), head["ETag"]
        self._at = 0
        self._body: Any = None

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that any place of it can be read."""
        return True

    def tell(self) -> int:
        """Return where the next byte comes from."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read on from another place; nothing is fetched until somebody reads."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset != self._at:
            self._let_go()
            self._at = max(0, base + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return as many bytes as asked for, fewer only at the end. Raises StorageError."""
        missing = self.size - self._at if size is None or size < 0 else size
        missing = max(0, min(missing, self.size - self._at))
        parts = []
        attempts = 0
        while missing:
            try:
                data = self._fetch(missing)
            except (BotoCoreError, ClientError, HTTPError, OSError) as error:
                attempts += 1
                self._let_go()
                if attempts == _ATTEMPTS or not _may_pass(error):
                    raise StorageError(self._cut_off(error)) from error
                time.sleep(min(_LONGEST_PAUSE, 0.1 * 2**attempts))
                continue
            attempts = 0
            self._at += len(data)
            missing -= len(data)
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Let go of the connection."""
        self._let_go()
        super().close()

    def _fetch(self, most: int) -> bytes:
        if self._body is None:
            self._body = self._client.get_object(
                Bucket=self._bucket,
                Key=self._key,
                Range=f"bytes={self._at}-",
                IfMatch=self._etag,
            )["Body"]
        data: bytes = self._body.read(most)
        if not data:
            raise ConnectionError("the answer ended early")
        return data

    def _let_go(self) -> None:
        if self._body is not None:
            with suppress(Exception):
                self._body.close()
            self._body = None

    def _cut_off(self, error: Exception) -> str:
        if isinstance(error, ClientError) and error_code(error) in {"PreconditionFailed", "412"}:
            return (
                f"{self._key} was replaced while it was read, so nothing can be said about it. "
                "Nothing was changed. Run this again."
            )
        return (
            f"{self._key} can't be read to its end: the storage broke off at byte {self._at:,} of "
            f"{self.size:,} ({' '.join(str(error).split())}). Nothing can be said about it. Run "
            "this again when the storage is well."
        )


def error_code(error: ClientError) -> str:
    """Return S3's own code of a refusal."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _may_pass(error: Exception) -> bool:
    """Tell whether another attempt may help."""
    if not isinstance(error, ClientError):
        return True
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return status >= 500
