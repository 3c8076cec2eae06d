"""Approvals: listing them, and deciding on them. The first decision counts.

The log holds the request for approval; a decision is an append on a subject of its own that expects nothing there, so
the server accepts the first one only, whichever instance or client it comes through.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from starlette.responses import Response

from syntor.contracts import subjects
from syntor.contracts.bounds import Line
from syntor.contracts.clock import now
from syntor.contracts.errors import ConflictError, NotFoundError, RevisionConflictError
from syntor.contracts.events import Event
from syntor.contracts.http.v1 import Approval, SubmissionAccepted
from syntor.contracts.request.v1 import ApprovalDecision
from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.task.v1 import ApprovalRequired
from syntor.contracts.vocabulary import ApprovalScope, ApprovalStatus
from syntor.ingress.api.run_bodies import Body
from syntor.ingress.gateway import Gateway, request
from syntor.ingress.http.bounds import Cursor, IdFilter, Limit, Reason
from syntor.ingress.http.errors import ContentChangedError
from syntor.ingress.http.operation import Call, Operation, Reply, reply
from syntor.ingress.http.parameters import Query

ApprovalFilter = Annotated[
    Literal[ApprovalStatus, ""],
    Meta(description="Only approvals of this status; void: the run ended before a decision."),
]


class RunApprovalsQuery(Query, frozen=True, kw_only=True):
    """Parameters of GET /v1/runs/{run_id}/approvals."""

    status: ApprovalFilter = ""
    limit: Limit = 50
    cursor: Cursor = 0


class ApprovalsQuery(RunApprovalsQuery, frozen=True, kw_only=True):
    """Parameters of GET /v1/approvals."""

    session_id: Annotated[IdFilter, Meta(description="Only approvals of this session.")] = ""


class DecideApproval(Body, frozen=True, kw_only=True):
    """Body of POST /v1/runs/{run_id}/approvals/{approval_id}."""

    approved: bool
    """The decision."""
    content_hash: Annotated[Line, Meta(min_length=1)]
    """That of the approval: the decision is about this content."""
    reason: Reason = ""
    """Told to the agent."""
    scope: ApprovalScope = "once"
    """session: further calls that match the approval's rule need no approval in this session."""


