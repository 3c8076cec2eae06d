"""A run passes through every service and the log, and its response reaches the client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2

from syntor.testing.local_stack import LocalStack

Follow = Callable[[httpx2.Response], Iterator[dict[str, Any]]]
GOOD_RUN = [
    "user_input",
    "run_started",
    "task_assigned",
    "agent_invoke_started",
    "llm_call_started",
    "agent_stream_delta",
    "llm_call_done",
    "agent_invoke_done",
    "run_done",
]


def _start(http: httpx2.Client, text: str, **fields: Any) -> dict[str, Any]:
    response = http.post("/v1/runs", json={"agent": "worker", "input": text, **fields})
    assert response.status_code == 202, response.text
    body: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/v1/runs/{body['run_id']}"
    return body


def test_a_good_run_is_these_events_in_this_order(http: httpx2.Client, follow: Follow) -> None:
    with http.stream(
        "POST", "/v1/runs", json={"agent": "worker", "input": "hello"}, headers={"Accept": "text/event-stream"}
    ) as response:
        events = list(follow(response))
    assert [event["type"] for event in events] == GOOD_RUN
    assert events[-1]["data"]["final_message"] == "The scripted answer."
    positions = [event["position"] for event in events]
    assert positions == sorted(set(positions))
    run_events = [event for event in events if event["subject"].startswith("run.")]
    assert [event["version"] for event in run_events] == list(range(1, len(run_events) + 1))


def test_an_agent_looks_with_a_tool_and_a_credential_it_comes_across_is_kept_nowhere(
    stack: LocalStack, http: httpx2.Client, follow: Follow, workspace: Path
) -> None:
    secret = "ghp_" + "a1B2c3" * 6
    (workspace / f"found-{secret}").touch()
    request = {"agent": "worker", "input": "use a tool", "workspace": str(workspace)}
    with http.stream("POST", "/v1/runs", json=request, headers={"Accept": "text/event-stream"}) as response:
        events = list(follow(response))
    types = [event["type"] for event in events]
    steps = ["tool_call_created", "policy_decision", "tool_dispatched", "tool_result"]
    assert [type_ for type_ in types if type_ in steps] == steps
    result = next(event for event in events if event["type"] == "tool_result")
    assert "notes.txt" in result["data"]["content"]
    assert types[-1] == "run_done"
    exported = stack.syntor("runs", "export", events[0]["runid"]).stdout
    for text in (result["data"]["content"], exported):
        assert "found-[redacted]" in text
    kept = [exported, *(path.read_text() for path in (stack.home / "logs").glob("*.log"))]
    assert not [text for text in kept if secret in text]


def test_the_read_model_shows_the_run_its_session_and_its_messages(http: httpx2.Client) -> None:
    first = http.post("/v1/runs", json={"agent": "worker", "input": "first"}, headers={"Prefer": "wait=30"})
    assert first.status_code == 200, first.text
    session_id = first.json()["session_id"]
    second = http.post(
        "/v1/runs",
        json={"agent": "worker", "input": "second", "session_id": session_id},
        headers={"Prefer": "wait=30"},
    )
    run = http.get(f"/v1/runs/{second.json()['run_id']}").json()
    assert (run["status"], run["final_message"]) == ("done", "The scripted answer.")
    messages = http.get(f"/v1/sessions/{session_id}/messages").json()["messages"]
    assert [(message["role"], message["content"]) for message in messages] == [
        ("user", "first"),
        ("assistant", "The scripted answer."),
        ("user", "second"),
        ("assistant", "The scripted answer."),
    ]


def test_the_same_key_and_body_is_the_same_run_and_another_body_is_refused(http: httpx2.Client) -> None:
    headers = {"Idempotency-Key": "order-17"}
    body = {"agent": "worker", "input": "once"}
    first = http.post("/v1/runs", json=body, headers=headers)
    again = http.post("/v1/runs", json=body, headers=headers)
    assert first.json() == again.json()
    other = http.post("/v1/runs", json={**body, "input": "twice"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_a_cancelled_run_stops_and_keeps_its_output(http: httpx2.Client, follow: Follow) -> None:
    started = _start(http, "slow please")
    types: list[str] = []
    with http.stream(
        "GET", f"/v1/runs/{started['run_id']}/events", headers={"Accept": "text/event-stream"}
    ) as response:
        for event in follow(response):
            types.append(event["type"])
            if types.count("agent_stream_delta") == 2 and event["type"] == "agent_stream_delta":
                assert http.post(f"/v1/runs/{started['run_id']}/cancel", json={}).status_code == 202
    assert types[-1] == "run_cancelled"
    assert "run_done" not in types
    again = http.post(f"/v1/runs/{started['run_id']}/cancel", json={})
    assert again.status_code == 202  # a repeated request


def test_a_failing_model_is_a_failed_run_with_its_reason(http: httpx2.Client) -> None:
    response = http.post("/v1/runs", json={"agent": "worker", "input": "fail"}, headers={"Prefer": "wait=30"})
    assert response.status_code == 200
    assert (response.json()["status"], response.json()["error_code"]) == ("failed", "model_unavailable")


def test_runs_of_one_session_take_turns(http: httpx2.Client, follow: Follow) -> None:
    session = "turns-1"
    runs = [_start(http, f"slow {number}", session_id=session)["run_id"] for number in range(2)]
    spans = []
    for run_id in runs:
        with http.stream("GET", f"/v1/runs/{run_id}/events", headers={"Accept": "text/event-stream"}) as response:
            positions = {event["type"]: event["position"] for event in follow(response)}
        spans.append((positions["run_started"], positions["run_done"]))
    assert spans[0][1] < spans[1][0]


def test_one_trace_id_is_in_the_response_and_in_every_services_log(
    stack: LocalStack, http: httpx2.Client, wait_for: Callable[..., Any]
) -> None:
    response = http.post("/v1/runs", json={"agent": "worker", "input": "trace"}, headers={"Prefer": "wait=30"})
    trace_id = response.headers["x-trace-id"]
    for service in ("ingress", "orchestrator", "agent-worker", "projector"):
        log = stack.home / "logs" / f"{service}.log"

        def lines(log: Path = log) -> list[dict[str, Any]]:
            records = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
            return [record for record in records if record.get("trace_id") == trace_id]

        assert wait_for(lines), f"no line of {service} has the trace id"


def test_the_command_line_prints_the_response_and_its_timeline(stack: LocalStack) -> None:
    done = stack.syntor("chat", "hello", "there")
    assert (done.returncode, done.stdout.strip()) == (0, "The scripted answer."), done.stderr
    shown = stack.syntor("runs", "show", "latest", "--timeline")
    assert shown.returncode == 0, shown.stderr
    assert "coordination" in shown.stdout
    streamed = stack.syntor("worker", "hello", "-o", "stream-json")
    lines = [json.loads(line) for line in streamed.stdout.splitlines()]
    assert [line["type"] for line in lines[: len(GOOD_RUN)]] == GOOD_RUN
    assert (lines[-1]["type"], lines[-1]["exit_code"]) == ("outcome", 0)
