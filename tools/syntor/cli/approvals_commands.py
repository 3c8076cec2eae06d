"""`syntor approvals`: what agents ask leave for, and the answers; from any terminal."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.cli.runs_commands import asked, guarded

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Run id, its unique beginning or end, or `latest`.")]
ApprovalId = Annotated[str, typer.Argument(metavar="[APPROVAL]", help="Approval id; may be left out if one waits.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="List and answer what agents ask leave for.", no_args_is_help=True)
    group.command("list")(list_approvals)
    group.command("show")(show)
    group.command("approve")(approve)
    group.command("reject")(reject)
    app.add_typer(group, name="approvals")


def list_approvals(
    status: Annotated[str, typer.Option(help="pending, approved, rejected, expired or void.")] = "pending",
    session: Annotated[str, typer.Option(help="Only of this session.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many, 1 to 500.")] = 50,
    output: Output = Format.TEXT,
) -> None:
    """List approvals, newest first; by default those that wait."""
    page = asked("/v1/approvals", status="" if status == "all" else status, session_id=session, limit=limit)
    if output is not Format.TEXT:
        print_json(page)
        return
    rows = [
        (each["run_id"], each["approval_id"], each["status"], each["agent"], each["title"][:60])
        for each in page["approvals"]
    ]
    print(table(("RUN", "APPROVAL", "STATUS", "AGENT", "TITLE"), rows) if rows else "no approval waits")


def show(run_id: RunId, approval_id: ApprovalId = "", output: Output = Format.TEXT) -> None:
    """Show what is asked, and what would happen."""
    approval = _find(run_id, approval_id)
    if output is not Format.TEXT:
        print_json(approval)
        return
    print(f"{approval['title']}\n({approval['reason']})\n\n{approval['preview']}\n")
    decision = approval["decision"]
    if decision is None:
        print(f"waits; syntor approvals approve {approval['run_id']} {approval['approval_id']}")
    else:
        word = "approved" if decision["approved"] else "rejected"
        print(f"{word} by {decision.get('decided_by', '')} {decision.get('reason', '')}".rstrip())


def approve(
    run_id: RunId,
    approval_id: ApprovalId = "",
    for_session: Annotated[bool, typer.Option("--session", help="And calls like it, in this session.")] = False,
    always: Annotated[bool, typer.Option("--always", help="And save the rule to your configuration.")] = False,
) -> None:
    """Let it happen."""
    approval = _find(run_id, approval_id)
    if (for_session or always) and not approval["rule"]:
        fail("no rule is offered for calls like this one; approve it once", ExitCode.USAGE)
    _decide(approval, {"approved": True, "scope": "session" if for_session or always else "once"})
    if always:
        from syntor.cli.approving import allow_always

        allow_always(approval["rule"])


def reject(
    run_id: RunId,
    approval_id: ApprovalId = "",
    reason: Annotated[str, typer.Option("--reason", help="Told to the agent.")] = "",
) -> None:
    """Refuse it."""
    _decide(_find(run_id, approval_id), {"approved": False, "reason": reason})


def _decide(approval: dict[str, Any], decision: dict[str, Any]) -> None:
    from syntor.cli.approving import user
    from syntor.cli.client import open_client

    client = open_client()
    body = decision | {"content_hash": approval["content_hash"], "decided_by": user()}
    path = f"/v1/runs/{approval['run_id']}/approvals/{approval['approval_id']}"
    guarded(lambda: client.post(path, body))
    print(f"{'approved' if decision['approved'] else 'rejected'}: {approval['title']}")


def _find(run: str, approval_id: str) -> dict[str, Any]:
    from syntor.cli.client import open_client

    client = open_client()
    run_id = client.resolve_run(run)
    if not approval_id:
        waiting = guarded(lambda: client.get(f"/v1/runs/{run_id}/approvals", status="pending"))["approvals"]
        if not waiting:
            fail(f"run {run_id} waits for no approval", ExitCode.RUN_FAILED)
        if len(waiting) > 1:
            listed = "\n".join(f"  {each['approval_id']}  {each['title']}" for each in waiting)
            fail(f"run {run_id} waits for {len(waiting)} approvals; name one:\n{listed}", ExitCode.USAGE)
        approval_id = waiting[0]["approval_id"]
    found: dict[str, Any] = guarded(lambda: client.get(f"/v1/runs/{run_id}/approvals/{approval_id}"))
    return found
