"""An S3 server of a test module's own: moto's, in a process of its own, on a free port."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3

KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@dataclass(frozen=True)
class S3Server:
    """A running S3 server."""

    url: str

    @property
    def client(self) -> Any:
        """A client of its own, beside the storage under test."""
        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", **KEYS)

    def bucket(self, name: str) -> str:
        """Make an empty bucket."""
        self.client.create_bucket(Bucket=name)
        return name

    def require_keys(self, after: int) -> None:
        """Check credentials, from the request after so many on."""
        self._post("/moto-api/reset-auth", str(after).encode())

    def names(self, bucket: str) -> list[str]:
        """The names of everything in a bucket."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", []))

    def open_uploads(self, bucket: str) -> list[str]:
        """The names of uploads that nobody completed."""
        found = self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        return sorted(entry["Key"] for entry in found)

    def _post(self, path: str, body: bytes) -> None:
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(self.url + path, body, headers)  # noqa: S310
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server for a block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A page of a listing has a thousand names on a real server.
        env={**os.environ, "MOTO_S3_DEFAULT_MAX_KEYS": "10"},
    )
    assert process.stderr is not None
    found = None
    for line in process.stderr:
        if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", line):
            break
    assert found, "the S3 server did not start"
    # A server whose output nobody reads would stand still.
    drain = threading.Thread(target=process.stderr.read, daemon=True)
    drain.start()
    try:
        yield S3Server(found[1])
    finally:
        process.kill()
        process.wait()
        drain.join()
        process.stderr.close()


@dataclass
class Faults:
    """What a proxy does to requests that pass it."""

    url: str = ""
    refuse: int = 0  # so many requests get 503 SlowDown
    cut: int = 0  # so many answers to reads break off in the middle
    hold: threading.Event | None = None  # second parts of uploads wait for it
    seen: int = 0


@contextmanager
def faulty(server: S3Server) -> Iterator[Faults]:
    """Run a proxy in front of a server, which fails requests as it is told."""
    faults = Faults()
    host = server.url.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            faults.seen += 1
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if faults.hold is not None and "partNumber=2" in self.path:
                faults.hold.wait(timeout=60)
                return
            if faults.refuse:
                faults.refuse -= 1
                self._answer(
                    503, b"<Error><Code>SlowDown</Code><Message>Slow down</Message></Error>"
                )
                return
            connection = HTTPConnection(host, timeout=30)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "connection", "server", "date"}:
                    self.send_header(name, value)
            self.end_headers()
            content = answer.read() if self.command != "HEAD" else b""
            if faults.cut and self.command == "GET" and self.headers.get("Range"):
                faults.cut -= 1
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
            else:
                self.wfile.write(content)
            connection.close()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    faults.url = f"http://127.0.0.1:{proxy.server_port}"
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield faults
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
