"""Queries go to the responsible services, and read at least what this process has sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from syntor.contracts.agent.v1 import AgentRegistered
from syntor.contracts.errors import ConflictError, NotFoundError
from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.task.v1 import Usage
from syntor.jetstream.requests import Endpoint, Service

HELLO = {"agent": "worker", "input": "hello"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def run_view(run_id: str, position: int) -> rpc.RunView:
    return rpc.RunView(
        run_id=run_id,
        session_id="s1",
        agent="worker",
        status="done",
        input="hello",
        final_message="done",
        error_code="",
        error_message="",
        model="",
        correlation_id="",
        metadata={},
        created_at=NOW,
        started_at=NOW,
        ended_at=NOW,
        usage=Usage(),
        llm_calls=0,
        tool_calls=0,
        first_position=1,
        position=position,
    )


class StubProjector:
    """Records requests; replies with the position they require."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.unknown_until = 0
        """The run is unknown to requests below this position: the read model lags."""

    async def runs(self, request: rpc.ListRuns) -> rpc.RunPage:
        self.requests.append(request)
        return rpc.RunPage(runs=[run_view("r1", 3)], cursor=3, position=request.min_position)

    async def run(self, request: rpc.GetRun) -> rpc.RunView:
        self.requests.append(request)
        if request.min_position < self.unknown_until:
            raise NotFoundError(f"no run {request.run_id!r}")
        return run_view(request.run_id, request.min_position)

    async def messages(self, request: rpc.ListMessages) -> rpc.MessagePage:
        self.requests.append(request)
        return rpc.MessagePage(messages=[], cursor=None, position=request.min_position)

    async def usage(self, request: rpc.GetUsage) -> rpc.UsageReport:
        self.requests.append(request)
        return rpc.UsageReport(rows=[], position=request.min_position)


@pytest.fixture
async def projector(log: Any) -> AsyncIterator[StubProjector]:
    """A service in the place of the projector."""
    stub = StubProjector()
    endpoints: list[Endpoint[Any, Any]] = [
        Endpoint(rpc.LIST_RUNS, rpc.ListRuns, stub.runs),
        Endpoint(rpc.GET_RUN, rpc.GetRun, stub.run),
        Endpoint(rpc.LIST_MESSAGES, rpc.ListMessages, stub.messages),
        Endpoint(rpc.GET_USAGE, rpc.GetUsage, stub.usage),
    ]
    service = Service(log.connection, rpc.PROJECTOR, version="0.0.1", description="test", endpoints=endpoints)
    await service.start()
    await log.connection.flush()
    yield stub
    await service.stop()


async def test_a_list_goes_to_the_projector_with_its_filters(ingress: Any, projector: StubProjector) -> None:
    query = "session_id=s1&agent=w&status=done&limit=7&cursor=1"
    response = await ingress.http.get(f"/v1/runs?{query}")
    assert projector.requests == [
        rpc.ListRuns(session_id="s1", agent="worker", status="done", limit=7, before=1, min_position=1)
    ]
    assert response.json()["runs"][0]["run_id"] == "r1"
    assert response.json()["cursor"] == 3


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/runs?status=gone", "status"),
        ("/v1/runs?limit=501", "limit"),
        ("/v1/runs?cursor=x", "cursor"),
        ("/v1/runs?cursor=9223372036854775808", "cursor"),
        ("/v1/runs?sesion_id=s1", "sesion_id"),
        ("/v1/usage?group_by=hour", "group_by"),
        ("/v1/sessions/s1/messages?before=-1", "before"),
    ],
)
async def test_a_wrong_parameter_is_named(ingress: Any, path: str, field: str) -> None:
    response = await ingress.http.get(path)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, field)


async def test_a_run_is_shown_as_of_the_last_event_this_process_received(
    ingress: Any, projector: StubProjector, peers: Any, follow: Any
) -> None:
    started = (await ingress.http.post("/v1/runs", json=HELLO)).json()
    view = (await ingress.http.get(f"/v1/runs/{started['run_id']}")).json()
    assert view["position"] == started["position"]
    await peers.begin(started["run_id"])
    last = await peers.finish(started["run_id"])
    path = f"/v1/runs/{started['run_id']}/events"
    async with ingress.http.stream("GET", path, headers={"Accept": "text/event-stream"}) as response:
        assert [event async for event in follow(response)][-1]["event"] == "run_done"
    assert (await ingress.http.get(f"/v1/runs/{started['run_id']}")).json()["position"] == last
    assert (await ingress.http.get("/v1/runs")).json()["position"] == last


