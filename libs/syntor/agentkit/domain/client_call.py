"""Calls of tools that run at the client: requested in the log, and answered by a submitted result."""

from __future__ import annotations

from datetime import datetime, timedelta

from syntor.agentkit.domain.external_results import ExternalResults
from syntor.contracts.task.v1 import ToolCall, ToolRequest, ToolResult, Wait

CLIENT_TOOL_TTL_S = 3600.0  # seconds a client has to submit a result


def tool_request(call: ToolCall, at: datetime) -> ToolRequest:
    """Return the request to the client."""
    expires_at = at + timedelta(seconds=CLIENT_TOOL_TTL_S)
    return ToolRequest(call_id=call.id, name=call.name, arguments=call.arguments, expires_at=expires_at)


def client_outcome(task_id: str, requested: ToolRequest, results: ExternalResults, at: datetime) -> ToolResult | Wait:
    """Return the submitted result, the expiry of the request, or what the task waits for."""
    wait = Wait(kind="tool", id=f"{task_id}-{requested.call_id}", expires_at=requested.expires_at)
    if (submitted := results.submitted.get(wait.id)) is not None:
        return ToolResult(
            call_id=requested.call_id, content=submitted.content, is_error=submitted.is_error, outcome="submitted"
        )
    if requested.expires_at is not None and at >= requested.expires_at:
        return ToolResult(
            call_id=requested.call_id,
            content="the client submitted no result in time",
            is_error=True,
            outcome="expired",
        )
    return wait
