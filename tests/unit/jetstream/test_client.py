"""Header blocks are built and parsed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from syntor.jetstream.client import Message, build_headers, parse_headers


def test_headers_are_read_as_they_were_written() -> None:
    headers = {"Nats-Msg-Id": "m1", "traceparent": "00-a-b-01", "Odd": "a: b: ä"}

    assert parse_headers(build_headers(headers)) == headers


def test_a_line_break_cannot_begin_another_header() -> None:
    assert parse_headers(build_headers({"Cause": "one\r\nNats-TTL: 1s"})) == {"Cause": "one  Nats-TTL: 1s"}


@pytest.mark.parametrize(
    ("block", "status", "description"),
    [
        (b"NATS/1.0 503\r\n\r\n", "503", ""),
        (b"NATS/1.0 409 Consumer Deleted\r\n\r\n", "409", "Consumer Deleted"),
        (b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 3\r\n\r\n", "100", "Idle Heartbeat"),
    ],
)
def test_an_inline_status_is_read(block: bytes, status: str, description: str) -> None:
    message = Message("inbox", b"", "", parse_headers(block))

    assert message.status == status
    assert (message.headers or {})["Description"] == description


def test_an_ordinary_message_has_no_status() -> None:
    assert Message("s", b"", "", None).status == ""
    assert Message("s", b"", "", parse_headers(b"NATS/1.0\r\nA: 1\r\n\r\n")).status == ""


def test_unused_modules_of_the_library_are_not_loaded_until_they_are_accessed() -> None:
    code = (
        "import sys, syntor.jetstream, nats\n"
        "assert not {'aiohttp', 'importlib.metadata', 'nats.js', 'nats.js.client'} & sys.modules.keys()\n"
        "assert nats.js.api.Header.STATUS == 'Status'\n"
        "import importlib.metadata\n"
        "from nats.js import JetStreamContext\n"
        "assert nats.js.JetStreamContext is JetStreamContext\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
