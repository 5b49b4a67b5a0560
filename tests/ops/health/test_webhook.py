"""A chat is told by one POST; its secret address is shown to nobody and followed nowhere."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ops.health import messages, webhook
from ops.health.addresses import wrong_address
from ops.health.channels import Webhook, channels
from ops.health.messages import Told
from ops.health.webhook import UndeliveredError, post
from ops.models import Finding, Severity

SECRET = "T0/B0/a-secret"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Chat:
    """A chat's server: what it was sent, and how it answers."""

    address: str = ""
    status: int = 200
    letters: bytes = b"ok"
    seconds_each: float = 0.0
    received: list[tuple[str, str, Any]] = field(default_factory=list)


@pytest.fixture
def chat() -> Iterator[Chat]:
    served = Chat()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            served.received.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(served.status)
            if 300 <= served.status < 400:
                self.send_header("Location", f"{served.address}/elsewhere")
            self.end_headers()
            for letter in served.letters:
                time.sleep(served.seconds_each)
                self.wfile.write(bytes([letter]))
                self.wfile.flush()

        def log_message(self, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Whoever has waited enough hangs up."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_port}"
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def finding(title: str = "The disk is full") -> Finding:
    return Finding(pk=7, title=title, detail="1 % left.", next_step="df -h", severity="critical")


def test_a_finding_is_told_as_slack_and_its_kin_read_it(chat: Chat, settings: Any) -> None:
    settings.HEALTH_NOTIFY_WEBHOOK_URL = f"{chat.address}/services/{SECRET}?thread=1"
    settings.HEALTH_NOTIFY_EMAILS = []
    (channel,) = channels()
    channel.tell([Told(finding("<b> & “full”"), NOON)])
    ((path, kind, payload),) = chat.received
    assert (path, kind) == (f"/services/{SECRET}?thread=1", "application/json")
    assert payload["text"] == "[SRVC development] Critical: &lt;b&gt; &amp; “full”"
    (block,) = payload["blocks"]
    assert (block["type"], block["text"]["type"]) == ("section", "mrkdwn")
    text = block["text"]["text"]
    assert text.startswith("*Critical: &lt;b&gt; &amp; “full”*\n1 % left.\n")
    assert "Since 2026-11-22 12:00 UTC.\nNext step:\n```df -h```" in text


def test_very_much_is_told_within_what_a_chat_takes() -> None:
    long = Finding(pk=1, title="x", detail="y" * 9_000, severity="critical")
    payload = messages.chat([Told(long, NOON)] * 60)
    assert len(payload["blocks"]) == 41
    assert payload["blocks"][-1]["text"]["text"] == "… and 20 more"
    assert all(len(block["text"]["text"]) <= 3_000 for block in payload["blocks"])


def test_getting_better_is_told_with_what_is_left() -> None:
    told = Told(finding(), NOON, NOON, Severity.WARNING)
    assert messages.subject([told]) == "[SRVC development] Better (Warning): The disk is full"
    assert "1 % left." in messages.plain([told])


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (404, "The webhook answered 404."),
        (500, "The webhook answered 500."),
        (302, "The webhook answered 302. It points elsewhere, and is not followed."),
    ],
)
def test_an_answer_that_is_no_yes_is_told_without_the_address(
    chat: Chat, status: int, sentence: str
) -> None:
    chat.status = status
    with pytest.raises(UndeliveredError) as failed:
        post(f"{chat.address}/{SECRET}", {"text": "x"})
    assert str(failed.value) == sentence
    assert len(chat.received) == 1


def test_an_answer_that_comes_letter_by_letter_is_not_waited_for(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat.letters, chat.seconds_each = b"x" * 40, 0.05
    monkeypatch.setattr(webhook, "LIMIT", 0.4)
    with pytest.raises(UndeliveredError, match=r"The webhook did not answer within"):
        post(f"{chat.address}/{SECRET}", {"text": "x"})


def test_nobody_there_and_no_secret_in_what_is_said(settings: Any, caplog: Any) -> None:
    settings.HEALTH_NOTIFY_WEBHOOK_URL = f"http://127.0.0.1:1/{SECRET}"
    with pytest.raises(UndeliveredError) as failed:
        Webhook().say("hello")
    assert str(failed.value) == "The webhook could not be reached (Connection refused)."
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("address", "wrong"),
    [
        ("https://hooks.example.com/x", ""),
        ("http://127.0.0.1:9000/x", ""),
        ("http://[::1]/x", ""),
        ("http://localhost/x", ""),
        ("http://hooks.example.com/x", "would send its secret address in clear"),
        ("http://localhost.example.com/x", "would send its secret address in clear"),
        ("ftp://hooks.example.com/x", "is no address that begins with https://"),
        ("file:///etc/passwd", "is no address"),
        ("https://hooks.example.com:port/x", "is no address"),
        ("hooks.example.com/x", "is no address"),
    ],
)
def test_an_address_is_encrypted_or_of_this_machine(address: str, wrong: str) -> None:
    assert wrong_address(address) == wrong
