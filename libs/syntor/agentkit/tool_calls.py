"""The tool calls of a task: judged, asked about, made and recorded, each step before the next begins.

A call that cannot be made here and now (a person, a client or another agent must answer first) puts the task down: once
every other call of the turn has its result, `TaskPausedError` says what is waited for. Whoever takes the task up again
comes to the same calls and finds the answers. A call that may have run when its process died is made again only where
that does no harm.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from syntor.agentkit.answers import Answers, TaskEnd
from syntor.agentkit.task_log import TaskLog
from syntor.agentkit.tools import policy
from syntor.agentkit.tools.sandbox import Sandbox
from syntor.agentkit.tools.team import Delegate, Find, Plan, find_queue, propose
from syntor.agentkit.tools.tool import Tool, ToolError, ToolRun
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.errors import NotFoundError, SyntorError
from syntor.contracts.run.v1 import DelegationRefused, Permissions, StepSkipped
from syntor.contracts.task.v1 import (
    AgentInvokeDone,
    AgentInvokeFailed,
    ApprovalApplied,
    ApprovalRequired,
    DelegationRequested,
    PolicyDecision,
    ToolCall,
    ToolCallCreated,
    ToolDispatched,
    ToolRequest,
    ToolResult,
    Wait,
)
from syntor.runtime.redaction import redact
from syntor.runtime.telemetry import get_logger

APPROVAL_TTL_S = 7 * 86400.0  # seconds somebody has to decide
CLIENT_TOOL_TTL_S = 3600.0  # seconds a client has to submit a result
MAX_AT_ONCE = 16  # calls of one turn that run at the same time; the others wait
_PREVIEW_CHARACTERS = 4000
_UNKNOWN = (
    "the process that ran this ended before its result; nobody knows whether it happened. Look before you repeat it."
)


class TaskPausedError(Exception):
    """The task waits for somebody outside; the host puts it down."""

    def __init__(self, waits: list[Wait]) -> None:
        super().__init__(f"waits for {', '.join(wait.id for wait in waits)}")
        self.waits = waits


class Surroundings(msgspec.Struct):
    """What the calls of a task are made with."""

    tools: Mapping[str, Tool]
    workspace: Path | None
    permissions: Permissions
    answers: Answers
    find_agent: Find
    list_agents: Callable[[], Awaitable[list[AgentProfile]]]
    """Agents this one may ask."""
    delegates_to: list[str]
    """Agents the manifest allows to ask; empty: any."""
    grants: Callable[[], Awaitable[list[str]]]
    """Rules people approved for the session; asked only when a call needs approval."""
    sandbox: Callable[[Path], Awaitable[Sandbox]]


def content_hash(name: str, arguments: str) -> str:
    """Return the hash an approval is bound to: SHA-256 of name and arguments, exactly as the model wrote them."""
    return hashlib.sha256(f"{name}\n{arguments}".encode()).hexdigest()


class ToolCalls:
    """Makes the calls of one task."""

    def __init__(self, log: TaskLog, around: Surroundings) -> None:
        self._log = log
        self._around = around
        self._writing = asyncio.Lock()  # two edits of one file in one turn must not overwrite each other
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self.made = 0

    async def run(self, calls: list[ToolCall]) -> list[ToolResult]:
        """Make calls side by side and return their results in order; one that fails does not stop the others.

        Raises:
            TaskPausedError: some of them wait for somebody outside; the others have their results.
        """
        self.made += len(calls)
        outcomes = await _all([asyncio.create_task(self._one(call)) for call in calls])
        waits = [wait for outcome in outcomes if isinstance(outcome, list) for wait in outcome]
        if waits:
            raise TaskPausedError(waits)
        return [outcome for outcome in outcomes if isinstance(outcome, ToolResult)]

    async def _one(self, call: ToolCall) -> ToolResult | list[Wait]:
        """Return the result of a call, or what it waits for."""
        state = self._log.state
        if (recorded := state.results.get(call.id)) is not None:
            return recorded
        if call.id not in state.created:  # its arguments are in the model's answer; saying them again doubles the log
            await self._log.append(ToolCallCreated(call_id=call.id, name=call.name, arguments=""))
        tool, arguments, refusal = self._parse(call)
        outcome: ToolResult | list[Wait]
        if tool is None:
            await self._decided(call, PolicyDecision(call_id=call.id, decision=policy.DENY, reason=refusal))
            outcome = ToolResult(call_id=call.id, content=f"refused: {refusal}", is_error=True, outcome="refused")
        elif tool.effect == "client":
            outcome = await self._at_client(call)
        else:
            outcome = await self._judged(call, tool, arguments)
        if isinstance(outcome, ToolResult):
            await self._log.append(outcome)
        return outcome

    def _parse(self, call: ToolCall) -> tuple[Tool | None, Any, str]:
        """Return the tool and its arguments, or why the call cannot be made."""
        tool = self._around.tools.get(call.name)
        if tool is None:
            known = ", ".join(self._around.tools) or "none"
            return None, None, f"there is no tool {call.name!r}; there are {known}"
        try:
            if tool.arguments is not None:
                return tool, msgspec.json.decode(call.arguments or "{}", type=tool.arguments), ""
            return tool, msgspec.json.decode(call.arguments or "{}", type=dict[str, Any]), ""
        except UNDECODABLE as exc:
            return None, None, f"arguments of {call.name}: {exc}"

    async def _decided(self, call: ToolCall, decision: PolicyDecision) -> None:
        if call.id not in self._log.state.decisions:
            await self._log.append(decision)

    # judged, and asked about where the policy says so

    async def _judged(self, call: ToolCall, tool: Tool, arguments: Any) -> ToolResult | list[Wait]:
        decision = self._log.state.decisions.get(call.id)
        verdict: policy.Verdict | None = None
        if decision is None:
            verdict = await self._verdict(tool, arguments)
            decision = PolicyDecision(call_id=call.id, decision=verdict.decision, reason=verdict.reason)
            await self._log.append(decision)
        if decision.decision == policy.DENY:
            return ToolResult(call_id=call.id, content=f"refused: {decision.reason}", is_error=True, outcome="refused")
        if decision.decision == policy.REQUIRE_APPROVAL:
            applied = await self._approval(call, tool, arguments, decision.reason, verdict)
            if isinstance(applied, list):
                return applied
            if not applied.approved:
                expired = self._log.state.approvals[call.id].approval_id in self._around.answers.expired
                why = applied.reason or "no reason was given"
                return ToolResult(
                    call_id=call.id,
                    content=f"not approved: {why}",
                    is_error=True,
                    outcome="expired" if expired else "rejected",
                )
        if tool.effect == "team":
            return await self._team(call, arguments)
        return await self._make(call, tool, arguments)

    async def _verdict(self, tool: Tool, arguments: Any) -> policy.Verdict:
        around = self._around
        verdict = policy.decide(tool, arguments, around.workspace, around.permissions)
        if verdict.decision == policy.REQUIRE_APPROVAL and (granted := await around.grants()):
            verdict = policy.decide(tool, arguments, around.workspace, around.permissions, granted)
        return verdict

    async def _approval(
        self, call: ToolCall, tool: Tool, arguments: Any, reason: str, verdict: policy.Verdict | None
    ) -> ApprovalApplied | list[Wait]:
        state, answers = self._log.state, self._around.answers
        if (applied := state.applied.get(call.id)) is not None:
            return applied
        asked = state.approvals.get(call.id)
        if asked is None:
            if verdict is None:  # the process that judged died before it asked
                verdict = await self._verdict(tool, arguments)
            asked = await self._ask(call, tool, arguments, reason, verdict.rule)
        decision = answers.decisions.get(asked.approval_id)
        if decision is None and asked.approval_id not in answers.expired:
            return [Wait(kind="approval", id=asked.approval_id, expires_at=asked.expires_at)]
        approved, why = False, "nobody decided in time"
        if decision is not None:
            approved, why = decision.approved, decision.reason
            if decision.content_hash != asked.content_hash:
                approved, why = False, "the decision was about other content"
        applied = ApprovalApplied(approval_id=asked.approval_id, call_id=call.id, approved=approved, reason=why)
        await self._log.append(applied)
        return applied

    async def _ask(self, call: ToolCall, tool: Tool, arguments: Any, reason: str, rule: str) -> ApprovalRequired:
        workspace = self._around.workspace
        preview = tool.preview(workspace, arguments) if workspace is not None else call.arguments
        subject = tool.subject(arguments).strip().split("\n", 1)[0]
        asked = ApprovalRequired(
            approval_id=f"{self._log.assigned.task_id}-{call.id}",
            call_id=call.id,
            title=f"{call.name} {subject}"[:200].strip(),
            content_hash=content_hash(call.name, call.arguments),
            preview=preview[:_PREVIEW_CHARACTERS],
            reason=reason,
            rule=rule,
            expires_at=self._log.now() + timedelta(seconds=APPROVAL_TTL_S),
        )
        await self._log.append(asked)
        return asked

    # made here

    async def _make(self, call: ToolCall, tool: Tool, arguments: Any) -> ToolResult:
        if call.id in self._log.state.dispatched:
            if not tool.repeatable:
                return ToolResult(call_id=call.id, content=_UNKNOWN, is_error=True, outcome="unknown")
        else:
            await self._log.append(ToolDispatched(call_id=call.id))
        workspace = self._around.workspace
        assert workspace is not None, "the policy allows no tool without a workspace"
        began = time.perf_counter()
        run = ToolRun(
            workspace=workspace,
            sandbox=await self._around.sandbox(workspace),
            key=f"{self._log.run_id}.{self._log.assigned.task_id}.{call.id}",
        )
        try:
            async with self._writing if tool.effect == "write" else self._slots:
                content, failed = await tool.run(run, arguments), False
        except ToolError as exc:
            content, failed = str(exc), True
        except SyntorError:
            raise
        except Exception as exc:  # noqa: BLE001 - a fault of a tool is told to the model and ends nothing else
            get_logger().exception("tool_broke", tool=call.name)
            content, failed = f"{call.name} broke: {type(exc).__name__}: {exc}", True
        duration_s = round(time.perf_counter() - began, 6)
        return ToolResult(call_id=call.id, content=redact(content), is_error=failed, duration_s=duration_s)

    # made elsewhere

    async def _at_client(self, call: ToolCall) -> ToolResult | list[Wait]:
        asked = self._log.state.requested.get(call.id)
        wait_id = f"{self._log.assigned.task_id}-{call.id}"
        if asked is None:
            expires_at = self._log.now() + timedelta(seconds=CLIENT_TOOL_TTL_S)
            asked = ToolRequest(call_id=call.id, name=call.name, arguments=call.arguments, expires_at=expires_at)
            await self._log.append(asked)
        if (submitted := self._around.answers.submitted.get(wait_id)) is not None:
            return ToolResult(
                call_id=call.id, content=submitted.content, is_error=submitted.is_error, outcome="submitted"
            )
        if asked.expires_at is not None and self._log.now() >= asked.expires_at:
            return ToolResult(
                call_id=call.id, content="the client gave no result in time", is_error=True, outcome="expired"
            )
        return [Wait(kind="tool", id=wait_id, expires_at=asked.expires_at)]

    async def _team(self, call: ToolCall, arguments: dict[str, Any]) -> ToolResult | list[Wait]:
        try:
            if call.name == "plan":
                return await self._plan(call, msgspec.convert(arguments, Plan))
            return await self._delegate(call, msgspec.convert(arguments, Delegate))
        except msgspec.ValidationError as exc:
            return _error(call, f"arguments of {call.name}: {exc}")
        except (NotFoundError, ToolError) as exc:
            return _error(call, str(exc))

    async def _delegate(self, call: ToolCall, arguments: Delegate) -> ToolResult | list[Wait]:
        around = self._around
        asked = self._log.state.delegated.get(call.id)
        if asked is None:
            agent, queue = await find_queue(around.find_agent, arguments.agent, around.delegates_to)
            asked = DelegationRequested(
                call_id=call.id,
                task_id=f"{self._log.assigned.task_id}-{call.id}",
                agent=agent,
                queue=queue,
                instruction=arguments.task,
                handoff=call.name == "handoff",
            )
            await self._log.append(asked)
        end = around.answers.ends.get(asked.task_id)
        if end is None:
            return [Wait(kind="task", id=asked.task_id)]
        text, failed = said(end)
        return ToolResult(call_id=call.id, content=text, is_error=failed)

    async def _plan(self, call: ToolCall, arguments: Plan) -> ToolResult | list[Wait]:
        around = self._around
        if around.permissions.mode == "plan":
            return ToolResult(
                call_id=call.id, content="Plan mode: nothing is carried out. Show the user this plan as your answer."
            )
        plan = self._log.state.plans.get(call.id)
        if plan is None:
            task_id = self._log.assigned.task_id
            plan = await propose(call.id, task_id, arguments, around.find_agent, around.delegates_to)
            await self._log.append(plan)
        waits = [Wait(kind="task", id=s.task_id) for s in plan.steps if s.task_id not in around.answers.ends]
        if waits:
            return waits
        ends = [(step, *said(around.answers.ends[step.task_id])) for step in plan.steps]
        parts = [f"## {s.id} ({s.agent}): {'FAILED' if failed else 'done'}\n{text}" for s, text, failed in ends]
        return ToolResult(call_id=call.id, content="\n\n".join(parts), is_error=any(failed for *_, failed in ends))


def said(end: TaskEnd) -> tuple[str, bool]:
    """Return what the model is told of a task that is over, and whether it failed."""
    match end:
        case AgentInvokeDone(final_message=text):
            return text or "(no text)", False
        case AgentInvokeFailed(code=code, message=message, partial_message=partial):
            return f"failed ({code}): {message}" + (f"\nIt had said: {partial}" if partial else ""), True
        case DelegationRefused(guard=guard, message=message):
            return f"refused ({guard}): {message}", True
        case StepSkipped(message=message):
            return f"skipped: {message}", True


async def _all(tasks: list[asyncio.Task[ToolResult | list[Wait]]]) -> list[ToolResult | list[Wait]]:
    """Return the results of all tasks once all have ended, so that nothing goes on behind the end of the turn."""
    try:
        if tasks:
            await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [task.result() for task in tasks]


def _error(call: ToolCall, message: str) -> ToolResult:
    return ToolResult(call_id=call.id, content=redact(message), is_error=True)
