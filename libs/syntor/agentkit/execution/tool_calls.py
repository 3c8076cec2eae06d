"""The tool calls of a task: judged, approved, made and recorded, each step recorded before the next begins.

A call that waits (for an approval, a client's result or another agent) pauses the task: once every other call of the
turn has its result, `TaskPausedError` names what is waited for. The resumed task makes the same calls and finds what
arrived. A call that may have run when its process died is made again only where the tool is repeatable.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from syntor.agentkit.domain.client_call import client_outcome, tool_request
from syntor.agentkit.domain.question import QuestionPendingError
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.errors import TaskPausedError
from syntor.agentkit.execution.approvals import Approvals
from syntor.agentkit.execution.delegated_calls import DelegatedCalls
from syntor.agentkit.execution.metrics import record_tool_call
from syntor.agentkit.execution.questions import Questions
from syntor.agentkit.execution.task_log import TaskLog
from syntor.agentkit.execution.tool_call_deps import ToolCallDeps
from syntor.agentkit.execution.turn_checkpoints import TurnCheckpoints
from syntor.agentkit.tools.ask_user import is_question
from syntor.agentkit.tools.tool import Tool, ToolRun
from syntor.agentkit.tools.workspace_secrets import hide_secrets
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import SyntorError
from syntor.contracts.task.v1 import ToolCall, ToolCallCreated, ToolDispatched, ToolResult, Wait
from syntor.runtime.redaction import redact
from syntor.runtime.telemetry import get_logger

MAX_CONCURRENT_CALLS = 16  # calls of one turn that run concurrently; the others wait
_UNKNOWN = (
    "the process that ran this ended before its result was recorded; the outcome is unknown. "
    "Check before you repeat the call."
)
Outcome = ToolResult | list[Wait]


class ToolCalls:
    """Makes the calls of one task."""

    def __init__(self, log: TaskLog, deps: ToolCallDeps) -> None:
        self._log = log
        self._deps = deps
        self._approvals = Approvals(log, deps)
        self._questions = Questions(log, deps.results)
        self._delegated = DelegatedCalls(log, deps)
        self._checkpoints = TurnCheckpoints(log, deps.workspace, deps.checkpoints)
        self._writing = asyncio.Lock()  # two edits of one file in one turn must not overwrite each other
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_CALLS)

    async def run(self, calls: list[ToolCall]) -> list[ToolResult]:
        """Make calls concurrently and return their results in order; one that fails does not stop the others.

        Raises:
            TaskPausedError: some of them wait; the others have their results.
        """
        try:
            outcomes = await _gather([asyncio.create_task(self._one(call)) for call in calls])
        finally:
            await self._checkpoints.after()
        waits = [wait for outcome in outcomes if isinstance(outcome, list) for wait in outcome]
        if waits:
            raise TaskPausedError(waits)
        return [outcome for outcome in outcomes if isinstance(outcome, ToolResult)]

    async def _one(self, call: ToolCall) -> Outcome:
        """Return the recorded or new result of a call, or what it waits for."""
        state = self._log.state
        if (recorded := state.results.get(call.id)) is not None:
            return recorded
        if (
            call.id not in state.created
        ):  # its arguments are in the model's completion; repeating them would double the log
            await self._log.append(ToolCallCreated(call_id=call.id, name=call.name, arguments=""))
        outcome = await self._outcome(call)
        if isinstance(outcome, ToolResult):
            await self._log.append(outcome)
            record_tool_call(self._log.assigned.agent, call.name, outcome)
        return outcome

    async def _outcome(self, call: ToolCall) -> Outcome:
        try:
            tool, arguments = self._parse(call)
        except ToolError as exc:
            return await self._approvals.refuse(call, str(exc))
        if tool.effect == "client":
            return await (self._questions.ask_user(call, arguments) if is_question(tool) else self._at_client(call))
        blocked = await self._approvals.check(call, tool, arguments)
        if blocked is not None:
            return blocked
        if tool.effect == "delegate":
            return await self._delegated.make(call, arguments)
        return self._questions.waits(call.id) or await self._run(call, tool, arguments)

    def _parse(self, call: ToolCall) -> tuple[Tool, Any]:
        """Return the tool and its decoded arguments.

        Raises:
            ToolError: there is no such tool, or the arguments are not its arguments.
        """
        tool = self._deps.tools.get(call.name)
        if tool is None:
            raise ToolError(f"there is no tool {call.name!r}; there are {', '.join(self._deps.tools) or 'none'}")
        try:
            return tool, msgspec.json.decode(call.arguments or "{}", type=tool.arguments or dict[str, Any])
        except UNDECODABLE as exc:
            raise ToolError(f"arguments of {call.name}: {exc}") from exc

    async def _at_client(self, call: ToolCall) -> Outcome:
        requested = self._log.state.requested.get(call.id)
        if requested is None:
            requested = tool_request(call, self._log.now())
            await self._log.append(requested)
        outcome = client_outcome(self._log.assigned.task_id, requested, self._deps.results, self._log.now())
        return [outcome] if isinstance(outcome, Wait) else outcome

    async def _run(self, call: ToolCall, tool: Tool, arguments: Any) -> Outcome:
        """Run a tool in this process until it has its result, asks a person, or needs a new approval."""
        required = self._log.state.approvals.get(call.id)
        writes = tool.effect == "write" or (required is not None and required.bound_files)  # nor must a script change
        async with self._writing if writes else self._slots:
            if call.id in self._log.state.dispatched:
                if not tool.repeatable:
                    return ToolResult(call_id=call.id, content=_UNKNOWN, is_error=True, outcome="unknown")
                await self._checkpoints.before(tool)
            else:
                await self._checkpoints.before(tool)
                if (renewed := await self._approvals.renewed(call, tool, arguments)) is not None:
                    return renewed
                await self._log.append(ToolDispatched(call_id=call.id))
            return await self._dispatched(call, tool, arguments)

    async def _dispatched(self, call: ToolCall, tool: Tool, arguments: Any) -> Outcome:
        workspace = self._deps.workspace
        assert workspace is not None, "the policy allows no tool without a workspace"
        run = ToolRun(
            workspace=workspace,
            sandbox=await self._deps.sandbox(workspace),
            key=f"{self._log.run_id}.{self._log.assigned.task_id}.{call.id}",
            ask=self._questions.asker(call.id),
        )
        began = time.perf_counter()
        try:
            content, failed = await self._content(tool, run, arguments)
        except QuestionPendingError as exc:
            return [exc.wait]
        content = await asyncio.to_thread(hide_secrets, workspace, content)
        duration_s = round(time.perf_counter() - began, 6)
        return ToolResult(call_id=call.id, content=redact(content), is_error=failed, duration_s=duration_s)

    async def _content(self, tool: Tool, run: ToolRun, arguments: Any) -> tuple[str, bool]:
        """Return what the model is told, and whether the tool failed."""
        try:
            return await tool.run(run, arguments), False
        except ToolError as exc:
            return str(exc), True
        except (SyntorError, QuestionPendingError):
            raise
        except Exception as exc:  # noqa: BLE001 - a tool's defect becomes its result and ends nothing else
            get_logger().exception("tool_raised", tool=tool.name)
            return f"{tool.name} raised {type(exc).__name__}: {exc}", True


async def _gather(tasks: list[asyncio.Task[Outcome]]) -> list[Outcome]:
    """Return the results of all tasks once all have ended, so that none outlives the turn."""
    try:
        if tasks:
            await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [task.result() for task in tasks]
