"""Usage of models, summed up by the projector."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from starlette.responses import Response

from syntor.contracts.bounds import Count
from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.vocabulary import UsageGroup
from syntor.ingress.gateway import Gateway
from syntor.ingress.http.bounds import IdFilter
from syntor.ingress.http.operation import Call, Operation, Reply, reply
from syntor.ingress.http.parameters import Query


class UsageQuery(Query, frozen=True, kw_only=True):
    """Parameters of GET /v1/usage."""

    group_by: Annotated[UsageGroup, Meta(description="What a row sums up; days are UTC.")] = "model"
    run_id: Annotated[IdFilter, Meta(description="Only this run.")] = ""
    session_id: Annotated[IdFilter, Meta(description="Only this session.")] = ""
    cursor: Annotated[Count, Meta(description="The `cursor` of the previous page; 0: first page.")] = 0


class UsageRoutes:
    """Handlers of usage."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def operations(self) -> list[Operation]:
        """Return the rows of the route table."""
        return [
            Operation(
                method="GET",
                path="/v1/usage",
                handler=self.report,
                id="getUsage",
                scope="read",
                tag="Usage",
                summary="Sum up the usage of models",
                description="The row with the most tokens comes first.",
                query=UsageQuery,
                replies=(Reply(description="The sums.", schema=rpc.UsageReport),),
            )
        ]

    async def report(self, call: Call[UsageQuery, None]) -> Response:
        """GET /v1/usage."""
        request = rpc.GetUsage(
            group_by=call.query.group_by,
            run_id=call.query.run_id,
            session_id=call.query.session_id,
            skip=call.query.cursor,
            min_position=self._gateway.hub.read_model_position,
        )
        return reply(await self._gateway.call(rpc.PROJECTOR, rpc.GET_USAGE, request, call.context))
