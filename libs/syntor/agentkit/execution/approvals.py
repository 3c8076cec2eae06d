"""Has the policy judge tool calls, and takes calls that need approval through it."""

from __future__ import annotations

import asyncio
from typing import Any

from syntor.agentkit.domain import tool_policy
from syntor.agentkit.domain.approval import apply_decision, approval_required, rejected_result
from syntor.agentkit.domain.permissions.files import NoFiles
from syntor.agentkit.domain.permissions.programs import staging
from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.domain.tool_policy import Verdict
from syntor.agentkit.execution.bound_files import bind_files, changed_files
from syntor.agentkit.execution.task_log import TaskLog
from syntor.agentkit.execution.tool_call_deps import ToolCallDeps
from syntor.agentkit.tools.judged_files import JudgedFiles
from syntor.agentkit.tools.paths import proposed_call
from syntor.agentkit.tools.tool import Tool
from syntor.agentkit.tools.workspace_secrets import staged_secrets
from syntor.contracts.bounds import clip
from syntor.contracts.task.v1 import ApprovalRequired, BoundFile, PolicyDecision, ToolCall, ToolResult, Wait
from syntor.runtime.redaction import redact


class Approvals:
    """Decisions about the tool calls of one task; each is recorded before it takes effect."""

    def __init__(self, log: TaskLog, deps: ToolCallDeps) -> None:
        self._log = log
        self._deps = deps

    async def check(self, call: ToolCall, tool: Tool, arguments: Any) -> ToolResult | list[Wait] | None:
        """Return None when a call may be made, its result when it may not, or the approval it waits for."""
        decision = self._log.state.decisions.get(call.id)
        if decision is None:
            verdict = await self._verdict(tool, arguments)
            decision = PolicyDecision(call_id=call.id, decision=verdict.decision, reason=clip(verdict.reason))
            await self._log.append(decision)
            if verdict.decision == tool_policy.REQUIRE_APPROVAL:
                return await self._approval(call, tool, arguments, verdict)
        if decision.decision == tool_policy.REQUIRE_APPROVAL:
            return await self._approval(call, tool, arguments, None)
        return refused(call, decision.reason) if decision.decision == tool_policy.DENY else None

    async def renewed(self, call: ToolCall, tool: Tool, arguments: Any) -> ToolResult | list[Wait] | None:
        """Return None when the approval of a call still holds, else a new one that it waits for, or why it cannot work.

        An approval holds for the content its files had when it was requested. A call without one needs none.
        """
        before, workspace = self._log.state.approvals.get(call.id), self._deps.workspace
        if before is None or workspace is None:
            return None
        changed = await asyncio.to_thread(changed_files, before.bound_files, workspace)
        if not changed:
            return None
        reason = f"{', '.join(changed[:5])} changed after this was approved; {before.reason}"
        verdict = Verdict(tool_policy.REQUIRE_APPROVAL, reason)
        try:
            required = await self._request(call, tool, arguments, verdict, before)
        except ToolError as exc:
            return ToolResult(call_id=call.id, content=redact(str(exc)), is_error=True)
        return [Wait(kind="approval", id=required.approval_id, expires_at=required.expires_at)]

    async def refuse(self, call: ToolCall, reason: str) -> ToolResult:
        """Record that a call was denied, and return its result."""
        if call.id not in self._log.state.decisions:
            await self._log.append(PolicyDecision(call_id=call.id, decision=tool_policy.DENY, reason=clip(reason)))
        return refused(call, reason)

    async def _verdict(self, tool: Tool, arguments: Any) -> Verdict:
        deps = self._deps
        proposed = proposed_call(tool, arguments, deps.workspace, await self._staged_secrets(tool, arguments))
        files = JudgedFiles(deps.workspace) if deps.workspace is not None else NoFiles()
        verdict = await asyncio.to_thread(tool_policy.decide, proposed, deps.permissions, (), files)
        if verdict.decision == tool_policy.REQUIRE_APPROVAL and (granted := await deps.grants()):
            verdict = await asyncio.to_thread(tool_policy.decide, proposed, deps.permissions, granted, files)
        return verdict

    async def _staged_secrets(self, tool: Tool, arguments: Any) -> tuple[str, ...]:
        """Return the files with secrets that a call stages for a commit."""
        workspace = self._deps.workspace
        if workspace is None or tool.name not in ("git_add", "bash"):
            return ()
        if tool.name == "git_add":
            paths = tool.paths(arguments)
        else:
            paths = await asyncio.to_thread(staging, tool.subject(arguments), JudgedFiles(workspace))
        return await staged_secrets(await self._deps.sandbox(workspace), workspace, paths) if paths else ()

    async def _approval(
        self, call: ToolCall, tool: Tool, arguments: Any, verdict: Verdict | None
    ) -> ToolResult | list[Wait] | None:
        state, results = self._log.state, self._deps.results
        applied = state.applied.get(call.id)
        if applied is None:
            try:
                required = state.approvals.get(call.id) or await self._require(call, tool, arguments, verdict)
            except ToolError as exc:  # it cannot work: the model is told, and no person is asked
                return ToolResult(call_id=call.id, content=redact(str(exc)), is_error=True)
            applied = apply_decision(required, results)
            if applied is None:
                return [Wait(kind="approval", id=required.approval_id, expires_at=required.expires_at)]
            await self._log.append(applied)
        return None if applied.approved else rejected_result(applied, results)

    async def _require(self, call: ToolCall, tool: Tool, arguments: Any, verdict: Verdict | None) -> ApprovalRequired:
        """Record the request for approval of a call.

        Raises:
            ToolError: the call cannot work as it is.
        """
        if verdict is None:  # an earlier process died between the decision and this request
            recorded = self._log.state.decisions[call.id]
            rule = (await self._verdict(tool, arguments)).rule
            verdict = Verdict(recorded.decision, recorded.reason, rule)
        return await self._request(call, tool, arguments, verdict, None)

    async def _request(
        self, call: ToolCall, tool: Tool, arguments: Any, verdict: Verdict, before: ApprovalRequired | None
    ) -> ApprovalRequired:
        workspace = self._deps.workspace
        bound: list[BoundFile] = []
        if workspace is not None:  # hashed before the preview is made: a change in between is a change
            bound = await asyncio.to_thread(bind_files, proposed_call(tool, arguments, workspace), workspace)
        required = approval_required(
            self._log.assigned.task_id,
            call,
            verdict,
            subject=tool.subject(arguments),
            preview=await asyncio.to_thread(tool.preview, workspace, arguments) if workspace else call.arguments,
            at=self._log.now(),
            bound=bound,
            before=before,
        )
        await self._log.append(required)
        return required


def refused(call: ToolCall, reason: str) -> ToolResult:
    """Return the result of a call the policy denied."""
    return ToolResult(call_id=call.id, content=f"refused: {reason}", is_error=True, outcome="refused")
