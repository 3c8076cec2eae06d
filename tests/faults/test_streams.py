"""A client that follows a stream finds one that is refused or silent after the end of its run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from syntor.contracts.envelope import Envelope
from syntor.contracts.run.v1 import RunDone
from syntor.eventsourcing.store import Recorded
from syntor.faults import streams
from syntor.faults.streams import Streams

DONE = b"id: 7\nevent: run_done\ndata: {}\n\n"
FIRST = b"id: 5\nevent: run_started\ndata: {}\n\n"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        run_id, last_id = self.path.split("/")[3], self.headers.get("Last-Event-ID", "")
        status, body = {
            ("ends", ""): (200, FIRST + DONE),
            ("cut", ""): (200, FIRST),
            ("cut", "5"): (200, DONE),
            ("ended", ""): (204, b""),
            ("lost", ""): (404, b""),
            ("silent", ""): (200, FIRST),
            ("silent", "5"): (200, b": ping\n\n"),
        }[run_id, last_id]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def _ended(run_id: str) -> Recorded:
    envelope = Envelope(
        specversion="1.0", id="m1", source="x", type="run_done", subject=f"run.{run_id}", time=datetime.now(UTC),
        dataschema="-", version=1, runid=run_id,
    )  # fmt: skip
    return Recorded(7, "-", envelope, RunDone(final_message=""))


def test_a_stream_is_followed_across_connections_to_its_end(url: str) -> None:
    found = Streams(url)
    for run_id in ("ends", "cut", "ended"):
        found.follow(run_id)
    assert found.silent([_ended(run_id) for run_id in ("ends", "cut", "ended", "not followed")]) == []
    assert found.followed == 3


def test_a_refused_stream_is_found_unless_the_log_lost_its_events(url: str) -> None:
    found = Streams(url)
    found.follow("lost")
    assert found.unanswered(["lost"]) == []
    assert found.silent([_ended("lost")], refusals=True) == []
    assert found.silent([_ended("lost")]) == ["the stream of run lost was refused with 404"]


def test_a_silent_stream_is_found(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SILENCE_S", 0.5)
    found = Streams(url)
    found.follow("silent")
    [line] = found.unanswered(["silent"])
    assert line == "the stream of the lost run silent stayed silent"
    [line] = found.silent([_ended("silent")])
    assert line.startswith("the stream of run silent stayed silent")
