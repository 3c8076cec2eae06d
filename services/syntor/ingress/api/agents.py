"""Agents: queries and registrations, forwarded to the registry."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from syntor.contracts.agent.v1 import AgentProfile, Capability
from syntor.contracts.bounds import Labels, LimitCount, Line, Name, Priority, Token
from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.vocabulary import AgentStatus
from syntor.ingress.api.run_bodies import Body
from syntor.ingress.gateway import Gateway
from syntor.ingress.http.bounds import HttpUrl, IdFilter, Title
from syntor.ingress.http.operation import Call, Operation, Reply, reply
from syntor.ingress.http.parameters import Query


class AgentsQuery(Query, frozen=True, kw_only=True):
    """Parameters of GET /v1/agents."""

    capability: Annotated[
        list[Title], Meta(max_length=20, description="Only agents that have it; repeat it for several.")
    ] = []
    status: Annotated[Literal[AgentStatus, ""], Meta(description="Only agents of this status.")] = ""
    cursor: Annotated[IdFilter, Meta(description="The `cursor` of the previous page; empty: first page.")] = ""


class CapabilityInput(Body, frozen=True, kw_only=True):
    """Something an agent can do."""

    name: Title
    version: Name = "1.0"
    description: Line = ""


class RegisterAgentBody(Body, frozen=True, kw_only=True):
    """Body of POST /v1/agents/register: an external HTTP agent."""

    agent_id: Token
    name: Title
    endpoint: HttpUrl
    """Called with POST {endpoint}/invoke; it responds with server-sent events."""
    capabilities: Annotated[list[Title | CapabilityInput], Meta(max_length=1000)] = []
    description: Line = ""
    version: Name = "1.0.0"
    aliases: Annotated[list[Token], Meta(max_length=100)] = []
    max_concurrent: LimitCount = 10
    """Calls it gets concurrently."""
    priority: Priority = 128
    """Higher first."""
    idempotent: bool = False
    """Whether it may be called again with the same Idempotency-Key after a failure; otherwise it is called once."""
    metadata: Labels = {}

    def profile(self, owner: str) -> AgentProfile:
        """Return the record the registry keeps."""
        return AgentProfile(
            agent_id=self.agent_id,
            name=self.name,
            version=self.version,
            description=self.description,
            capabilities=[_capability(one) for one in self.capabilities],
            endpoint=self.endpoint,
            aliases=self.aliases,
            max_concurrent=self.max_concurrent,
            priority=self.priority,
            idempotent=self.idempotent,
            metadata=self.metadata,
            owner=owner,
        )


class _Registered(msgspec.Struct):
    """The part of an `AgentView` the directory needs."""

    profile: AgentProfile
    position: int


class AgentRoutes:
    """Handlers of agents."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def operations(self) -> list[Operation]:
        """Return the rows of the route table."""
        view = (Reply(description="The agent.", schema=rpc.AgentView),)
        return [
            Operation(
                method="GET",
                path="/v1/agents",
                handler=self.page,
                id="listAgents",
                scope="read",
                tag="Agents",
                summary="List agents",
                description="Agents by id; usually all of them.",
                query=AgentsQuery,
                replies=(Reply(description="The agents.", schema=rpc.AgentList),),
            ),
            Operation(
                method="POST",
                path="/v1/agents/register",
                handler=self.register,
                id="registerAgent",
                scope="admin",
                tag="Agents",
                summary="Register or update an external HTTP agent",
                description="Runs may name the agent as soon as this responds. Names of built-in and user-defined "
                "agents, and agents registered with another token, are conflicts.",
                body=RegisterAgentBody,
                example={
                    "agent_id": "weather",
                    "name": "Weather",
                    "endpoint": "http://127.0.0.1:9000",
                    "capabilities": ["forecast"],
                },
                replies=(Reply(description="The agent.", schema=rpc.AgentView, headers=("Location",)),),
                problems=("conflict",),
            ),
            Operation(
                method="GET",
                path="/v1/agents/{agent_id}",
                handler=self.show,
                id="getAgent",
                scope="read",
                tag="Agents",
                summary="Show an agent",
                description="By id or alias.",
                replies=view,
                problems=("not_found",),
            ),
            Operation(
                method="DELETE",
                path="/v1/agents/{agent_id}",
                handler=self.deregister,
                id="deregisterAgent",
                scope="admin",
                tag="Agents",
                summary="Deregister an external agent",
                description="New runs cannot name it any more. Built-in and user-defined agents, and agents registered "
                "with another token, are conflicts.",
                replies=(Reply(description="The agent as it was.", schema=rpc.AgentView),),
                problems=("not_found", "conflict"),
            ),
        ]

    async def page(self, call: Call[AgentsQuery, None]) -> Response:
        """GET /v1/agents."""
        query = call.query
        request = rpc.ListAgents(capabilities=query.capability, status=query.status or None, after=query.cursor)
        return reply(await self._gateway.call(rpc.REGISTRY, rpc.LIST_AGENTS, request, call.context))

    async def show(self, call: Call[Query, None]) -> Response:
        """GET /v1/agents/{agent_id}."""
        request = rpc.GetAgent(agent_id=call.path("agent_id"))
        return reply(await self._gateway.call(rpc.REGISTRY, rpc.GET_AGENT, request, call.context))

    async def register(self, call: Call[Query, RegisterAgentBody]) -> Response:
        """POST /v1/agents/register."""
        profile = call.body.profile(call.context.caller)
        request = rpc.RegisterAgent(profile=profile, correlation_id=call.context.trace_id, **call.context.caller_fields)
        body = await self._gateway.call(rpc.REGISTRY, rpc.REGISTER_AGENT, request, call.context)
        known = msgspec.json.decode(body, type=_Registered)
        self._gateway.directory.register(known.profile, known.position)
        return reply(body, headers={"Location": f"/v1/agents/{known.profile.agent_id}"})

    async def deregister(self, call: Call[Query, None]) -> Response:
        """DELETE /v1/agents/{agent_id}."""
        agent_id = call.path("agent_id")
        request = rpc.DeregisterAgent(
            agent_id=agent_id,
            reason="http",
            correlation_id=call.context.trace_id,
            external=True,
            owner=call.context.caller,
            **call.context.caller_fields,
        )
        body = await self._gateway.call(rpc.REGISTRY, rpc.DEREGISTER_AGENT, request, call.context)
        known = msgspec.json.decode(body, type=_Registered)
        self._gateway.directory.forget(known.profile.agent_id, known.position)
        return reply(body)


def _capability(given: str | CapabilityInput) -> Capability:
    if isinstance(given, str):
        return Capability(name=given)
    return Capability(name=given.name, version=given.version, description=given.description)
