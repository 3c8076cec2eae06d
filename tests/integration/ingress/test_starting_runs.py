"""A run is created once, however often and through whichever instance the request is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from syntor.contracts.agent.v1 import AgentDeregistered
from syntor.contracts.request.v1 import CancelRequested
from syntor.contracts.run.v1 import RunCancelled, UserInput
from syntor.contracts.task.v1 import ApprovalRequired, ToolRequest
from syntor.runtime.local_key import local_user

SSE = {"Accept": "text/event-stream"}
HELLO = {"agent": "worker", "input": "hello"}


async def user_inputs(log: Any) -> list[Any]:
    return [recorded async for recorded in log.store.load("syntor.events.run.*.user_input")]


async def test_an_accepted_run_is_in_the_log_under_the_trace_of_its_request(ingress: Any, log: Any) -> None:
    given = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    request = {**HELLO, "agent": "w", "metadata": {"a": "b"}, "timeout_s": 7}
    headers = {"traceparent": given, "tracestate": "vendor=state"}
    response = await ingress.http.post("/v1/runs", json=request, headers=headers)
    body = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/runs/{body['run_id']}"
    assert response.headers["x-trace-id"] == "ab" * 16
    assert response.headers["traceparent"].startswith("00-" + "ab" * 16)
    (recorded,) = await user_inputs(log)
    envelope, event = recorded.envelope, recorded.event
    assert isinstance(event, UserInput)
    assert (recorded.position, envelope.runid, envelope.sessionid) == tuple(
        body[name] for name in ("position", "run_id", "session_id")
    )
    assert (envelope.correlationid, envelope.version, envelope.source) == ("ab" * 16, 1, "syntor/ingress")
    assert recorded.traceparent == response.headers["traceparent"]
    assert (envelope.traceparent, envelope.tracestate) == (given, "vendor=state")
    assert (event.agent, event.queue, event.content, event.timeout_s) == ("worker", "worker", "hello", 7.0)
    assert event.metadata == {"a": "b"}


async def test_an_agent_with_an_endpoint_is_served_by_the_external_gateway(ingress: Any, peers: Any, log: Any) -> None:
    await peers.register("weather", endpoint="http://127.0.0.1:9/")
    async with ingress.http.stream("GET", "/v1/events", params={"subject": "agent.>", "after": "0"}) as response:
        async for line in response.aiter_lines():  # the tail has brought the registration
            if "weather" in line:
                break
    assert (await ingress.http.post("/v1/runs", json={**HELLO, "agent": "weather"})).status_code == 202
    assert (await user_inputs(log))[0].event.queue == "external"


async def test_the_same_key_is_the_same_run_on_every_instance_at_once(
    start_ingress: Callable[[], Awaitable[Any]], log: Any
) -> None:
    instances = [await start_ingress(), await start_ingress()]
    headers = {"Idempotency-Key": "order-17"}
    responses = await asyncio.gather(
        *(instances[number % 2].http.post("/v1/runs", json=HELLO, headers=headers) for number in range(20))
    )
    assert {response.status_code for response in responses} == {202}
    assert len({response.text for response in responses}) == 1
    assert sorted(response.headers.get("idempotency-replayed", "") for response in responses) == [""] + ["true"] * 19
    assert len(await user_inputs(log)) == 1


async def test_the_same_key_with_another_body_is_refused(ingress: Any, log: Any) -> None:
    headers = {"Idempotency-Key": "k"}
    await ingress.http.post("/v1/runs", json=HELLO, headers=headers)
    other = await ingress.http.post("/v1/runs", json={**HELLO, "input": "other"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await user_inputs(log)) == 1
    long = await ingress.http.post("/v1/runs", json=HELLO, headers={"Idempotency-Key": "k" * 300})
    assert (long.status_code, long.json()["errors"][0]["field"]) == (400, "Idempotency-Key")


async def test_a_repeated_request_may_want_the_stream_and_receives_it_from_the_first_event(
    ingress: Any, peers: Any, follow: Any
) -> None:
    headers = {"Idempotency-Key": "k"}
    run_id = (await ingress.http.post("/v1/runs", json=HELLO, headers=headers)).json()["run_id"]
    await peers.begin(run_id)
    await peers.finish(run_id)
    async with ingress.http.stream("POST", "/v1/runs", json=HELLO, headers=headers | SSE) as response:
        assert response.headers["idempotency-replayed"] == "true"
        types = [event["event"] async for event in follow(response)]
    assert types == ["user_input", "run_started", *["agent_stream_delta"] * 3, "run_done"]


async def test_an_invocation_with_a_request_id_is_the_same_run_again(ingress: Any, log: Any) -> None:
    request = {
        "session_id": "s1",
        "agent_id": "w",
        "input_message": {"role": "user", "content": "hello"},
        "request_id": "r-1",
    }
    first = await ingress.http.post("/internal/invoke", json=request)
    again = await ingress.http.post("/internal/invoke", json=request)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert (first.json()["session_id"], first.json()["agent_id"]) == ("s1", "worker")
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await user_inputs(log)) == 1


@pytest.mark.parametrize("prefer", ["wait=1", 'respond-async, wait="1"'])
async def test_a_run_that_does_not_end_in_time_is_accepted(ingress: Any, prefer: str) -> None:
    response = await ingress.http.post("/v1/runs", json=HELLO, headers={"Prefer": prefer})
    assert (response.status_code, response.headers["preference-applied"]) == (202, "wait=1")
    assert response.json()["run_id"]


async def test_a_cancellation_is_a_request_in_the_log_of_the_runs_own_trace(ingress: Any, peers: Any, log: Any) -> None:
    started = await ingress.http.post("/v1/runs", json={**HELLO, "session_id": "s1"})
    run_id = started.json()["run_id"]
    response = await ingress.http.post(f"/v1/runs/{run_id}/cancel", json={"reason": "too slow"})
    assert response.status_code == 202
    recorded = await log.store.last(f"syntor.events.request.{run_id}.cancel_requested")
    assert recorded.event == CancelRequested(reason="too slow", requested_by=local_user())
    assert response.json() == {"run_id": run_id, "position": recorded.position}
    envelope = recorded.envelope
    assert (envelope.runid, envelope.sessionid, envelope.firstposition) == (run_id, "s1", started.json()["position"])
    assert envelope.correlationid == started.headers["x-trace-id"]
    await peers.finish(run_id)
    late = await ingress.http.post(f"/v1/runs/{run_id}/cancel")
    assert (late.status_code, late.json()["code"]) == (409, "conflict")


async def test_a_retry_is_a_new_run_of_the_same_session(ingress: Any, peers: Any, log: Any) -> None:
    request = {**HELLO, "session_id": "s1", "metadata": {"a": "b"}}
    run_id = (await ingress.http.post("/v1/runs", json=request)).json()["run_id"]
    early = await ingress.http.post(f"/v1/runs/{run_id}/retry")
    assert (early.status_code, early.json()["code"]) == (409, "conflict")
    await peers.finish(run_id)
    response = await ingress.http.post(f"/v1/runs/{run_id}/retry")
    assert (response.status_code, response.json()["session_id"]) == (202, "s1")
    first, second = await user_inputs(log)
    assert second.envelope.runid == response.json()["run_id"] != run_id
    assert (second.event.retry_of, second.event.content, second.event.metadata) == (run_id, "hello", {"a": "b"})
    assert first.event.retry_of == ""


@pytest.mark.parametrize("path", ["/v1/runs/nosuchrun/cancel", "/v1/runs/nosuchrun/retry", "/v1/runs/*/cancel"])
async def test_what_concerns_an_unknown_run_is_not_found(ingress: Any, path: str) -> None:
    response = await ingress.http.post(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_what_a_request_writes_keeps_the_span_of_its_caller(ingress: Any, peers: Any, log: Any) -> None:
    run_id = (await ingress.http.post("/v1/runs", json=HELLO)).json()["run_id"]
    await peers.write(f"{run_id}.t1", ToolRequest(call_id="c1", name="lookup"), run_id=run_id)
    approval = ApprovalRequired(approval_id="t1-c2", call_id="c2", title="bash", content_hash="h")
    await peers.write(f"{run_id}.t1", approval, run_id=run_id)
    parents = {}
    for number, (method, path, body) in enumerate(
        (
            ("POST", f"/v1/runs/{run_id}/approvals/t1-c2", {"approved": True, "content_hash": "h"}),
            ("POST", f"/v1/runs/{run_id}/tool_results/t1-c1", {"content": "42"}),
            ("PUT", "/v1/sessions/s1/tools", {"tools": []}),
            ("POST", f"/v1/runs/{run_id}/cancel", {}),
        ),
        1,
    ):
        given = f"00-{'ab' * 16}-{number:016x}-01"
        response = await ingress.http.request(method, path, json=body, headers={"traceparent": given})
        assert response.status_code < 300, response.text
        parents[given] = path
    kept = {
        recorded.envelope.traceparent
        for subject in ("request", "session")
        async for recorded in log.store.load(f"syntor.events.{subject}.>")
    }
    assert kept == set(parents)
    assert [recorded.envelope.traceparent for recorded in await user_inputs(log)] == [""]


@pytest.mark.parametrize("given", ["rubbish", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "x" * 5000])
async def test_a_trace_context_that_is_not_valid_is_ignored(ingress: Any, log: Any, given: str) -> None:
    headers = {"traceparent": given, "tracestate": "vendor=state"}
    assert (await ingress.http.post("/v1/runs", json=HELLO, headers=headers)).status_code == 202
    (recorded,) = await user_inputs(log)
    assert (recorded.envelope.traceparent, recorded.envelope.tracestate) == ("", "")


KEY = {"Idempotency-Key": "k"}


async def test_a_repeated_request_gets_the_run_there_is_at_every_limit_and_after_a_restart(
    start_ingress: Callable[..., Awaitable[Any]], log: Any
) -> None:
    before = await start_ingress()
    first = await before.http.post("/v1/runs", json=HELLO, headers=KEY)
    full = await start_ingress(max_open_runs=2)
    assert (await full.http.post("/v1/runs", json=HELLO)).status_code == 202
    limited = await start_ingress(http_rate=0.1)  # one request in a burst
    assert (await limited.http.get("/v1/agents/w")).status_code != 429
    for ingress in (full, limited):
        again = await ingress.http.post("/v1/runs", json=HELLO, headers=KEY)
        assert (again.status_code, again.json()) == (202, first.json()), again.text
        assert again.headers["idempotency-replayed"] == "true"
    assert (await full.http.post("/v1/runs", json=HELLO, headers={"Idempotency-Key": "n"})).status_code == 429
    assert (await limited.http.post("/v1/runs", json=HELLO, headers=KEY)).status_code == 429  # a burst of its own
    assert len(await user_inputs(log)) == 2


async def test_the_limit_of_open_runs_counts_those_from_before_a_restart(
    start_ingress: Callable[..., Awaitable[Any]], peers: Any
) -> None:
    before = await start_ingress()
    ended, kept = [(await before.http.post("/v1/runs", json=HELLO)).json()["run_id"] for _ in range(2)]
    await peers.finish(ended)
    ingress = await start_ingress(max_open_runs=2)
    assert (await ingress.http.post("/v1/runs", json=HELLO)).status_code == 202
    refused = await ingress.http.post("/v1/runs", json=HELLO)
    assert refused.status_code == 429
    assert "2 runs have not ended" in refused.json()["detail"]
    position = await peers.finish(kept)
    async with ingress.http.stream("GET", f"/v1/runs/{kept}/events", params={"after": str(position - 1)}) as response:
        async for line in response.aiter_lines():  # the tail has brought its end
            if "run_done" in line:
                break
    assert (await ingress.http.post("/v1/runs", json=HELLO)).status_code == 202


async def test_a_repeated_request_is_answered_though_its_agent_is_gone(ingress: Any, peers: Any) -> None:
    await peers.register("poet")
    request = {**HELLO, "agent": "poet"}
    async with ingress.http.stream("GET", "/v1/events", params={"subject": "agent.>", "after": "0"}) as response:
        async for line in response.aiter_lines():  # the tail has brought the registration
            if "poet" in line:
                break
    first = await ingress.http.post("/v1/runs", json=request, headers=KEY)
    await peers.write("poet", AgentDeregistered())
    async with ingress.http.stream("GET", "/v1/events", params={"subject": "agent.>", "after": "0"}) as response:
        async for line in response.aiter_lines():
            if "agent_deregistered" in line:
                break
    again = await ingress.http.post("/v1/runs", json=request, headers=KEY)
    assert (again.status_code, again.json()) == (202, first.json()), again.text


async def test_a_repeated_cancellation_of_a_cancelled_run_is_accepted(ingress: Any, peers: Any) -> None:
    run_id = (await ingress.http.post("/v1/runs", json=HELLO)).json()["run_id"]
    position = await peers.write(run_id, RunCancelled(reason="no use"), run_id=run_id)
    again = await ingress.http.post(f"/v1/runs/{run_id}/cancel")
    assert (again.status_code, again.json()) == (202, {"run_id": run_id, "position": position})
