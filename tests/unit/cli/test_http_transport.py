"""Requests and event streams of commands, against a real HTTP server on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from syntor.cli.http_transport import Transport
from syntor.cli.output import ExitCode
from syntor.cli.problem import ProblemError
from syntor.contracts.errors import MalformedMessageError
from syntor.contracts.http.v1 import Accepted


def _event(position: int, type_: str) -> bytes:
    envelope = (
        f'{{"position":{position},"specversion":"1.0","id":"m{position}","source":"syntor/x","type":"{type_}",'
        f'"subject":"run.r1","time":"2026-11-21T00:00:00Z","dataschema":"syntor:run/{type_}.v1","data":{{}}}}'
    )
    return f"id: {position}\nevent: {type_}\ndata: {envelope}\n\n".encode()


STREAMS = {
    "": (200, b": ping\n\n" + _event(3, "run_started") + b'event: gap\ndata: {"resume_after":5}\n\n'),
    "5": (200, b"id: 6\n\n"),
    "6": (200, _event(7, "run_cancelled")),
}
BODIES = {
    "/refused": (400, b'{"code":"invalid_input","detail":"limit: expected a number"}'),
    "/proxy": (503, b"<html>bad gateway</html>"),
    "/other": (200, b'{"unexpected":1}'),
    "/accepted": (200, b'{"run_id":"r1","session_id":"s1","position":7}'),
}


class _Handler(BaseHTTPRequestHandler):
    resumed_after: list[str] = []

    def do_GET(self) -> None:
        if self.path == "/stream":
            after = self.headers.get("Last-Event-ID", "")
            self.resumed_after.append(after)
            status, body = STREAMS[after]
        else:
            status, body = BODIES[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def transport() -> Iterator[Transport]:
    """Return a transport to a server of `STREAMS` and `BODIES`."""
    _Handler.resumed_after.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        transport = Transport(f"http://127.0.0.1:{server.server_address[1]}", reconnect_s=1.0)
        yield transport
        transport.close()
        server.shutdown()


def test_a_stream_resumes_where_a_gap_says_and_ends_with_the_run(transport: Transport) -> None:
    events = list(transport.events("/stream", of_run=True))
    assert [(event.position, event.type) for event in events] == [(3, "run_started"), (7, "run_cancelled")]
    assert _Handler.resumed_after == ["", "5", "6"]


def test_a_response_is_decoded_into_its_struct(transport: Transport) -> None:
    assert transport.get("/accepted", Accepted) == Accepted("r1", "s1", 7)


@pytest.mark.parametrize(
    ("path", "status", "detail", "exit_code"),
    [
        ("/refused", 400, "limit: expected a number", ExitCode.USAGE),
        ("/proxy", 503, "<html>bad gateway</html>", ExitCode.NOT_REACHABLE),
    ],
)
def test_a_refusal_has_its_status_detail_and_exit_code(
    transport: Transport, path: str, status: int, detail: str, exit_code: ExitCode
) -> None:
    with pytest.raises(ProblemError, match=detail) as caught:
        transport.get(path, Accepted)
    assert (caught.value.status, caught.value.exit_code) == (status, exit_code)


def test_a_response_of_another_shape_is_an_error_that_names_the_request(transport: Transport) -> None:
    with pytest.raises(MalformedMessageError, match="GET /other"):
        transport.get("/other", Accepted)
