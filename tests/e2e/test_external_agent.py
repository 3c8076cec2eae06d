"""An agent in any language: registered over HTTP, called over HTTP, streamed and recorded like the built-in ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack

Seen = list[tuple[dict[str, str], dict[str, Any]]]


class _Agent(BaseHTTPRequestHandler):
    """Responds as its input says: completely, truncated, with an error, or with a refusal."""

    seen: Seen = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
        text = body["input_message"]["content"]
        self.send_response(500 if "refuse" in text else 200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self._event("state", {"state": "thinking"})
        self._event("delta", {"text": "two "})
        self._event("delta", {"text": "words"})
        if "error" in text:
            self._event("error", {"code": "out_of_paint", "message": "no paint left"})
        elif "cut" not in text:
            usage = {"input_tokens": 5, "output_tokens": 2}
            self._event("done", {"final_message": "two words", "usage": usage})

    def _event(self, name: str, data: dict[str, Any]) -> None:
        self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def painter(stack: LocalStack) -> Iterator[Seen]:
    """An external agent, registered with its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Agent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    profile = {
        "agent_id": "painter",
        "name": "Painter",
        "endpoint": f"http://127.0.0.1:{server.server_address[1]}",
        "capabilities": [{"name": "painting"}],
    }
    registered = httpx2.post(f"{stack.url}/v1/agents/register", json=profile, timeout=10)
    assert registered.status_code in (200, 201), registered.text
    yield _Agent.seen
    server.shutdown()
    server.server_close()
    thread.join(5)


def _run(stack: LocalStack, text: str) -> dict[str, Any]:
    request = {"agent": "painter", "input": text}
    response = httpx2.post(f"{stack.url}/v1/runs", json=request, headers={"Prefer": "wait=30"}, timeout=40)
    assert response.status_code == 200, response.text
    run: dict[str, Any] = response.json()
    return run


def test_its_answer_is_streamed_recorded_and_counted(stack: LocalStack, painter: Seen) -> None:
    run = _run(stack, "paint")
    assert (run["status"], run["final_message"]) == ("done", "two words")
    assert run["usage"]["input_tokens"] == 5
    headers, body = painter[-1]
    assert headers["x-run-id"] == run["run_id"] == body["run_id"]
    assert headers["x-session-id"] == run["session_id"]
    assert run["correlation_id"] in headers["traceparent"]
    events = httpx2.get(f"{stack.url}/v1/runs/{run['run_id']}/events").json()["events"]
    streamed = "".join(event["data"]["text"] for event in events if event["type"] == "agent_stream_delta")
    assert streamed == "two words"


def test_an_error_of_its_own_fails_the_run_with_its_code(stack: LocalStack, painter: Seen) -> None:
    run = _run(stack, "make an error")
    assert (run["status"], run["error_code"]) == ("failed", "out_of_paint")
    assert "no paint left" in run["error_message"]


def test_an_answer_without_an_end_is_a_failure_after_three_attempts(stack: LocalStack, painter: Seen) -> None:
    before = len(painter)
    run = _run(stack, "cut it short")
    assert (run["status"], run["error_code"]) == ("failed", "bad_response")
    assert len(painter) - before == 3


def test_a_deregistered_agent_is_unknown_and_one_without_a_server_fails_clearly(
    stack: LocalStack, painter: Seen
) -> None:
    gone = {"agent_id": "gone", "name": "Gone", "endpoint": "http://127.0.0.1:9", "capabilities": []}
    httpx2.post(f"{stack.url}/v1/agents/register", json=gone, timeout=10)
    response = httpx2.post(
        f"{stack.url}/v1/runs", json={"agent": "gone", "input": "x"}, headers={"Prefer": "wait=30"}, timeout=40
    ).json()
    assert (response["status"], response["error_code"]) == ("failed", "model_unavailable")
    assert "127.0.0.1:9" in response["error_message"]
    assert httpx2.delete(f"{stack.url}/v1/agents/gone").status_code in (200, 204)
    refused = httpx2.post(f"{stack.url}/v1/runs", json={"agent": "gone", "input": "x"})
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
