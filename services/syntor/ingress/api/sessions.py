"""Sessions: queries, messages, and forks."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from syntor.contracts import subjects
from syntor.contracts.bounds import Position
from syntor.contracts.errors import IdempotencyError, NotFoundError, RejectionError, RevisionConflictError
from syntor.contracts.http.v1 import Accepted, Forked, SessionContext
from syntor.contracts.ids import derived_id, new_id
from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.session.v1 import SessionForked
from syntor.contracts.task.v1 import LlmCallDone, LlmCallStarted, Usage
from syntor.eventsourcing.store import Recorded
from syntor.ingress.api.idempotency import IDEMPOTENCY_KEY
from syntor.ingress.api.rewinds import newest_rewind
from syntor.ingress.api.run_bodies import Body, NoFields, StartRun
from syntor.ingress.api.run_creation import NewRun, RunCreation
from syntor.ingress.gateway import Gateway, session_lineage
from syntor.ingress.http.bounds import Cursor, Limit
from syntor.ingress.http.context import RequestContext
from syntor.ingress.http.operation import Call, Operation, Reply, reply
from syntor.ingress.http.parameters import Query

_PAGE = 500
_NEWEST = 10  # runs whose prompts are looked at


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

    def __init__(self, gateway: Gateway, creation: RunCreation) -> None:
        self._gateway = gateway
        self._creation = creation

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
                problems=("beyond_log",),
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
                problems=("not_found", "beyond_log"),
            ),
            Operation(
                method="GET",
                path="/v1/sessions/{session_id}/context",
                handler=self.show_context,
                id="getSessionContext",
                scope="read",
                tag="Sessions",
                summary="Show what the newest prompt of a session held",
                description="Its parts with their estimated tokens, the model's context, and what was left out.",
                replies=(Reply(description="The context.", schema=SessionContext),),
                problems=("not_found",),
            ),
            Operation(
                method="POST",
                path="/v1/sessions/{session_id}/compact",
                handler=self.compact,
                id="compactSession",
                scope="run",
                tag="Sessions",
                summary="Summarise the earlier turns of a session",
                description="A run of the session in which its agent writes a summary; later prompts hold the summary "
                "instead of the turns, which stay in the log.",
                body=NoFields,
                body_required=False,
                replies=(
                    Reply(status=202, description="The run is in the log.", schema=Accepted, headers=("Location",)),
                ),
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
                headers=(IDEMPOTENCY_KEY,),
                body=ForkSession,
                body_required=False,
                example={"at": 120},
                replies=(
                    Reply(
                        status=201,
                        description="The new session.",
                        schema=Forked,
                        headers=("Location", "Idempotency-Replayed"),
                    ),
                ),
                problems=("not_found", "beyond_log", "idempotency_key_reused"),
            ),
        ]

    async def page(self, call: Call[SessionsQuery, None]) -> Response:
        """GET /v1/sessions."""
        query = call.query
        await self._gateway.require_position("cursor", query.cursor)
        request = rpc.ListSessions(limit=query.limit, before=query.cursor, min_position=self._min_position)
        return reply(await self._gateway.call(rpc.PROJECTOR, rpc.LIST_SESSIONS, request, call.context))

    async def show(self, call: Call[Query, None]) -> Response:
        """GET /v1/sessions/{session_id}."""
        return reply(await self._session(call.path("session_id"), self._min_position, call.context))

    async def messages(self, call: Call[MessagesQuery, None]) -> Response:
        """GET /v1/sessions/{session_id}/messages."""
        await self._gateway.require_position("before", call.query.before)
        request = rpc.ListMessages(
            session_id=call.path("session_id"),
            limit=call.query.limit,
            before=call.query.before,
            min_position=self._min_position,
        )
        return reply(await self._gateway.call(rpc.PROJECTOR, rpc.LIST_MESSAGES, request, call.context))

    async def show_context(self, call: Call[Query, None]) -> Response:
        """GET /v1/sessions/{session_id}/context."""
        session_id = call.path("session_id")
        await self._session(session_id, self._min_position, call.context)
        request = rpc.ListRuns(session_id=session_id, limit=_NEWEST, min_position=self._min_position)
        body = await self._gateway.call(rpc.PROJECTOR, rpc.LIST_RUNS, request, call.context)
        for run in msgspec.json.decode(body, type=rpc.RunPage).runs:
            if (found := await self._gateway.newest_context(run.run_id)) is not None:
                return reply(context_of(session_id, run.run_id, *found))
        raise NotFoundError(f"session {session_id!r}: no prompt of its {_NEWEST} newest runs is recorded")

    async def compact(self, call: Call[Query, NoFields]) -> Response:
        """POST /v1/sessions/{session_id}/compact."""
        session_id = call.path("session_id")
        session = await self._view(session_id, self._min_position, call.context)

        async def first() -> UserInput:
            command = StartRun(agent=session.agent, input="/compact", session_id=session_id)
            return msgspec.structs.replace(await self._creation.input_of(command, call.context), compact=True)

        new = NewRun(run_id=new_id(), input=first, session_id=session_id, key="", digest=str)
        created = await self._creation.create(new, call.context)
        return reply(created.accepted, 202, created.headers)

    async def fork(self, call: Call[Query, ForkSession]) -> Response:
        """POST /v1/sessions/{session_id}/fork."""
        key = IDEMPOTENCY_KEY.read(call.request) or ""
        new = derived_id("fork", key) if key else new_id()
        try:
            if call.context.refusal is not None:
                raise call.context.refusal
            forked = await self._forked(call)
            position = await self._gateway.append_first(forked, new, session_lineage(call.context, new))
        except (RejectionError, RevisionConflictError):
            first = await self._gateway.last(subjects.event("session", new, "session_forked")) if key else None
            if first is None or not isinstance(first.event, SessionForked):
                raise
            if (first.event.session_id, first.event.at) != (call.path("session_id"), call.body.at):
                raise IdempotencyError(f"the idempotency key belongs to session {new!r}, another fork") from None
            return _fork_reply(new, first.event, first.position, {"Idempotency-Replayed": "true"})
        return _fork_reply(new, forked, position)

    async def _forked(self, call: Call[Query, ForkSession]) -> SessionForked:
        """Return the first event of a fork.

        Raises:
            RejectionError: there is no such session, no run of it had ended, or `at` is beyond the end of the log.
        """
        session_id, at, context = call.path("session_id"), call.body.at, call.context
        await self._gateway.require_position("at", at)
        position = at or await self._gateway.log_end()
        session = await self._view(session_id, position, context)
        runs = [*await self._inherited(session, at, context), *await self._ended_runs(session_id, position, context)]
        rewound = (await newest_rewind(self._gateway, session_id, position)).hidden
        history = [run for run in runs if run not in rewound]
        if not history:
            where = f"by position {at}" if at else "yet"
            raise NotFoundError(f"session {session_id!r} has no run that ended {where}")
        return SessionForked(
            session_id=session_id,
            history=history,
            at=at,
            agent=session.agent,
            title=session.title,
            forked_by="http",
        )

    @property
    def _min_position(self) -> int:
        return self._gateway.hub.read_model_position

    async def _session(self, session_id: str, min_position: int, context: RequestContext) -> bytes:
        request = rpc.GetSession(session_id=session_id, min_position=min_position)
        return await self._gateway.call(rpc.PROJECTOR, rpc.GET_SESSION, request, context)

    async def _view(self, session_id: str, min_position: int, context: RequestContext) -> rpc.SessionView:
        return msgspec.json.decode(await self._session(session_id, min_position, context), type=rpc.SessionView)

    async def _inherited(self, session: rpc.SessionView, at: int, context: RequestContext) -> list[str]:
        """Return the runs a session began with, as a fork itself, that had ended by a position; 0: all."""
        if not at or not session.forked_history:
            return session.forked_history
        ended: set[str] = set()
        parent = session.forked_from
        while parent:
            ended.update(await self._ended_runs(parent, at, context))
            parent = (await self._view(parent, at, context)).forked_from
        return [run_id for run_id in session.forked_history if run_id in ended]

    async def _ended_runs(self, session_id: str, by: int, context: RequestContext) -> list[str]:
        """Return the runs of a session that had ended by a position, oldest first."""
        before: int | None = 0
        found: list[rpc.RunView] = []
        while before is not None:
            request = rpc.ListRuns(session_id=session_id, limit=_PAGE, before=before, min_position=by)
            body = await self._gateway.call(rpc.PROJECTOR, rpc.LIST_RUNS, request, context)
            page = msgspec.json.decode(body, type=rpc.RunPage)
            found += page.runs
            before = page.cursor
        return [run.run_id for run in reversed(found) if run.ended_at is not None and run.position <= by]


def context_of(session_id: str, run_id: str, started: Recorded, done: Recorded | None) -> SessionContext:
    """Return what a prompt held."""
    call = started.event
    assert isinstance(call, LlmCallStarted)
    usage = Usage()
    if done is not None and isinstance(done.event, LlmCallDone) and done.event.call == call.call:
        usage = done.event.usage
    return SessionContext(
        session_id=session_id,
        run_id=run_id,
        model=f"{call.provider}/{call.model}",
        window_tokens=call.window_tokens,
        prompt_tokens=sum(part.tokens for part in call.context),
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        parts=call.context,
        position=started.position,
    )


def _fork_reply(
    session_id: str, forked: SessionForked, position: int, headers: dict[str, str] | None = None
) -> Response:
    body = Forked(session_id=session_id, forked_from=forked.session_id, history=forked.history, position=position)
    return reply(body, 201, {"Location": f"/v1/sessions/{session_id}"} | (headers or {}))
