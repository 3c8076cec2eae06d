"""Streams are exact: cut anywhere they resume anywhere, and a client that does not read delays no other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from syntor.contracts.agent.v1 import AgentProfile, AgentRegistered
from syntor.contracts.output.v1 import AgentStreamDelta
from syntor.ingress.feed import event_stream
from syntor.runtime.tokens import create_token, revoke_token

SSE = {"Accept": "text/event-stream"}
HELLO = {"agent": "worker", "input": "hello"}
GOOD = ["user_input", "run_started", *["agent_stream_delta"] * 3, "run_done"]
WAIT_S = 10.0


async def start(ingress: Any, **fields: Any) -> str:
    run_id: str = (await ingress.http.post("/v1/runs", json=HELLO | fields)).json()["run_id"]
    return run_id


async def read(ingress: Any, follow: Any, run_id: str, **headers: str) -> list[dict[str, Any]]:
    async with ingress.http.stream("GET", f"/v1/runs/{run_id}/events", headers=SSE | headers) as response:
        return [event async for event in follow(response)]


async def test_a_run_is_streamed_from_its_first_event_to_its_end(ingress: Any, peers: Any, follow: Any) -> None:
    received = []
    async with ingress.http.stream("POST", "/v1/runs", json=HELLO, headers=SSE) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        run_id = response.headers["location"].rpartition("/")[2]
        async for event in follow(response):
            received.append(event)
            if event["event"] == "user_input":
                assert event["retry"] == "2000"
                await peers.begin(run_id)
                await peers.finish(run_id)
    assert [event["event"] for event in received] == GOOD
    assert [event["id"] for event in received] == [str(event["data"]["position"]) for event in received]
    assert all(event["data"]["runid"] == run_id for event in received)


async def test_a_stream_cut_at_every_event_resumes_elsewhere_with_exactly_the_rest(
    start_ingress: Callable[[], Awaitable[Any]], peers: Any, follow: Any
) -> None:
    one, other = await start_ingress(), await start_ingress()
    run_id = await start(one)
    await peers.begin(run_id)
    unfinished = [event["id"] for event in await until(one, follow, run_id, 5)]
    resumed = []  # while the run is open: each waits for its end
    for cut in unfinished:
        resumed.append(asyncio.ensure_future(read(other, follow, run_id, **{"Last-Event-ID": cut})))
    await peers.finish(run_id)
    whole = [event["id"] for event in await read(one, follow, run_id)]
    assert len(whole) == len(GOOD)
    for number, reading in enumerate(resumed):
        assert [event["id"] for event in await reading] == whole[number + 1 :]
    for number, cut in enumerate(whole):  # after the end, by header and by query
        rest = await read(other, follow, run_id, **{"Last-Event-ID": cut})
        assert [event["id"] for event in rest] == whole[number + 1 :]
        response = await other.http.get(f"/v1/runs/{run_id}/events?after={cut}", headers=SSE)
        assert response.status_code == (204 if cut == whole[-1] else 200)
        assert response.text.count("data: ") == len(whole) - number - 1


async def until(ingress: Any, follow: Any, run_id: str, count: int) -> list[dict[str, Any]]:
    """Read a run's first events and disconnect."""
    received: list[dict[str, Any]] = []
    async with ingress.http.stream("GET", f"/v1/runs/{run_id}/events", headers=SSE) as response:
        async for event in follow(response):
            received.append(event)
            if len(received) == count:
                break
    return received


async def test_only_the_types_asked_for_are_sent_and_the_stream_still_ends(
    ingress: Any, peers: Any, follow: Any
) -> None:
    run_id = await start(ingress)
    await peers.begin(run_id)
    await peers.finish(run_id)
    path = f"/v1/runs/{run_id}/events?types=agent_stream_delta,run_started"
    async with ingress.http.stream("GET", path, headers=SSE) as response:
        assert [event["event"] async for event in follow(response)] == GOOD[1:-1]
    page = (await ingress.http.get(path + "&limit=2")).json()
    assert [event["type"] for event in page["events"]] == GOOD[1:3]
    rest = (await ingress.http.get(f"{path}&after={page['next_after']}")).json()
    assert ([event["type"] for event in rest["events"]], rest["next_after"]) == (GOOD[3:-1], None)