async def test_a_run_created_by_another_instance_is_found_though_the_read_model_lags(
    ingress: Any, projector: StubProjector, peers: Any, start_ingress: Any
) -> None:
    other = await start_ingress()
    started = (await other.http.post("/v1/runs", json=HELLO)).json()
    projector.unknown_until = started["position"]
    assert (await ingress.http.get(f"/v1/runs/{started['run_id']}")).status_code == 200
    projector.unknown_until = 1 << 60
    unknown = await ingress.http.get("/v1/runs/nosuchrun")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


async def test_waiting_for_a_run_returns_its_view(ingress: Any, projector: StubProjector, peers: Any, log: Any) -> None:
    async def end_what_begins() -> None:
        while (recorded := await log.store.last("syntor.events.run.*.user_input")) is None:
            pass
        await peers.begin(recorded.envelope.runid)
        await peers.finish(recorded.envelope.runid)

    ending = asyncio.ensure_future(end_what_begins())
    response = await ingress.http.post("/v1/runs", json=HELLO, headers={"Prefer": "wait=30", "Idempotency-Key": "k"})
    await ending
    assert (response.status_code, response.headers["preference-applied"]) == (200, "wait=30")
    end = await log.store.last(f"syntor.events.run.{response.json()['run_id']}.run_done")
    assert response.json()["position"] == end.position
    again = await ingress.http.post("/v1/runs", json=HELLO, headers={"Prefer": "wait=30", "Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (200, response.json())


async def test_a_run_is_accepted_though_the_read_model_is_unavailable(ingress: Any, peers: Any, log: Any) -> None:
    headers = {"Idempotency-Key": "k"}
    run_id = (await ingress.http.post("/v1/runs", json=HELLO, headers=headers)).json()["run_id"]
    await peers.finish(run_id)
    response = await ingress.http.post("/v1/runs", json=HELLO, headers=headers | {"Prefer": "wait=30"})
    assert (response.status_code, response.json()["run_id"]) == (202, run_id)


async def test_messages_and_usage_are_forwarded(ingress: Any, projector: StubProjector) -> None:
    await ingress.http.get("/v1/sessions/s1/messages?before=1&limit=3")
    await ingress.http.get("/v1/usage?group_by=day&session_id=s1")
    assert projector.requests == [
        rpc.ListMessages(session_id="s1", limit=3, before=1, min_position=1),
        rpc.GetUsage(group_by="day", session_id="s1", min_position=1),
    ]


class StubRegistry:
    """In the place of the registry: appends registrations to the log."""

    def __init__(self, peers: Any) -> None:
        self._peers = peers
        self.requests: list[msgspec.Struct] = []

    async def register(self, request: rpc.RegisterAgent) -> rpc.AgentView:
        self.requests.append(request)
        position = await self._peers.write(request.profile.agent_id, AgentRegistered(profile=request.profile))
        return self._view(request.profile, position)

    async def deregister(self, request: rpc.DeregisterAgent) -> rpc.AgentView:
        if request.agent_id == "busy":
            raise ConflictError("agent 'busy' works")
        profile = self.requests[-1].profile  # type: ignore[attr-defined]
        return self._view(profile, 1 << 40)

    @staticmethod
    def _view(profile: Any, position: int) -> rpc.AgentView:
        return rpc.AgentView(
            profile=profile,
            status="offline",
            health="unknown",
            registered_at=NOW,
            last_seen=None,
            instances=0,
            active=0,
            position=position,
        )


async def test_runs_may_name_an_agent_from_its_registration_to_its_deregistration(
    ingress: Any, peers: Any, log: Any
) -> None:
    registry = StubRegistry(peers)
    endpoints: list[Endpoint[Any, Any]] = [
        Endpoint(rpc.REGISTER_AGENT, rpc.RegisterAgent, registry.register),
        Endpoint(rpc.DEREGISTER_AGENT, rpc.DeregisterAgent, registry.deregister),
    ]
    service = Service(log.connection, rpc.REGISTRY, version="0.0.1", description="test", endpoints=endpoints)
    await service.start()
    await log.connection.flush()
    content = {"agent_id": "weather", "name": "Weather", "endpoint": "http://127.0.0.1:9/", "capabilities": ["f"]}
    response = await ingress.http.post("/v1/agents/register", json=content)
    assert (response.status_code, response.headers["location"]) == (200, "/v1/agents/weather")
    assert response.json()["profile"]["capabilities"][0]["name"] == "f"
    assert registry.requests[0].correlation_id == response.headers["x-trace-id"]  # type: ignore[attr-defined]
    body = {"agent": "weather", "input": "hello"}
    assert (await ingress.http.post("/v1/runs", json=body)).status_code == 202
    assert (await ingress.http.delete("/v1/agents/busy")).status_code == 409
    assert (await ingress.http.delete("/v1/agents/weather")).status_code == 200
    assert (await ingress.http.post("/v1/runs", json=body)).status_code == 404
    await service.stop()