class ApprovalRoutes:
    """Handlers of approvals."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def operations(self) -> list[Operation]:
        """Return the rows of the route table."""
        page = (Reply(description="A page of approvals.", schema=rpc.ApprovalPage),)
        return [
            Operation(
                method="GET",
                path="/v1/approvals",
                handler=self.page,
                id="listApprovals",
                scope="read",
                tag="Approvals",
                summary="List approvals",
                description="The newest approval comes first.",
                query=ApprovalsQuery,
                replies=page,
                problems=("beyond_log",),
            ),
            Operation(
                method="GET",
                path="/v1/runs/{run_id}/approvals",
                handler=self.list_of_run,
                id="listRunApprovals",
                scope="read",
                tag="Approvals",
                summary="List the approvals of a run",
                description="The newest approval comes first.",
                query=RunApprovalsQuery,
                replies=page,
                problems=("not_found", "beyond_log"),
            ),
            Operation(
                method="GET",
                path="/v1/runs/{run_id}/approvals/{approval_id}",
                handler=self.show,
                id="getApproval",
                scope="read",
                tag="Approvals",
                summary="Show an approval",
                description="With its decision, if there is one.",
                replies=(Reply(description="The approval.", schema=Approval),),
                problems=("not_found",),
            ),
            Operation(
                method="POST",
                path="/v1/runs/{run_id}/approvals/{approval_id}",
                handler=self.decide,
                id="decideApproval",
                scope="approve",
                tag="Approvals",
                summary="Approve or reject",
                description="The first decision counts and may be repeated; another one, one on other content, and one "
                "after the approval "
                "expired are conflicts.",
                body=DecideApproval,
                example={"approved": True, "content_hash": "9f86d081884c7d65"},
                replies=(Reply(description="The decision is in the log.", schema=SubmissionAccepted),),
                problems=("not_found", "conflict", "approval_content_changed"),
            ),
        ]

    async def page(self, call: Call[ApprovalsQuery, None]) -> Response:
        """GET /v1/approvals."""
        return await self._page(call, session_id=call.query.session_id)

    async def list_of_run(self, call: Call[RunApprovalsQuery, None]) -> Response:
        """GET /v1/runs/{run_id}/approvals."""
        run_id = call.path("run_id")
        await self._gateway.run(run_id)
        return await self._page(call, run_id=run_id)

    async def show(self, call: Call[Query, None]) -> Response:
        """GET /v1/runs/{run_id}/approvals/{approval_id}."""
        run_id = call.path("run_id")
        await self._gateway.run(run_id)
        return reply(await self._approval(run_id, call.path("approval_id")))

    async def decide(self, call: Call[Query, DecideApproval]) -> Response:
        """POST /v1/runs/{run_id}/approvals/{approval_id}."""
        run_id, approval_id = call.path("run_id"), call.path("approval_id")
        bounds = await self._gateway.run(run_id)
        approval = await self._approval(run_id, approval_id)
        decision = _decision(approval, call.body, call.context.caller)
        if approval.decision is not None:
            return await self._repeated(run_id, decision)
        bounds.require_open()
        _check(approval, call.body)
        try:
            position = await self._gateway.append_request(request(call.context, decision, run_id, bounds))
        except RevisionConflictError:
            return await self._repeated(run_id, decision)
        return reply(SubmissionAccepted(run_id=run_id, id=approval_id, position=position))

    async def _repeated(self, run_id: str, decision: ApprovalDecision) -> Response:
        """Return the response to a decision that was made before.

        Raises:
            ConflictError: the first decision was another one.
        """
        approval_id = decision.approval_id
        first = await self._gateway.last(subjects.event("request", run_id, "approval_decision", approval_id))
        if first is None or first.event != decision:
            raise _decided(approval_id, first.event if first is not None else None)
        return reply(SubmissionAccepted(run_id=run_id, id=approval_id, position=first.position))

    async def _page(
        self, call: Call[RunApprovalsQuery, None] | Call[ApprovalsQuery, None], run_id: str = "", session_id: str = ""
    ) -> Response:
        await self._gateway.require_position("cursor", call.query.cursor)
        query = rpc.ListApprovals(
            run_id=run_id,
            session_id=session_id,
            status=call.query.status or None,
            limit=call.query.limit,
            before=call.query.cursor,
            min_position=self._gateway.hub.read_model_position,
        )
        return reply(await self._gateway.call(rpc.PROJECTOR, rpc.LIST_APPROVALS, query, call.context))

    async def _approval(self, run_id: str, approval_id: str) -> Approval:
        """Return an approval with its decision.

        Raises:
            NotFoundError: the run has no such approval.
        """
        task_id = approval_id.rpartition("-")[0]
        for recorded in await self._gateway.task_events(run_id, task_id, "approval_required") if task_id else []:
            required = recorded.event
            if not isinstance(required, ApprovalRequired) or required.approval_id != approval_id:
                continue
            decided = await self._gateway.last(subjects.event("request", run_id, "approval_decision", approval_id))
            decision = decided.event if decided is not None else None
            return Approval(
                run_id=run_id,
                task_id=task_id,
                approval_id=approval_id,
                title=required.title,
                preview=required.preview,
                reason=required.reason,
                rule=required.rule,
                content_hash=required.content_hash,
                expires_at=required.expires_at,
                decision=decision if isinstance(decision, ApprovalDecision) else None,
                position=recorded.position,
            )
        raise NotFoundError(f"run {run_id!r} has no approval {approval_id!r}")


def _check(approval: Approval, command: DecideApproval) -> None:
    """Check that an approval can still be decided on, and that the decision is about its content."""
    if approval.expires_at is not None and approval.expires_at <= now():
        raise ConflictError(f"approval {approval.approval_id!r} expired at {approval.expires_at.isoformat()}")
    if command.content_hash != approval.content_hash:
        raise ContentChangedError(
            f"approval {approval.approval_id!r} has other content than the decision names; read it again"
        )


def _decision(approval: Approval, command: DecideApproval, caller: str) -> ApprovalDecision:
    return ApprovalDecision(
        approval_id=approval.approval_id,
        approved=command.approved,
        content_hash=command.content_hash,
        reason=command.reason,
        decided_by=caller,
        scope=command.scope,
        rule=approval.rule if command.scope == "session" else "",
    )


def _decided(approval_id: str, decision: Event | None) -> ConflictError:
    if not isinstance(decision, ApprovalDecision):
        return ConflictError(f"approval {approval_id!r} was decided before")
    outcome, who = ("approved" if decision.approved else "rejected"), decision.decided_by or "an unnamed client"
    return ConflictError(f"approval {approval_id!r} was {outcome} by {who} before; the first decision counts")
