"""Sessions: queries, messages, and forks."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from syntor.contracts.bounds import Position
from syntor.contracts.errors import NotFoundError
from syntor.contracts.http.v1 import FieldFault, Forked
from syntor.contracts.ids import new_id
from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.session.v1 import SessionForked
from syntor.ingress.api.run_bodies import Body
from syntor.ingress.gateway import Gateway, session_lineage
from syntor.ingress.http.bounds import Cursor, Limit
from syntor.ingress.http.context import RequestContext
from syntor.ingress.http.errors import InvalidFieldsError
from syntor.ingress.http.operation import Call, Operation, Reply, reply
from syntor.ingress.http.parameters import Query

_PAGE = 500


class SessionsQuery(Query, frozen=True, kw_only=True):
    """Parameters of GET /v1/sessions."""

    limit: Limit = 50
    cursor: Cursor = 0


class MessagesQuery(Query, frozen=True, kw_only=True):
    """Parameters of GET /v1/sessions/{session_id}/messages."""

    before: Cursor = 0
    limit: Limit = 50


class ForkSession(Body, frozen=True, kw_only=True):
    """Body of POST /v1/sessions/{session_id}/fork; may be absent."""

    at: Position = 0
    """Position to fork at: runs that had ended by then are included; 0: now."""


class SessionRoutes:
    """Handlers of sessions."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def operations(self) -> list[Operation]:
        """Return the rows of the route table."""
        return [
            Operation(
                method="GET",
                path="/v1/sessions",
                handler=self.page,
                id="listSessions",
                scope="read",
                tag="Sessions",
                summary="List sessions",
                description="The session with the newest run comes first.",
                query=SessionsQuery,
                replies=(Reply(description="A page of sessions.", schema=rpc.SessionPage),),
            ),
            Operation(
                method="GET",
                path="/v1/sessions/{session_id}",
                handler=self.show,
                id="getSession",
                scope="read",
                tag="Sessions",
                summary="Show a session",
                description="With the usage of all its runs.",
                replies=(Reply(description="The session.", schema=rpc.SessionView),),
                problems=("not_found",),
            ),
            Operation(
                method="GET",
                path="/v1/sessions/{session_id}/messages",
                handler=self.messages,
                id="listMessages",
                scope="read",
                tag="Sessions",
                summary="List the messages of a session",
                description="The newest page comes first; within a page the oldest message comes first.",
                query=MessagesQuery,
                replies=(Reply(description="A page of messages.", schema=rpc.MessagePage),),
                problems=("not_found",),
            ),
            Operation(
                method="POST",
                path="/v1/sessions/{session_id}/fork",
                handler=self.fork,
                id="forkSession",
                scope="run",
                tag="Sessions",
                summary="Fork a session",
                description="The new session begins with the messages of the runs that had ended.",
                body=ForkSession,
                body_required=False,
                example={"at": 120},
                replies=(Reply(status=201, description="The new session.", schema=Forked, headers=("Location",)),),
                problems=("not_found",),
            ),
        ]

    async def page(self, call: Call[SessionsQuery, None]) -> Response:
        """GET /v1/sessions."""
        query = call.query
        request = rpc.ListSessions(limit=query.limit, before=query.cursor, min_position=self._min_position)
        return reply(await self._gateway.call(rpc.PROJECTOR, rpc.LIST_SESSIONS, request, call.context))

    async def show(self, call: Call[Query, None]) -> Response:
        """GET /v1/sessions/{session_id}."""
        return reply(await self._session(call.path("session_id"), call.context))

    async def messages(self, call: Call[MessagesQuery, None]) -> Response:
        """GET /v1/sessions/{session_id}/messages."""
        request = rpc.ListMessages(
            session_id=call.path("session_id"),
            limit=call.query.limit,
            before=call.query.before,
            min_position=self._min_position,
        )
        return reply(await self._gateway.call(rpc.PROJECTOR, rpc.LIST_MESSAGES, request, call.context))

    async def fork(self, call: Call[Query, ForkSession]) -> Response:
        """POST /v1/sessions/{session_id}/fork."""
        session_id, at = call.path("session_id"), call.body.at
        newest = self._min_position
        if at > newest:
            raise InvalidFieldsError([FieldFault("at", f"{at} is beyond the end of the log, {newest}")])
        session = msgspec.json.decode(await self._session(session_id, call.context), type=rpc.SessionView)
        history = [*session.forked_history, *await self._ended_runs(call.context, session_id, at)]
        if not history:
            where = f"by position {at}" if at else "yet"
            raise NotFoundError(f"session {session_id!r} has no run that ended {where}")
        forked = SessionForked(
            session_id=session_id,
            history=history,
            at=at,
            agent=session.agent,
            title=session.title,
            forked_by="http",
        )
        new = new_id()
        position = await self._gateway.append_next(forked, new, session_lineage(call.context, new))
        body = Forked(session_id=new, forked_from=session_id, history=history, position=position)
        return reply(body, 201, {"Location": f"/v1/sessions/{new}"})

    @property
    def _min_position(self) -> int:
        return self._gateway.hub.read_model_position

    async def _session(self, session_id: str, context: RequestContext) -> bytes:
        request = rpc.GetSession(session_id=session_id, min_position=self._min_position)
        return await self._gateway.call(rpc.PROJECTOR, rpc.GET_SESSION, request, context)

    async def _ended_runs(self, context: RequestContext, session_id: str, at: int) -> list[str]:
        """Return the runs of a session that had ended by a position, oldest first."""
        before: int | None = 0
        found: list[rpc.RunView] = []
        while before is not None:
            request = rpc.ListRuns(session_id=session_id, limit=_PAGE, before=before)
            body = await self._gateway.call(rpc.PROJECTOR, rpc.LIST_RUNS, request, context)
            page = msgspec.json.decode(body, type=rpc.RunPage)
            found += page.runs
            before = page.cursor
        ended = [run for run in reversed(found) if run.ended_at is not None and (not at or run.position <= at)]
        return [run.run_id for run in ended]
