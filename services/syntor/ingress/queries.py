"""Forwards questions to the services that can answer them: the projector and the registry."""

from __future__ import annotations

import msgspec

from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.errors import NotFoundError
from syntor.contracts.rpc import v1 as rpc
from syntor.ingress.commands import read_register
from syntor.ingress.errors import FieldFault, InvalidFieldsError
from syntor.ingress.exchange import Exchange, whole_number
from syntor.ingress.gateway import Gateway

DEFAULT_LIMIT, MAX_LIMIT = 50, 500
ANY_CURSOR = 1 << 63
STATUSES = ("created", "running", "paused_waiting_approval", "paused_waiting_tool", "done", "failed", "cancelled")
APPROVAL_STATUSES = ("pending", "approved", "rejected", "expired", "void")
GROUPS = ("run", "session", "agent", "model", "day")


class _Registered(msgspec.Struct):
    """What the directory needs of an `AgentView`."""

    profile: AgentProfile
    position: int


class Queries:
    """Handlers of questions about runs, sessions and usage."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def runs(self, exchange: Exchange) -> None:
        """GET /v1/runs."""
        values = exchange.query("session_id", "agent", "status", "limit", "cursor")
        agent = values.get("agent", "")
        profile = self._gateway.directory.find(agent) if agent else None
        request = rpc.ListRuns(
            session_id=values.get("session_id", ""),
            agent=agent if profile is None else profile.agent_id,
            status=_one_of(values, "status", STATUSES),
            limit=_limit(values),
            before=whole_number(values, "cursor", 0, 0, ANY_CURSOR),
            min_position=self._gateway.hub.facts,
        )
        await self._forward(exchange, rpc.LIST_RUNS, request)

    async def run(self, exchange: Exchange) -> None:
        """GET /v1/runs/{run_id}: at least as new as what this process has seen of the run."""
        run_id = exchange.token("run_id", "run")
        exchange.query()
        request = rpc.GetRun(run_id=run_id, min_position=self._gateway.hub.seen(run_id))
        try:
            body = await self._gateway.ask(rpc.PROJECTOR, rpc.GET_RUN, request, exchange)
        except NotFoundError:
            ends = await self._gateway.run(run_id)  # begun elsewhere a moment ago, or really unknown
            newest = max(ends.first.position, request.min_position)
            request = msgspec.structs.replace(request, min_position=newest)
            body = await self._gateway.ask(rpc.PROJECTOR, rpc.GET_RUN, request, exchange)
        await exchange.answer(200, body)

    async def sessions(self, exchange: Exchange) -> None:
        """GET /v1/sessions."""
        values = exchange.query("limit", "cursor")
        before = whole_number(values, "cursor", 0, 0, ANY_CURSOR)
        request = rpc.ListSessions(limit=_limit(values), before=before, min_position=self._gateway.hub.facts)
        await self._forward(exchange, rpc.LIST_SESSIONS, request)

    async def session(self, exchange: Exchange) -> None:
        """GET /v1/sessions/{session_id}."""
        session_id = exchange.token("session_id", "session")
        exchange.query()
        request = rpc.GetSession(session_id=session_id, min_position=self._gateway.hub.facts)
        await self._forward(exchange, rpc.GET_SESSION, request)

    async def messages(self, exchange: Exchange) -> None:
        """GET /v1/sessions/{session_id}/messages."""
        session_id = exchange.token("session_id", "session")
        values = exchange.query("before", "limit")
        request = rpc.ListMessages(
            session_id=session_id,
            limit=_limit(values),
            before=whole_number(values, "before", 0, 0, ANY_CURSOR),
            min_position=self._gateway.hub.facts,
        )
        await self._forward(exchange, rpc.LIST_MESSAGES, request)

    async def approvals(self, exchange: Exchange) -> None:
        """GET /v1/approvals."""
        values = exchange.query("session_id", "status", "limit", "cursor")
        await self._approvals(exchange, values, "")

    async def approvals_of_run(self, exchange: Exchange) -> None:
        """GET /v1/runs/{run_id}/approvals."""
        run_id = exchange.token("run_id", "run")
        values = exchange.query("status", "limit", "cursor")
        await self._gateway.run(run_id)
        await self._approvals(exchange, values, run_id)

    async def _approvals(self, exchange: Exchange, values: dict[str, str], run_id: str) -> None:
        request = rpc.ListApprovals(
            run_id=run_id,
            session_id=values.get("session_id", ""),
            status=_one_of(values, "status", APPROVAL_STATUSES),
            limit=_limit(values),
            before=whole_number(values, "cursor", 0, 0, ANY_CURSOR),
            min_position=self._gateway.hub.facts,
        )
        await self._forward(exchange, rpc.LIST_APPROVALS, request)

    async def usage(self, exchange: Exchange) -> None:
        """GET /v1/usage."""
        values = exchange.query("group_by", "run_id", "session_id")
        request = rpc.GetUsage(
            group_by=_one_of(values, "group_by", GROUPS) or "model",
            run_id=values.get("run_id", ""),
            session_id=values.get("session_id", ""),
            min_position=self._gateway.hub.facts,
        )
        await self._forward(exchange, rpc.GET_USAGE, request)

    async def _forward(self, exchange: Exchange, endpoint: str, request: msgspec.Struct) -> None:
        await exchange.answer(200, await self._gateway.ask(rpc.PROJECTOR, endpoint, request, exchange))


class Agents:
    """Handlers of what is asked of the registry."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def listing(self, exchange: Exchange) -> None:
        """GET /v1/agents."""
        values = exchange.query_lists("capability", "status")
        request = rpc.ListAgents(capabilities=values.get("capability", []), status=values.get("status", [""])[-1])
        await exchange.answer(200, await self._gateway.ask(rpc.REGISTRY, rpc.LIST_AGENTS, request, exchange))

    async def one(self, exchange: Exchange) -> None:
        """GET /v1/agents/{agent_id}."""
        agent_id = exchange.token("agent_id", "agent")
        exchange.query()
        request = rpc.GetAgent(agent_id=agent_id)
        await exchange.answer(200, await self._gateway.ask(rpc.REGISTRY, rpc.GET_AGENT, request, exchange))

    async def register(self, exchange: Exchange) -> None:
        """POST /v1/agents/register; the agent can be asked as soon as this is answered."""
        profile = read_register(await exchange.body())
        request = rpc.RegisterAgent(profile=profile, correlation_id=exchange.trace_id)
        body = await self._gateway.ask(rpc.REGISTRY, rpc.REGISTER_AGENT, request, exchange)
        known = msgspec.json.decode(body, type=_Registered)
        self._gateway.directory.register(known.profile, known.position)
        location = f"/v1/agents/{known.profile.agent_id}".encode()
        await exchange.answer(200, body, headers=[(b"location", location)])

    async def deregister(self, exchange: Exchange) -> None:
        """DELETE /v1/agents/{agent_id}."""
        agent_id = exchange.token("agent_id", "agent")
        request = rpc.DeregisterAgent(agent_id=agent_id, reason="http", correlation_id=exchange.trace_id)
        body = await self._gateway.ask(rpc.REGISTRY, rpc.DEREGISTER_AGENT, request, exchange)
        known = msgspec.json.decode(body, type=_Registered)
        self._gateway.directory.forget(known.profile.agent_id, known.position)
        await exchange.answer(200, body)


def _limit(values: dict[str, str]) -> int:
    return whole_number(values, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)


def _one_of(values: dict[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = values.get(name, "")
    if value and value not in allowed:
        raise InvalidFieldsError([FieldFault(name, f"expected one of {', '.join(allowed)}, found {value!r}")])
    return value