async def test_pages_are_the_events_of_the_stream(ingress: Any, peers: Any, follow: Any) -> None:
    run_id = await start(ingress, session_id="s1")
    await peers.begin(run_id)
    await peers.finish(run_id)
    whole = [event["data"] for event in await read(ingress, follow, run_id)]
    pages: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = (await ingress.http.get(f"/v1/runs/{run_id}/events?limit=2&after={after}")).json()
        pages += page["events"]
        after = page["next_after"]
    assert pages == whole


async def test_large_data_is_inline_in_streams_and_pages(ingress: Any, peers: Any, follow: Any) -> None:
    text = "word " * 100_000
    received = []
    async with ingress.http.stream("POST", "/v1/runs", json=HELLO | {"input": text}, headers=SSE) as response:
        run_id = response.headers["location"].rpartition("/")[2]
        await peers.finish(run_id)
        received = [event["data"] async for event in follow(response)]
    assert received[0]["data"]["content"] == text
    assert "dataref" not in received[0]
    assert (await ingress.http.get(f"/v1/runs/{run_id}/events")).json()["events"] == received


async def test_text_that_looks_like_a_reference_is_left_alone(ingress: Any, peers: Any, follow: Any) -> None:
    run_id = await start(ingress, input='"dataref":"blob:x"', metadata={"dataref": "blob:y"})
    await peers.finish(run_id)
    first = (await read(ingress, follow, run_id))[0]["data"]
    assert first["data"]["content"] == '"dataref":"blob:x"'
    assert first["data"]["metadata"] == {"dataref": "blob:y"}


async def test_the_whole_log_can_be_followed_from_a_position_through_a_filter(
    ingress: Any, peers: Any, follow: Any
) -> None:
    runs = [await start(ingress) for _ in range(2)]
    await peers.begin(runs[0])
    received = []
    async with ingress.http.stream("GET", "/v1/events?subject=run.*.*&after=0") as response:
        async for event in follow(response):
            received.append((event["data"]["runid"], event["event"]))
            if event["event"] == "run_started":
                await peers.finish(runs[1])
            if event["event"] == "run_done":
                break
    assert received == [
        (runs[0], "user_input"),
        (runs[1], "user_input"),
        (runs[0], "run_started"),
        (runs[1], "run_done"),
    ]


@pytest.mark.parametrize("subject", ["syntor.timers.>", "run.>.x", "a b", "run..x", "syntor"])
async def test_a_filter_of_something_else_is_refused(ingress: Any, subject: str) -> None:
    response = await ingress.http.get("/v1/events", params={"subject": subject})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "subject")


async def test_a_silent_stream_is_kept_alive(ingress: Any, peers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "PING_S", 0.05)
    run_id = await start(ingress)
    pings = 0
    async with ingress.http.stream("GET", f"/v1/runs/{run_id}/events", headers=SSE) as response:
        async for line in response.aiter_lines():
            pings += line == ": ping"
            if pings == 3:
                await peers.finish(run_id)
    assert pings >= 3


