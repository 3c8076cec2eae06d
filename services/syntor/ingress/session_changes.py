"""Changes of sessions: a fork of one, and the tools a client offers to its agents."""

from __future__ import annotations

import msgspec

from syntor.contracts.errors import NotFoundError
from syntor.contracts.ids import new_id
from syntor.contracts.request.v1 import ClientTool, ClientToolsRegistered, RequestEvent, SessionForked
from syntor.contracts.rpc import v1 as rpc
from syntor.ingress.answer_commands import read_fork, read_tools
from syntor.ingress.errors import FieldFault, InvalidFieldsError
from syntor.ingress.exchange import Exchange, encode
from syntor.ingress.gateway import Gateway, request

_PAGE = 500


class Forked(msgspec.Struct, frozen=True, kw_only=True):
    """A session that goes on from another one."""

    session_id: str
    forked_from: str
    history: list[str]
    """Runs it begins with, oldest first."""
    position: int
    """Stream sequence of its first event."""


class ToolsRegistered(msgspec.Struct, frozen=True, kw_only=True):
    """Tools of a client that the agents of a session may use from their next task on."""

    session_id: str
    tools: list[str]
    position: int


class SessionChanges:
    """Handlers of what changes sessions."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def fork(self, exchange: Exchange) -> None:
        """POST /v1/sessions/{session_id}/fork."""
        session_id = exchange.token("session_id", "session")
        command = read_fork(await exchange.body())
        facts = self._gateway.hub.facts
        if command.at > facts:
            raise InvalidFieldsError([FieldFault("at", f"{command.at} is behind the end of the log, {facts}")])
        request = rpc.GetSession(session_id=session_id, min_position=facts)
        body = await self._gateway.ask(rpc.PROJECTOR, rpc.GET_SESSION, request, exchange)
        session = msgspec.json.decode(body, type=rpc.SessionView)
        history = [*session.forked_history, *await self._ended_runs(exchange, session_id, command.at)]
        if not history:
            where = f"before position {command.at}" if command.at else "yet"
            raise NotFoundError(f"session {session_id!r} has no run that ended {where}")
        forked = SessionForked(
            session_id=session_id,
            history=history,
            at=command.at,
            agent=session.agent,
            title=session.title,
            forked_by="http",
        )
        new = new_id()
        position = await self._append(exchange, new, forked)
        answer = Forked(session_id=new, forked_from=session_id, history=history, position=position)
        location = f"/v1/sessions/{new}".encode()
        await exchange.answer(201, encode(answer), headers=[(b"location", location)])

    async def tools(self, exchange: Exchange) -> None:
        """PUT /v1/sessions/{session_id}/tools."""
        session_id = exchange.token("session_id", "session")
        command = read_tools(await exchange.body())
        tools = [
            ClientTool(
                name=tool.name,
                description=tool.description,
                parameters=msgspec.json.encode(tool.parameters or {"type": "object", "properties": {}}).decode(),
            )
            for tool in command.tools
        ]
        position = await self._append(exchange, session_id, ClientToolsRegistered(tools=tools, registered_by="http"))
        answer = ToolsRegistered(session_id=session_id, tools=[tool.name for tool in tools], position=position)
        await exchange.answer(200, encode(answer))

    async def _ended_runs(self, exchange: Exchange, session_id: str, at: int) -> list[str]:
        """Return the runs of a session that had ended by a position, oldest first."""
        before, found = 0, list[rpc.RunView]()
        while True:
            request = rpc.ListRuns(session_id=session_id, limit=_PAGE, before=before)
            body = await self._gateway.ask(rpc.PROJECTOR, rpc.LIST_RUNS, request, exchange)
            page = msgspec.json.decode(body, type=rpc.RunPage)
            found += page.runs
            if page.cursor is None:
                break
            before = page.cursor
        ended = [run for run in reversed(found) if run.ended_at is not None and (not at or run.position <= at)]
        return [run.run_id for run in ended]

    async def _append(self, exchange: Exchange, session_id: str, event: RequestEvent) -> int:
        return await self._gateway.append(request(exchange, event, session_id), None)
