"""An agent in any language: registered over HTTP, called over HTTP, streamed and recorded like the built-in ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from syntor.testing.local_stack import LocalStack

HUGE = "0123456789abcde\n" * (10 * 1024 * 64)
"""An answer of 10 MiB: more than one message of NATS can carry."""
Seen = list[tuple[dict[str, str], dict[str, Any]]]


class _Agent(BaseHTTPRequestHandler):
    """Responds as its input says: completely, truncated, with an error, with a refusal, or only when released."""

    seen: Seen = []
    release = threading.Event()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
        text = body["input_message"]["content"]
        if "hang" in text:
            self.release.wait(60)
        self.send_response(500 if "refuse" in text else 422 if "not like that" in text else 200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if "huge" in text:
            self._event("done", {"final_message": HUGE})
            return
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
    for name, options in (("decorator", {"idempotent": True}), ("sculptor", {"max_concurrent": 2})):
        httpx2.post(f"{stack.url}/v1/agents/register", json=profile | {"agent_id": name} | options, timeout=10)
    yield _Agent.seen
    _Agent.release.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


def _run(
    stack: LocalStack, text: str, agent: str = "painter", *, trace: dict[str, str] | None = None, **options: Any
) -> dict[str, Any]:
    request = {"agent": agent, "input": text, **options}
    headers = {"Prefer": "wait=30"} | (trace or {})
    response = httpx2.post(f"{stack.url}/v1/runs", json=request, headers=headers, timeout=40)
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


def test_the_trace_of_the_caller_is_passed_on_with_its_state(stack: LocalStack, painter: Seen) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    trace = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", "tracestate": "congo=t61rcWkgMzE,rojo=00f067"}
    assert _run(stack, "paint", trace=trace)["status"] == "done"
    headers, _ = painter[-1]
    assert trace_id in headers["traceparent"]
    assert headers["tracestate"] == trace["tracestate"]
    _run(stack, "paint")
    assert "tracestate" not in painter[-1][0]


def test_requests_it_refuses_keep_no_other_from_it(stack: LocalStack, painter: Seen) -> None:
    for _ in range(6):
        run = _run(stack, "not like that")
        assert (run["status"], run["error_code"]) == ("failed", "bad_response")
    assert _run(stack, "paint")["status"] == "done"


def test_an_error_of_its_own_fails_the_run_with_its_code(stack: LocalStack, painter: Seen) -> None:
    run = _run(stack, "make an error")
    assert (run["status"], run["error_code"]) == ("failed", "out_of_paint")
    assert "no paint left" in run["error_message"]


@pytest.mark.parametrize(("text", "code"), [("cut it short", "bad_response"), ("refuse", "model_unavailable")])
def test_an_agent_that_is_not_idempotent_is_called_once(stack: LocalStack, painter: Seen, text: str, code: str) -> None:
    before = len(painter)
    run = _run(stack, text)
    assert (run["status"], run["error_code"]) == ("failed", code)
    assert len(painter) - before == 1
    headers, _ = painter[-1]
    assert (headers["x-attempt"], headers["idempotency-key"]) == ("1", f"{run['run_id']}.t1")


def test_an_idempotent_agent_is_called_again_with_the_same_key_and_the_number_of_the_attempt(
    stack: LocalStack, painter: Seen
) -> None:
    before = len(painter)
    run = _run(stack, "cut it short", "decorator")
    assert (run["status"], run["error_code"]) == ("failed", "bad_response")
    headers = [headers for headers, _ in painter[before:]]
    assert [each["x-attempt"] for each in headers] == ["1", "2", "3"]
    assert {each["idempotency-key"] for each in headers} == {f"{run['run_id']}.t1"}


def test_an_agent_that_is_silent_is_given_up_at_the_time_out_of_the_run(stack: LocalStack, painter: Seen) -> None:
    before = len(painter)
    run = _run(stack, "hang", timeout_s=2)
    assert (run["status"], run["error_code"]) == ("failed", "timeout")
    assert len(painter) - before == 1


def test_an_agent_that_hangs_uses_up_only_its_own_places(
    stack: LocalStack, painter: Seen, wait_for: Callable[..., Any]
) -> None:
    _Agent.release.clear()
    before = len(painter)
    request = {"agent": "sculptor", "input": "hang on"}
    runs = [httpx2.post(f"{stack.url}/v1/runs", json=request, timeout=10).json()["run_id"] for _ in range(12)]

    def hanging() -> int:
        return sum(body["agent_id"] == "sculptor" for _, body in painter[before:])

    wait_for(lambda: hanging() == 2)
    assert _run(stack, "paint")["status"] == "done"
    assert hanging() == 2
    _Agent.release.set()
    for run_id in runs:
        wait_for(lambda run_id=run_id: httpx2.get(f"{stack.url}/v1/runs/{run_id}").json()["status"] == "done")
    assert hanging() == 12


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


def test_an_agent_that_keeps_failing_is_not_called_for_a_while_and_doctor_says_so(
    stack: LocalStack, painter: Seen
) -> None:
    endpoint = httpx2.get(f"{stack.url}/v1/agents/painter", timeout=10).json()["profile"]["endpoint"]
    profile = {"agent_id": "crumbler", "name": "Crumbler", "endpoint": endpoint}
    httpx2.post(f"{stack.url}/v1/agents/register", json=profile, timeout=10)
    before = len(painter)
    errors = [_run(stack, f"refuse {number}", "crumbler")["error_code"] for number in range(5)]
    assert errors == ["model_unavailable"] * 5
    refused = _run(stack, "hello", "crumbler")
    assert (refused["status"], refused["error_code"], len(painter) - before) == ("failed", "circuit_open", 5)
    assert "agent crumbler at 127.0.0.1" in refused["error_message"]
    assert "failed 5 times in a row and is not called for" in refused["error_message"]
    assert _run(stack, "hello", "decorator")["status"] == "done"
    doctor = json.loads(stack.syntor("doctor", "-o", "json").stdout)
    found = [finding for finding in doctor["findings"] if finding["name"] == "breaker"]
    assert len(found) == 1
    assert found[0]["state"] == "problem"
    assert "agent-external and agent crumbler at 127.0.0.1" in found[0]["detail"]


@pytest.mark.parametrize("agent_id", ["git", "docs", "external", "worker"])
def test_a_built_in_agent_is_neither_replaced_nor_removed(stack: LocalStack, agent_id: str) -> None:
    before = httpx2.get(f"{stack.url}/v1/agents/{agent_id}", timeout=10).json()
    body = {"agent_id": agent_id, "name": "Mine", "endpoint": "http://127.0.0.1:9"}
    refused = httpx2.post(f"{stack.url}/v1/agents/register", json=body, timeout=10)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict"), refused.text
    assert repr(agent_id) in refused.json()["detail"]
    removed = httpx2.delete(f"{stack.url}/v1/agents/{agent_id}", timeout=10)
    assert removed.status_code == (404 if agent_id == "external" else 409), removed.text
    after = httpx2.get(f"{stack.url}/v1/agents/{agent_id}", timeout=10).json()
    assert after.get("profile") == before.get("profile")


def test_an_agent_belongs_to_the_token_it_was_registered_with(stack: LocalStack) -> None:
    def headers(name: str) -> dict[str, str]:
        created = stack.syntor("tokens", "create", name, "--scope", "admin")
        return {"Authorization": f"Bearer {created.stdout.strip()}"}

    alice, bob = headers("alice"), headers("bob")
    body = {"agent_id": "sketcher", "name": "Sketcher", "endpoint": "http://127.0.0.1:9"}
    url = f"{stack.url}/v1/agents/register"
    assert httpx2.post(url, json=body, headers=alice, timeout=10).json()["profile"]["owner"] == "alice"
    stolen = httpx2.post(url, json=body | {"endpoint": "http://127.0.0.1:1"}, headers=bob, timeout=10)
    assert (stolen.status_code, "token 'alice'" in stolen.json()["detail"]) == (409, True)
    assert httpx2.delete(f"{stack.url}/v1/agents/sketcher", headers=bob, timeout=10).status_code == 409
    assert httpx2.post(url, json=body | {"name": "Drawer"}, headers=alice, timeout=10).status_code == 200
    assert httpx2.delete(f"{stack.url}/v1/agents/sketcher", headers=alice, timeout=10).status_code == 200


def test_an_answer_of_ten_megabytes_is_read_whole_and_shown_in_part_in_lists(stack: LocalStack, painter: Seen) -> None:
    run = _run(stack, "a huge one")
    assert (run["status"], run["cut"]) == ("done", {})
    assert run["final_message"] == HUGE
    run_id, session_id = run["run_id"], run["session_id"]
    with httpx2.Client(base_url=stack.url, timeout=30) as api:
        assert api.get(f"/v1/runs/{run_id}").json()["final_message"] == HUGE
        listed = api.get("/v1/runs", params={"session_id": session_id}).json()["runs"][0]
        assert HUGE.startswith(listed["final_message"])
        assert listed["cut"]["final_message"] == {"size": len(HUGE), "whole": f"/v1/runs/{run_id}"}
        answer = api.get(f"/v1/sessions/{session_id}/messages").json()["messages"][-1]
        assert answer["cut"]["content"]["size"] == len(HUGE)
        event = api.get(answer["cut"]["content"]["whole"]).json()["events"][0]
        assert event["data"]["final_message"] == HUGE
    for arguments in (("runs", "show", run_id), ("sessions", "show", session_id), ("sessions", "export", session_id)):
        shown = stack.syntor(*arguments)
        assert shown.returncode == 0, shown.stderr
        assert len(shown.stdout) > len(HUGE)
    assert stack.syntor("runs", "list").returncode == 0


def test_agents_are_listed_page_by_page(stack: LocalStack, painter: Seen) -> None:
    with httpx2.Client(base_url=stack.url, timeout=30) as api:
        too_large = {"agent_id": "big", "name": "Big", "endpoint": "http://127.0.0.1:9"}
        capabilities = [{"name": f"c{n}", "description": "x" * 4000} for n in range(250)]
        refused = api.post("/v1/agents/register", json=too_large | {"capabilities": capabilities})
        assert (refused.status_code, "at most 262144 are allowed" in refused.text) == (400, True)
        names = [f"big{number}" for number in range(40)]
        for name in names:
            body = too_large | {"agent_id": name, "capabilities": capabilities[:60]}
            assert api.post("/v1/agents/register", json=body).status_code == 200
        first = api.get("/v1/agents").json()
        rest = api.get("/v1/agents", params={"cursor": first["cursor"]}).json()
        assert rest["cursor"] is None
        listed = [agent["profile"]["agent_id"] for agent in first["agents"] + rest["agents"]]
        assert listed == sorted(listed)
        assert {*names, "worker", "git"} <= set(listed)
        shown = json.loads(stack.syntor("agents", "list", "-o", "json").stdout)["agents"]
        assert [agent["profile"]["agent_id"] for agent in shown] == listed
        for name in names:
            assert api.delete(f"/v1/agents/{name}").status_code == 200