async def test_a_slow_client_is_told_where_to_resume_and_delays_no_other(ingress: Any, peers: Any, follow: Any) -> None:
    run_id = await start(ingress)
    reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port, limit=2**16)
    request = f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
    writer.write(request.encode())
    slow = await reader.readuntil(b"user_input\n")
    received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def read_quickly() -> list[str]:
        async with ingress.http.stream("GET", f"/v1/runs/{run_id}/events", headers=SSE) as response:
            ids: list[str] = []
            async for event in follow(response):
                received.put_nowait(event)
                ids.append(event["id"])
            return ids

    quick = asyncio.ensure_future(read_quickly())
    await peers.begin(run_id, 0)
    text = "x" * 100_000
    while (await asyncio.wait_for(received.get(), WAIT_S))["event"] != "run_started":
        pass
    for index in range(120):  # 12 MB: more than any buffer on the way
        await peers.write(f"{run_id}.t1", AgentStreamDelta(call=1, index=index, text=text), run_id=run_id)
        await asyncio.wait_for(received.get(), WAIT_S)  # the quick client keeps up: all of this is one process
    await peers.finish(run_id)
    whole = await asyncio.wait_for(quick, WAIT_S)
    assert len(whole) == 123
    while not slow.endswith(b"0\r\n\r\n"):
        slow += await asyncio.wait_for(reader.read(2**20), WAIT_S)
    writer.close()
    ids = [line.removeprefix(b"id: ").decode() for line in slow.split(b"\n") if line.startswith(b"id: ")]
    assert 0 < len(ids) < len(whole)
    assert b"event: gap" in slow
    assert f'{{"resume_after":{ids[-1]}}}'.encode() in slow
    rest = await read(ingress, follow, run_id, **{"Last-Event-ID": ids[-1]})
    assert ids + [event["id"] for event in rest] == whole


async def test_a_client_that_disconnects_is_removed(ingress: Any, follow: Any) -> None:
    run_id = await start(ingress)
    before = event_stream.CLIENTS.value
    await until(ingress, follow, run_id, 1)
    async with asyncio.timeout(WAIT_S):
        while before != event_stream.CLIENTS.value:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_stopping_process_ends_its_streams_and_they_resume_elsewhere(
    start_ingress: Callable[[], Awaitable[Any]], peers: Any, follow: Any
) -> None:
    one, other = await start_ingress(), await start_ingress()
    run_id = await start(one)
    lines = []
    async with one.http.stream("GET", f"/v1/runs/{run_id}/events", headers=SSE) as response:
        async for line in response.aiter_lines():
            lines.append(line)
            if line.startswith("data: "):
                one.stopping.set()
    await asyncio.wait_for(one.done, WAIT_S)
    assert any(line.startswith(": closed by the server") for line in lines)
    last = next(line.removeprefix("id: ") for line in lines if line.startswith("id: "))
    await peers.begin(run_id)
    await peers.finish(run_id)
    rest = await read(other, follow, run_id, **{"Last-Event-ID": last})
    assert [event["event"] for event in rest] == GOOD[1:]


KEY = {"Idempotency-Key": "k1"}


async def repeat(ingress: Any, follow: Any, path: str = "/v1/runs", **headers: str) -> list[dict[str, Any]]:
    body = HELLO if path == "/v1/runs" else {}
    async with ingress.http.stream("POST", path, json=body, headers=SSE | KEY | headers) as response:
        assert response.status_code == 200, await response.aread()
        return [event async for event in follow(response)]


@pytest.mark.parametrize("route", ["start", "retry"])
async def test_a_repeated_request_resumes_behind_the_last_event_received(
    start_ingress: Callable[[], Awaitable[Any]], peers: Any, follow: Any, route: str
) -> None:
    one, other = await start_ingress(), await start_ingress()
    path = "/v1/runs"
    if route == "retry":
        first = await start(one)
        await peers.finish(first)
        path = f"/v1/runs/{first}/retry"
    body = HELLO if route == "start" else {}
    run_id = (await one.http.post(path, json=body, headers=KEY)).json()["run_id"]
    positions = await peers.begin(run_id)
    open_run = asyncio.ensure_future(repeat(other, follow, path, **{"Last-Event-ID": str(positions[1])}))
    await peers.finish(run_id)
    assert [event["event"] for event in await open_run] == [*["agent_stream_delta"] * 2, "run_done"]
    whole = [event["id"] for event in await repeat(one, follow, path)]
    assert len(whole) == len(GOOD)
    for number, cut in enumerate(whole[:-1]):
        rest = await repeat(other, follow, path, **{"Last-Event-ID": cut})
        assert [event["id"] for event in rest] == whole[number + 1 :]
    headers = SSE | KEY | {"Last-Event-ID": whole[-1]}
    response = await one.http.post(path, json=body, headers=headers)
    assert (response.status_code, response.headers["location"]) == (204, f"/v1/runs/{run_id}")


