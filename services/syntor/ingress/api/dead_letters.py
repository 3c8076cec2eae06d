"""Dead letters: messages a consumer could not process."""

from __future__ import annotations

from starlette.responses import Response

from syntor.contracts.errors import NotFoundError
from syntor.contracts.http.v1 import DeadLetter, DeadLetterPage
from syntor.ingress.gateway import Gateway
from syntor.ingress.http.bounds import Cursor, Limit
from syntor.ingress.http.operation import Call, Operation, Reply, reply
from syntor.ingress.http.parameters import Query


class DeadLettersQuery(Query, frozen=True, kw_only=True):
    """Parameters of GET /v1/dead_letters."""

    limit: Limit = 50
    cursor: Cursor = 0


class DeadLetterRoutes:
    """Handlers of dead letters."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def operations(self) -> list[Operation]:
        """Return the rows of the route table."""
        return [
            Operation(
                method="GET",
                path="/v1/dead_letters",
                handler=self.page,
                id="listDeadLetters",
                scope="read",
                tag="Dead letters",
                summary="List dead letters",
                description="The newest dead letter comes first.",
                query=DeadLettersQuery,
                replies=(Reply(description="A page of dead letters.", schema=DeadLetterPage),),
                problems=("beyond_log",),
            ),
            Operation(
                method="GET",
                path="/v1/dead_letters/{number}",
                handler=self.show,
                id="getDeadLetter",
                scope="read",
                tag="Dead letters",
                summary="Show a dead letter",
                description="With its cause and content.",
                replies=(Reply(description="The dead letter.", schema=DeadLetter),),
                problems=("not_found",),
            ),
            Operation(
                method="DELETE",
                path="/v1/dead_letters/{number}",
                handler=self.drop,
                id="dropDeadLetter",
                scope="admin",
                tag="Dead letters",
                summary="Remove a dead letter",
                description="The original message stays in its stream.",
                replies=(Reply(description="The dead letter as it was.", schema=DeadLetter),),
                problems=("not_found",),
            ),
        ]

    async def page(self, call: Call[DeadLettersQuery, None]) -> Response:
        """GET /v1/dead_letters."""
        letters, cursor = await self._gateway.dead_letters(call.query.cursor, call.query.limit)
        return reply(DeadLetterPage(letters=letters, cursor=cursor))

    async def show(self, call: Call[Query, None]) -> Response:
        """GET /v1/dead_letters/{number}."""
        return reply(await self._letter(call))

    async def drop(self, call: Call[Query, None]) -> Response:
        """DELETE /v1/dead_letters/{number}."""
        letter = await self._letter(call)
        await self._gateway.drop_dead_letter(letter.number)
        return reply(letter)

    async def _letter(self, call: Call[Query, None]) -> DeadLetter:
        number = int(call.path("number"))
        letter = await self._gateway.dead_letter(number)
        if letter is None:
            raise NotFoundError(f"no dead letter {number}")
        return letter
