"""Syntor as an MCP server: its agents and runs as tools of another host, through the HTTP API and with its permissions.

A host's model starts runs in mode `ask` unless the person who configured the server chose another one, and decides no
approval unless they allowed that: what a run may do is decided by a person, not by the model that asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import anyio
import msgspec
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from syntor.cli.api import Answer, Api, Decision, RunRequest, open_api
from syntor.cli.delivery import new_key, run_id_of
from syntor.cli.event import Event
from syntor.cli.question_prompt import open_questions
from syntor.contracts.errors import InvalidInputError, SyntorError
from syntor.contracts.output.v1 import AgentProgress
from syntor.contracts.run.v1 import Permissions, RunPaused
from syntor.contracts.task.v1 import AgentInvokeStarted, LlmCallStarted, ToolCallCreated
from syntor.contracts.vocabulary import PermissionMode
from syntor.runtime.version import VERSION

MAX_EVENTS = 500
P = ParamSpec("P")
Json = dict[str, Any]
RunId = Annotated[str, Field(max_length=64, description="Id of a run")]
Text = Annotated[str, Field(min_length=1, max_length=1_000_000)]
INSTRUCTIONS = (
    "Syntor runs teams of agents. run_agent starts an agent and waits for its result. A run that needs an approval or "
    "an answer is paused: tell the user, who decides with `syntor approvals` or `syntor questions`; then wait_run."
)


def serve_stdio(mode: str, workspace: Path, *, decisions: bool) -> None:
    """Serve until the host closes standard input."""
    logging.disable(logging.CRITICAL)  # standard error belongs to the host; errors are results of tools
    with contextlib.redirect_stdout(sys.stderr):  # notes of a stack that is started
        api = open_api()
    build(api, msgspec.convert(mode or "ask", PermissionMode), workspace, decisions=decisions).run("stdio")


def build(api: Api, mode: PermissionMode, workspace: Path, *, decisions: bool) -> MCPServer:
    """Return the server.

    Args:
        mode: permission mode of the runs it starts.
        workspace: folder they work in.
        decisions: whether the host may decide approvals and answer questions.
    """
    server = MCPServer("syntor", instructions=INSTRUCTIONS, version=VERSION)
    tools = _Tools(api, mode, workspace)
    for tool in (tools.list_agents, tools.run_agent, tools.wait_run, tools.get_run, tools.get_events, tools.cancel_run):
        server.tool()(tool)
    if decisions:
        server.tool()(tools.decide_approval)
        server.tool()(tools.answer_question)
    return server


def _told(tool: Callable[P, Awaitable[Json]]) -> Callable[P, Awaitable[Json]]:
    """Return a tool whose refusals by the API are errors for the host."""

    @wraps(tool)
    async def run(*args: P.args, **kwargs: P.kwargs) -> Json:
        try:
            return await tool(*args, **kwargs)
        except SyntorError as exc:
            raise ToolError(str(exc)) from exc
        except SystemExit as exc:  # the API's helpers end a command so
            raise ToolError("Syntor is not reachable") from exc

    return run


class _Tools:
    def __init__(self, api: Api, mode: PermissionMode, workspace: Path) -> None:
        self._api = api
        self._mode: PermissionMode = mode
        self._workspace = workspace

    @_told
    async def list_agents(self) -> Json:
        """List the agents that can be run, with what each is for."""
        page = await asyncio.to_thread(self._api.agents)
        return {
            "agents": [
                {"id": each.profile.agent_id, "name": each.profile.name, "description": each.profile.description}
                for each in page.agents
            ]
        }

    @_told
    async def run_agent(
        self,
        agent: Annotated[str, Field(min_length=1, max_length=64, description="Id of an agent; see list_agents")],
        input: Annotated[Text, Field(description="What to do, complete in itself")],
        context: Context,
        session_id: Annotated[str, Field(max_length=64, description="Session to continue; empty: a new one")] = "",
        wait: Annotated[bool, Field(description="Wait for the result; false: return the run's id immediately")] = True,
    ) -> Json:
        """Run an agent on a task and return its result; cancelling this call cancels the run."""
        key = new_key()
        request = RunRequest(
            agent=agent,
            input=input,
            workspace=str(self._workspace),
            session_id=session_id,
            permissions=Permissions(mode=self._mode),
        )
        try:
            accepted = await asyncio.to_thread(self._api.start_run, request, key)
            if not wait:
                return {"run_id": accepted.run_id, "session_id": accepted.session_id, "status": "created"}
            return await self._followed(accepted.run_id, context)
        except asyncio.CancelledError:
            await self._cancelled(run_id_of(key))
            raise

    @_told
    async def wait_run(self, run_id: RunId, context: Context) -> Json:
        """Wait until a run ends or needs a person; cancelling this call does not cancel the run."""
        return await self._followed(run_id, context)

    @_told
    async def get_run(self, run_id: RunId) -> Json:
        """Return status and result of a run, and what it waits for."""
        return await asyncio.to_thread(self._state, run_id)

    @_told
    async def get_events(
        self, run_id: RunId, last: Annotated[int, Field(ge=1, le=MAX_EVENTS, description="How many, the newest")] = 100
    ) -> Json:
        """Return the newest events of a run, oldest first: model calls, tool calls, decisions, results."""
        events = await asyncio.to_thread(self._api.run_events, run_id)
        return {"events": [msgspec.json.decode(event.json) for event in events[-last:]], "total": len(events)}

    @_told
    async def cancel_run(
        self, run_id: RunId, reason: Annotated[str, Field(max_length=1000)] = "cancelled by the host"
    ) -> Json:
        """Request that a run is cancelled."""
        return {"run_id": (await asyncio.to_thread(self._api.cancel_run, run_id, reason)).run_id, "requested": True}

    @_told
    async def decide_approval(
        self,
        run_id: RunId,
        approval_id: Annotated[str, Field(max_length=64)],
        content_hash: Annotated[str, Field(max_length=128, description="As get_run shows it")],
        approved: bool,
        reason: Annotated[str, Field(max_length=1000)] = "",
    ) -> Json:
        """Approve or reject a tool call that waits. The user of this host must have decided so."""
        decision = Decision(approved=approved, content_hash=content_hash, reason=reason)
        await asyncio.to_thread(self._api.decide, run_id, approval_id, decision)
        return {"approval_id": approval_id, "approved": approved}

    @_told
    async def answer_question(
        self,
        run_id: RunId,
        question_id: Annotated[str, Field(max_length=64)],
        text: Annotated[str, Field(max_length=100_000)] = "",
        values: Annotated[Json | None, Field(description="For a question with a form")] = None,
        declined: bool = False,
    ) -> Json:
        """Answer a question of an agent or tool, or decline it."""
        answer = Answer(text=text, values=values, declined=declined)
        await asyncio.to_thread(self._api.answer, run_id, question_id, answer)
        return {"question_id": question_id}

    async def _followed(self, run_id: str, context: Context) -> Json:
        """Return the state of a run once it ended or waits for a person; progress is reported meanwhile."""
        loop = asyncio.get_running_loop()
        news: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()
        stopped = threading.Event()

        def follow() -> None:
            end: BaseException | None = None
            try:
                for event in self._api.follow_run(run_id):
                    if stopped.is_set():
                        return
                    loop.call_soon_threadsafe(news.put_nowait, event)
            except (SyntorError, SystemExit) as exc:
                end = exc
            with contextlib.suppress(RuntimeError):  # the loop is closed: no caller waits any more
                loop.call_soon_threadsafe(news.put_nowait, end)

        threading.Thread(target=follow, daemon=True).start()
        try:
            count = 0
            while isinstance(event := await news.get(), Event):
                if text := _progress(event):
                    count += 1
                    await context.report_progress(count, message=text)
                if isinstance(event.body, RunPaused):
                    state = await asyncio.to_thread(self._state, run_id)
                    if state.get("approvals") or state.get("questions"):
                        return state
            if isinstance(event, SyntorError):
                raise event
            if event is not None:
                raise InvalidInputError(f"run {run_id} cannot be followed")
            return await asyncio.to_thread(self._state, run_id)
        finally:
            stopped.set()

    async def _cancelled(self, run_id: str) -> None:
        """Cancel a run whose call was cancelled; the host does not wait for it."""
        with anyio.CancelScope(shield=True), contextlib.suppress(SyntorError, SystemExit):
            await asyncio.to_thread(self._api.cancel_run, run_id, "cancelled by the host")

    def _state(self, run_id: str) -> Json:
        run = self._api.run(run_id)
        state: Json = {"run_id": run.run_id, "session_id": run.session_id, "agent": run.agent, "status": run.status}
        if run.final_message:
            state["result"] = run.final_message
        if run.error_code:
            state["error"] = {"code": run.error_code, "message": run.error_message}
        if run.status.startswith("paused"):
            state["approvals"] = [
                {
                    "approval_id": each.approval_id,
                    "title": each.title,
                    "preview": each.preview,
                    "content_hash": each.content_hash,
                    "decide_with": f"syntor approvals approve {run_id} {each.approval_id}",
                }
                for each in self._api.pending_approvals(run_id)
            ]
            state["questions"] = [
                {
                    "question_id": each.question_id,
                    "text": each.text,
                    "choices": each.choices,
                    "form": each.form,
                    "answer_with": f"syntor questions answer {run_id} {each.question_id}",
                }
                for each in open_questions(self._api, run_id)
            ]
        return state


def _progress(event: Event) -> str:
    """Return what an event says about how far a run is; empty for most."""
    match event.body:
        case AgentInvokeStarted(agent=agent):
            return f"{agent} works"
        case LlmCallStarted(provider=provider, model=model):
            return f"calls {provider}/{model}"
        case ToolCallCreated(name=name):
            return f"calls the tool {name}"
        case AgentProgress(message=message):
            return message
        case _:
            return ""