@pytest.mark.parametrize("route", ["run", "repeated", "retried"])
async def test_a_last_event_id_of_anything_else_is_refused(ingress: Any, peers: Any, route: str) -> None:
    other = await start(ingress)
    positions = await peers.begin(other)
    await peers.finish(other)
    run_id = (await ingress.http.post("/v1/runs", json=HELLO, headers=KEY)).json()["run_id"]
    agent = await peers.write("docs", AgentRegistered(profile=AgentProfile(agent_id="docs", name="docs")))
    path, method, headers = f"/v1/runs/{run_id}/events", "GET", SSE
    if route == "repeated":
        path, method, headers = "/v1/runs", "POST", SSE | KEY
    elif route == "retried":
        path, method, headers = f"/v1/runs/{other}/retry", "POST", SSE | {"Idempotency-Key": "k2"}
    body = HELLO if route == "repeated" else {} if method == "POST" else None
    for wrong in (*map(str, positions), str(agent), "x", "-1", "1.5", "9" * 30, str(agent + 1000)):
        response = await ingress.http.request(method, path, json=body, headers=headers | {"Last-Event-ID": wrong})
        assert response.status_code in (400, 409), (wrong, response.text)
        assert wrong in response.json()["detail"]
        assert "Last-Event-ID" in response.json()["detail"]
    page = (await ingress.http.get(f"/v1/runs/{run_id}/events", headers={"Last-Event-ID": "0"})).json()
    assert [event["type"] for event in page["events"]] == ["user_input"]


async def test_a_last_event_id_without_a_run_to_resume_starts_none(ingress: Any, peers: Any) -> None:
    other = await start(ingress)
    position = str((await peers.begin(other))[0])
    for headers in (SSE, SSE | KEY):
        response = await ingress.http.post("/v1/runs", json=HELLO, headers=headers | {"Last-Event-ID": position})
        assert response.status_code == 400
        assert response.json()["errors"][0]["field"] == "Last-Event-ID"
    created = await ingress.http.post("/v1/runs", json=HELLO, headers=KEY)
    assert "idempotency-replayed" not in created.headers


async def test_an_eventsource_learns_of_the_end_through_a_filter_without_it(ingress: Any, peers: Any) -> None:
    run_id = await start(ingress)
    await peers.begin(run_id)
    end = await peers.finish(run_id)
    path = f"/v1/runs/{run_id}/events?types=run_started"
    text = (await ingress.http.get(path, headers=SSE)).text
    assert text.endswith(f"\n\nid: {end}\n\n")
    assert (await ingress.http.get(path, headers=SSE | {"Last-Event-ID": str(end)})).status_code == 204


async def test_a_stream_of_the_log_can_be_resumed_before_its_first_event(ingress: Any, peers: Any, follow: Any) -> None:
    run_id = await start(ingress)
    async with ingress.http.stream("GET", "/v1/events", headers=SSE) as response:
        text = ""
        async for part in response.aiter_text():
            text += part
            if "id: " in text:
                break
    cut = text.partition("id: ")[2].strip()
    await peers.begin(run_id, 0)
    async with ingress.http.stream("GET", "/v1/events", headers=SSE | {"Last-Event-ID": cut}) as response:
        async for event in follow(response):
            assert event["event"] == "run_started"
            break


