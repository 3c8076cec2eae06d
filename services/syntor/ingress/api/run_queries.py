"""Queries about runs, forwarded to the projector."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from starlette.responses import Response

from syntor.contracts.errors import NotFoundError
from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.vocabulary import RunStatus
from syntor.ingress.api.whole_run import whole_run
from syntor.ingress.gateway import Gateway
from syntor.ingress.http.bounds import Cursor, IdFilter, Limit
from syntor.ingress.http.operation import Call, Operation, Reply, reply
from syntor.ingress.http.parameters import Query


class RunsQuery(Query, frozen=True, kw_only=True):
    """Parameters of GET /v1/runs."""

    session_id: Annotated[IdFilter, Meta(description="Only runs of this session.")] = ""
    agent: Annotated[IdFilter, Meta(description="Only runs of this agent, by id or alias.")] = ""
    status: Annotated[Literal[RunStatus, ""], Meta(description="Only runs of this status.")] = ""
    limit: Limit = 50
    cursor: Cursor = 0


class RunQueries:
    """Handlers of queries about runs."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def operations(self) -> list[Operation]:
        """Return the rows of the route table."""
        return [
            Operation(
                method="GET",
                path="/v1/runs",
                handler=self.page,
                id="listRuns",
                scope="read",
                tag="Runs",
                summary="List runs",
                description="The newest run comes first.",
                query=RunsQuery,
                replies=(Reply(description="A page of runs.", schema=rpc.RunPage),),
                problems=("beyond_log",),
            ),
            Operation(
                method="GET",
                path="/v1/runs/{run_id}",
                handler=self.show,
                id="getRun",
                scope="read",
                tag="Runs",
                summary="Show a run",
                description="At least as recent as what this server has sent about the run.",
                replies=(Reply(description="The run.", schema=rpc.RunView),),
                problems=("not_found",),
            ),
        ]

    async def page(self, call: Call[RunsQuery, None]) -> Response:
        """GET /v1/runs."""
        query = call.query
        await self._gateway.require_position("cursor", query.cursor)
        profile = self._gateway.directory.find(query.agent) if query.agent else None
        request = rpc.ListRuns(
            session_id=query.session_id,
            agent=query.agent if profile is None else profile.agent_id,
            status=query.status or None,
            limit=query.limit,
            before=query.cursor,
            min_position=self._gateway.hub.read_model_position,
        )
        return reply(await self._gateway.call(rpc.PROJECTOR, rpc.LIST_RUNS, request, call.context))

    async def show(self, call: Call[Query, None]) -> Response:
        """GET /v1/runs/{run_id}."""
        run_id = call.path("run_id")
        position = self._gateway.hub.run_position(run_id)
        try:
            body = await whole_run(self._gateway, run_id, position, call.context)
        except NotFoundError:
            bounds = await self._gateway.run(run_id)  # created through another instance a moment ago, or unknown
            body = await whole_run(self._gateway, run_id, max(bounds.first.position, position), call.context)
        return reply(body)
