"""`syntor approvals`: list, show and decide approvals, from any terminal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from syntor.cli.api import Api, Decision, open_api
from syntor.cli.approval_prompt import allow_always, workspace_of
from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.cli.problem import ProblemError
from syntor.contracts.errors import NotReachableError
from syntor.contracts.http.v1 import Approval
from syntor.contracts.visible_text import visible
from syntor.contracts.vocabulary import ApprovalScope

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Run id, its unique beginning or end, or `latest`.")]
ApprovalId = Annotated[str, typer.Argument(metavar="[APPROVAL]", help="Approval id; optional if only one is pending.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="List and decide approvals.", no_args_is_help=True)
    group.command("list")(list_approvals)
    group.command("show")(show)
    group.command("approve")(approve)
    group.command("reject")(reject)
    app.add_typer(group, name="approvals")


def list_approvals(
    status: Annotated[str, typer.Option(help="pending, approved, rejected, expired, void or all.")] = "pending",
    session: Annotated[str, typer.Option(help="Only approvals of this session.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", help="Number of approvals, 1 to 500.")] = 50,
    output: Output = Format.TEXT,
) -> None:
    """List approvals, newest first; by default the pending ones."""
    page = open_api().approvals(status="" if status == "all" else status, session_id=session, limit=limit)
    if output is not Format.TEXT:
        print_json(page)
        return
    rows = [(each.run_id, each.approval_id, each.status, each.agent, each.title[:60]) for each in page.approvals]
    print(table(("RUN", "APPROVAL", "STATUS", "AGENT", "TITLE"), rows) if rows else "no approvals")


def show(run_id: RunId, approval_id: ApprovalId = "", output: Output = Format.TEXT) -> None:
    """Show one approval with its preview and decision."""
    approval = _find(open_api(), run_id, approval_id)
    if output is not Format.TEXT:
        print_json(approval)
        return
    print(visible(f"{approval.title}\n({approval.reason})\n\n{approval.preview}\n"))
    decision = approval.decision
    if decision is None:
        print(f"pending; syntor approvals approve {approval.run_id} {approval.approval_id}")
    else:
        word = "approved" if decision.approved else "rejected"
        print(visible(f"{word} by {decision.decided_by} {decision.reason}".rstrip()))


def approve(
    run_id: RunId,
    approval_id: ApprovalId = "",
    for_session: Annotated[bool, typer.Option("--session", help="Also approve calls like it in this session.")] = False,
    always: Annotated[bool, typer.Option("--always", help="Also save the rule for the run's folder.")] = False,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="Also save the rule for every folder.")] = False,
) -> None:
    """Approve the tool call."""
    api = open_api()
    approval = _find(api, run_id, approval_id)
    lasting = for_session or always or everywhere
    if lasting and not approval.rule:
        fail("no rule is offered for calls like this one; approve it once", ExitCode.USAGE)
    _decide(api, approval, approved=True, scope="session" if lasting else "once")
    if always or everywhere:
        allow_always(approval.rule, None if everywhere else workspace_of(api, approval.run_id))


def reject(
    run_id: RunId,
    approval_id: ApprovalId = "",
    reason: Annotated[str, typer.Option("--reason", help="Told to the agent.")] = "",
) -> None:
    """Reject the tool call."""
    api = open_api()
    _decide(api, _find(api, run_id, approval_id), approved=False, reason=reason)


def _decide(api: Api, approval: Approval, *, approved: bool, scope: ApprovalScope = "once", reason: str = "") -> None:
    decision = Decision(approved=approved, content_hash=approval.content_hash, scope=scope, reason=reason)
    try:
        api.decide(approval.run_id, approval.approval_id, decision)
    except (ProblemError, NotReachableError, KeyboardInterrupt) as exc:
        if not isinstance(exc, ProblemError) or exc.status == 503:
            verb = "approve" if approved else "reject"
            again = f"syntor approvals {verb} {approval.run_id} {approval.approval_id}"
            sys.stderr.write(f"error: it is not known to be {'approved' if approved else 'rejected'}; run: {again}\n")
        raise
    print(visible(f"{'approved' if approved else 'rejected'}: {approval.title}"))


def _find(api: Api, run: str, approval_id: str) -> Approval:
    run_id = api.resolve_run(run)
    if not approval_id:
        pending = api.pending_approvals(run_id)
        if not pending:
            fail(f"run {run_id} has no pending approval", ExitCode.RUN_FAILED)
        if len(pending) > 1:
            listed = "\n".join(f"  {each.approval_id}  {each.title}" for each in pending)
            fail(f"run {run_id} has {len(pending)} pending approvals; name one:\n{listed}", ExitCode.USAGE)
        approval_id = pending[0].approval_id
    return api.approval(run_id, approval_id)