@pytest.mark.parametrize("where", ["query", "header"])
async def test_a_position_beyond_the_end_of_the_log_is_a_conflict_that_names_the_end(
    ingress: Any, log: Any, where: str
) -> None:
    run_id = await start(ingress)
    end = await log.store.last_position("syntor.events.>")
    given: dict[str, Any] = {"params": {"after": end + 5}} if where == "query" else {}
    headers = SSE | ({"Last-Event-ID": str(end + 5)} if where == "header" else {})
    for path in (f"/v1/runs/{run_id}/events", "/v1/events"):
        refused = await ingress.http.get(path, headers=headers, **given)
        assert refused.status_code == 409, refused.text
        problem = refused.json()
        assert (problem["code"], problem["log_end"]) == ("beyond_log", end)
        assert problem["errors"][0]["field"] == ("after" if where == "query" else "Last-Event-ID")
        assert f"{end + 5} is beyond the end of the log, {end}" in problem["detail"]
    page = await ingress.http.get(f"/v1/runs/{run_id}/events", params={"after": end + 5})
    assert page.status_code == 409


async def test_the_end_of_the_log_itself_can_be_resumed_after(ingress: Any, peers: Any, follow: Any, log: Any) -> None:
    run_id = await start(ingress)
    end = await log.store.last_position("syntor.events.>")
    reading = asyncio.ensure_future(read(ingress, follow, run_id, **{"Last-Event-ID": str(end)}))
    await peers.begin(run_id)
    await peers.finish(run_id)
    received = await asyncio.wait_for(reading, WAIT_S)
    assert [event["event"] for event in received] == GOOD[1:]


@pytest.mark.parametrize(
    "path", ["/v1/runs?cursor", "/v1/sessions?cursor", "/v1/approvals?cursor", "/v1/dead_letters?cursor"]
)
async def test_a_cursor_of_another_log_is_a_conflict(ingress: Any, path: str) -> None:
    refused = await ingress.http.get(f"{path}=100000")
    assert (refused.status_code, refused.json()["code"]) == (409, "beyond_log")
    assert f"the log, {refused.json().get('log_end', 0)}" in refused.json()["detail"]


@pytest.mark.parametrize("change", ["revoked", "expired", "reduced"])
@pytest.mark.parametrize("request_", ["stream", "log", "wait"])
async def test_a_response_that_lasts_ends_with_the_right_of_its_token(
    start_ingress: Callable[..., Awaitable[Any]], tmp_path: Path, change: str, request_: str
) -> None:
    ingress = await start_ingress(home=str(tmp_path))
    _, text = create_token(tmp_path, "t", ["read", "run"], None, datetime.now(UTC))
    token = {"Authorization": f"Bearer {text}"}
    run_id = (await ingress.http.post("/v1/runs", json=HELLO, headers=token)).json()["run_id"]

    def withdraw() -> None:
        if change == "revoked":
            revoke_token(tmp_path, "t")
            return
        file = tmp_path / "tokens.json"
        stored = json.loads(file.read_text())
        stored[0] |= {"expires_at": "2020-01-01T00:00:00Z"} if change == "expired" else {"scopes": ["approve"]}
        file.write_text(json.dumps(stored))

    if request_ == "wait":
        headers = token | {"Prefer": "wait=30"}
        waiting = asyncio.ensure_future(ingress.http.post("/v1/runs", json=HELLO, headers=headers))
        await asyncio.wait([waiting], timeout=0.2)
        withdraw()
        response = await asyncio.wait_for(waiting, WAIT_S)
        assert response.status_code == (403 if change == "reduced" else 401), response.text
        return
    path = f"/v1/runs/{run_id}/events" if request_ == "stream" else "/v1/events"
    async with ingress.http.stream("GET", path, headers=SSE | token) as response:
        parts = response.aiter_text()
        assert "retry" in await anext(parts)
        withdraw()
        rest = "".join([part async for part in parts])
    assert "closed by the server: " in rest
    assert ("has no scope read" if change == "reduced" else "the token was revoked, or has expired") in rest
