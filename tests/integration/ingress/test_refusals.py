"""A request that cannot be served is a problem with its trace, and leaves nothing incomplete."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from syntor.contracts.topology import EVENTS
from syntor.jetstream.admin import api

SSE = {"Accept": "text/event-stream"}
HELLO = {"agent": "worker", "input": "hello"}


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"/problems/{code}")
    assert body["trace_id"] == response.headers["x-trace-id"] == response.headers["traceparent"][3:35]
    return body


async def test_an_unknown_agent_is_not_found_and_the_known_are_named(ingress: Any) -> None:
    body = problem(await ingress.http.post("/v1/runs", json={**HELLO, "agent": "wrker"}), 404, "not_found")
    assert "worker (w)" in body["detail"]


async def test_wrong_fields_and_malformed_bodies_are_refused(ingress: Any) -> None:
    body = problem(await ingress.http.post("/v1/runs", json={"agent": 1, "inptu": "x"}), 400, "invalid_input")
    assert [fault["field"] for fault in body["errors"]] == ["agent", "input", "inptu"]
    broken = await ingress.http.post("/v1/runs", content=b'{"agent":', headers={"Content-Type": "application/json"})
    assert "byte" in problem(broken, 400, "invalid_input")["detail"]


async def test_unknown_paths_methods_runs_and_parameters_are_refused(ingress: Any) -> None:
    problem(await ingress.http.get("/v1/nothing"), 404, "not_found")
    assert (await ingress.http.put("/v1/runs")).headers["allow"] == "GET, POST"
    problem(await ingress.http.put("/v1/runs"), 405, "method_not_allowed")
    problem(await ingress.http.get("/v1/runs/nosuchrun/events"), 404, "not_found")
    problem(await ingress.http.get("/v1/runs/nosuchrun/events", headers=SSE), 404, "not_found")
    problem(await ingress.http.get("/v1/runs/x/events?afetr=3"), 400, "invalid_input")
    problem(await ingress.http.get("/v1/runs/x/events?limit=0"), 400, "invalid_input")
    run_id = (await ingress.http.post("/v1/runs", json=HELLO)).json()["run_id"]
    headers = SSE | {"Last-Event-ID": "x"}
    problem(await ingress.http.get(f"/v1/runs/{run_id}/events", headers=headers), 400, "invalid_input")


async def parts(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 65536


async def test_an_oversize_body_is_refused_announced_or_in_chunks(ingress: Any) -> None:
    headers = {"Content-Type": "application/json"}
    announced = await ingress.http.post("/v1/runs", json={**HELLO, "input": "x" * (1024 * 1024 + 1)})
    problem(announced, 413, "too_large")
    chunked = await ingress.http.post("/v1/runs", content=parts(40), headers=headers)
    problem(chunked, 413, "too_large")
    assert (await ingress.http.post("/v1/runs", json=HELLO)).status_code == 202


async def test_another_content_type_is_refused(ingress: Any) -> None:
    problem(await ingress.http.post("/v1/runs", data={"agent": "worker"}), 415, "unsupported_media_type")


async def test_pages_of_other_origins_are_refused(ingress: Any) -> None:
    problem(await ingress.http.get("/v1/agents", headers={"Host": "evil.example"}), 403, "forbidden")
    origin = {"Origin": "https://evil.example"}
    problem(await ingress.http.post("/v1/runs", json=HELLO, headers=origin), 403, "forbidden")
    own = {"Origin": f"http://127.0.0.1:{ingress.port}"}
    assert (await ingress.http.post("/v1/runs", json=HELLO, headers=own)).status_code == 202


async def test_unavailable_services_are_named(ingress: Any) -> None:
    for path in ("/v1/runs", "/v1/sessions", "/v1/usage", "/v1/agents", "/v1/sessions/s1/messages"):
        response = await ingress.http.get(path)
        problem(response, 503, "not_reachable")
        assert int(response.headers["retry-after"]) > 0


async def test_a_full_log_refuses_runs_and_accepts_them_again_when_there_is_room(ingress: Any, log: Any) -> None:
    config = (await api(log.connection, f"STREAM.INFO.{EVENTS}"))["config"]
    await api(log.connection, f"STREAM.UPDATE.{EVENTS}", config | {"max_bytes": 1})
    response = await ingress.http.post("/v1/runs", json=HELLO)
    problem(response, 503, "storage_full")
    assert int(response.headers["retry-after"]) > 0
    await api(log.connection, f"STREAM.UPDATE.{EVENTS}", config | {"max_bytes": -1})
    assert (await ingress.http.post("/v1/runs", json=HELLO)).status_code == 202


async def test_without_nats_runs_are_refused_and_nothing_is_incomplete(
    start_ingress: Callable[[], Awaitable[Any]], log: Any, peers: Any, follow: Any
) -> None:
    ingress = await start_ingress()
    run_id = (await ingress.http.post("/v1/runs", json=HELLO)).json()["run_id"]
    positions = await peers.begin(run_id)
    received: list[dict[str, Any]] = []
    async with ingress.http.stream("GET", f"/v1/runs/{run_id}/events", headers=SSE) as response:
        events = follow(response)
        while len(received) < 5:
            received.append(await anext(events))
        log.server.kill()
        await until_disconnected(log.connection)
        began = time.monotonic()
        response = await ingress.http.post("/v1/runs", json=HELLO, headers={"Idempotency-Key": "k"})
        problem(response, 503, "not_reachable")
        assert int(response.headers["retry-after"]) > 0
        assert time.monotonic() - began < 8
        log.server.start()
        assert await log.connection.wait_connected(10)
        again = await ingress.http.post("/v1/runs", json=HELLO, headers={"Idempotency-Key": "k"})
        assert again.status_code == 202
        last = await peers.finish(run_id)  # the open stream continues
        received += [event async for event in events]
    assert [int(event["id"]) for event in received] == [positions[0] - 1, *positions, last]
    inputs = [recorded async for recorded in log.store.load("syntor.events.run.*.user_input")]
    assert len(inputs) == 2


async def until_disconnected(connection: Any) -> None:
    async with asyncio.timeout(10):
        while connection.is_connected:  # noqa: ASYNC110 - the client has no event for it
            await asyncio.sleep(0)


async def test_the_pages_are_served_without_network_access_and_every_problem_has_one(ingress: Any) -> None:
    docs = await ingress.http.get("/docs")
    assert docs.status_code == 200
    assert "http://" not in docs.text
    assert "https://" not in docs.text
    assert (await ingress.http.get("/openapi.json")).json()["openapi"] == "3.1.0"
    page = await ingress.http.get("/problems/storage_full")
    assert "The log is full" in page.text
    problem(await ingress.http.get("/problems/nothing"), 404, "not_found")


@pytest.mark.parametrize("content", [b"not json", b'["a",\n"b"]', b'{"a":\n1}'])
async def test_foreign_messages_in_the_log_do_not_break_a_stream(
    ingress: Any, log: Any, peers: Any, follow: Any, content: bytes
) -> None:
    run_id = (await ingress.http.post("/v1/runs", json=HELLO)).json()["run_id"]
    await log.connection.publish(f"syntor.events.output.{run_id}.t1.other", content)
    await peers.finish(run_id)
    async with ingress.http.stream("GET", f"/v1/runs/{run_id}/events", headers=SSE) as response:
        events = [event async for event in follow(response)]
    assert [event["event"] for event in events] == ["user_input", "other", "run_done"]
    assert events[1]["data"]["position"] == int(events[1]["id"])
    page = await ingress.http.get(f"/v1/runs/{run_id}/events")
    assert len(json.loads(page.text)["events"]) == 3


async def test_an_address_with_wrong_tokens_is_limited_on_every_route_and_stream(ingress: Any) -> None:
    run_id = (await ingress.http.post("/v1/runs", json=HELLO)).json()["run_id"]
    wrong = {"Authorization": "Bearer syntor_00000000_x"}
    while (await ingress.http.get("/v1/runs", headers=wrong)).status_code == 401:
        pass
    for method, path, more in (
        ("GET", "/v1/events", SSE),
        ("GET", f"/v1/runs/{run_id}/events", SSE),
        ("POST", "/v1/runs", SSE),
        ("POST", f"/v1/runs/{run_id}/cancel", {}),
        ("GET", "/v1/approvals", {}),
    ):
        response = await ingress.http.request(method, path, headers=wrong | more)
        problem(response, 429, "too_many_requests")
        assert 1 <= int(response.headers["retry-after"]) <= 60
    assert (await ingress.http.get(f"/v1/runs/{run_id}/events")).status_code == 200


async def test_headers_of_many_megabytes_are_refused_and_the_server_goes_on(ingress: Any) -> None:
    problem(await ingress.http.get("/v1/runs", headers={"X": "x" * 64 * 2**20}), 431, "head_too_large")
    assert (await ingress.http.get("/openapi.json")).status_code == 200
