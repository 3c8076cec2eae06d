"""What agents wait for from outside: decisions on approvals, and results of the client's own tools. Each is taken once.

The log holds what is asked; an answer is an append on a subject of its own that expects nothing there, so the server
takes the first one only, whichever process or client it comes through.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from syntor.contracts import subjects
from syntor.contracts.errors import ConflictError, NotFoundError, RevisionConflictError
from syntor.contracts.request.v1 import ApprovalDecision, RequestEvent, ToolResult
from syntor.contracts.task.v1 import ApprovalRequired, ToolRequest
from syntor.ingress.answer_commands import read_decision, read_tool_result
from syntor.ingress.errors import ContentChangedError
from syntor.ingress.exchange import Exchange, encode
from syntor.ingress.gateway import Gateway, RunEnds, request

DECIDED_BY = "http"


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """An approval as the log has it."""

    run_id: str
    task_id: str
    approval_id: str
    title: str
    preview: str
    reason: str
    rule: str
    content_hash: str
    expires_at: datetime | None
    decision: ApprovalDecision | None
    """None: nobody decided yet."""
    position: int
    """Stream sequence it was asked at."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is in the log."""

    run_id: str
    id: str
    """Approval, or `<task_id>-<call_id>` of a tool call."""
    position: int


class AnswersFromOutside:
    """Handlers of approvals and of results of clients' tools."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def approval(self, exchange: Exchange) -> None:
        """GET /v1/runs/{run_id}/approvals/{approval_id}."""
        run_id = exchange.token("run_id", "run")
        approval_id = exchange.token("approval_id", "approval")
        exchange.query()
        await self._gateway.run(run_id)
        await exchange.answer(200, encode(await self._approval(run_id, approval_id)))

    async def decide(self, exchange: Exchange) -> None:
        """POST /v1/runs/{run_id}/approvals/{approval_id}."""
        run_id = exchange.token("run_id", "run")
        approval_id = exchange.token("approval_id", "approval")
        command = read_decision(await exchange.body())
        ends = await self._gateway.run(run_id)
        approval = await self._approval(run_id, approval_id)
        if approval.decision is not None:
            raise _decided(approval_id, approval.decision)
        _refuse_ended(ends)
        if approval.expires_at is not None and approval.expires_at <= datetime.now(UTC):
            raise ConflictError(f"approval {approval_id!r} expired at {approval.expires_at.isoformat()}")
        if command.content_hash != approval.content_hash:
            raise ContentChangedError(
                f"approval {approval_id!r} is about other content than the one decided on; look at it again"
            )
        decision = ApprovalDecision(
            approval_id=approval_id,
            approved=command.approved,
            content_hash=command.content_hash,
            reason=command.reason,
            decided_by=exchange.caller or command.decided_by or DECIDED_BY,
            scope=command.scope,
            rule=approval.rule if command.scope == "session" else "",
        )
        try:
            position = await self._append(exchange, ends, decision)
        except RevisionConflictError:
            first = (await self._approval(run_id, approval_id)).decision
            raise _decided(approval_id, first) from None
        await exchange.answer(200, encode(Answered(run_id=run_id, id=approval_id, position=position)))

    async def submit(self, exchange: Exchange) -> None:
        """POST /v1/runs/{run_id}/tool_results/{call}."""
        run_id = exchange.token("run_id", "run")
        call = exchange.token("call", "tool call")
        command = read_tool_result(await exchange.body())
        ends = await self._gateway.run(run_id)
        task_id, _, call_id = call.rpartition("-")
        asked = await self._gateway.of_task(run_id, task_id, "tool_request") if task_id else []
        if not any(isinstance(r.event, ToolRequest) and r.event.call_id == call_id for r in asked):
            raise NotFoundError(f"run {run_id!r} asks no client for the tool call {call!r}")
        _refuse_ended(ends)
        result = ToolResult(
            task_id=task_id,
            call_id=call_id,
            content=command.content,
            is_error=command.is_error,
            submitted_by=exchange.caller or DECIDED_BY,
        )
        try:
            position = await self._append(exchange, ends, result)
        except RevisionConflictError:
            raise ConflictError(f"the result of tool call {call!r} was submitted before") from None
        await exchange.answer(200, encode(Answered(run_id=run_id, id=call, position=position)))

    async def _approval(self, run_id: str, approval_id: str) -> Approval:
        """Return an approval with its decision.

        Raises:
            NotFoundError: the run asks for no such approval.
        """
        task_id = approval_id.rpartition("-")[0]
        for recorded in await self._gateway.of_task(run_id, task_id, "approval_required") if task_id else []:
            asked = recorded.event
            if not isinstance(asked, ApprovalRequired) or asked.approval_id != approval_id:
                continue
            subject = subjects.event("request", run_id, "approval_decision", approval_id)
            decided = await self._gateway.last(subject)
            decision = decided.event if decided is not None else None
            return Approval(
                run_id=run_id,
                task_id=task_id,
                approval_id=approval_id,
                title=asked.title,
                preview=asked.preview,
                reason=asked.reason,
                rule=asked.rule,
                content_hash=asked.content_hash,
                expires_at=asked.expires_at,
                decision=decision if isinstance(decision, ApprovalDecision) else None,
                position=recorded.position,
            )
        raise NotFoundError(f"run {run_id!r} asks for no approval {approval_id!r}")

    async def _append(self, exchange: Exchange, ends: RunEnds, event: RequestEvent) -> int:
        run_id = ends.first.envelope.runid
        position = await self._gateway.append(request(exchange, event, run_id, ends), 0)
        self._gateway.hub.note(run_id, position)
        return position


def _refuse_ended(ends: RunEnds) -> None:
    if ends.last is not None:
        raise ConflictError(f"run {ends.last.envelope.runid!r} has already ended: {ends.last.envelope.type}")


def _decided(approval_id: str, decision: ApprovalDecision | None) -> ConflictError:
    if decision is None:
        return ConflictError(f"approval {approval_id!r} was decided on before")
    word, who = ("approved" if decision.approved else "rejected"), decision.decided_by or "somebody"
    return ConflictError(f"approval {approval_id!r} was {word} by {who} before; the first decision counts")
