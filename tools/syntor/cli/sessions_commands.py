"""`syntor sessions`: list, show, resume, fork and export conversations."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from syntor.cli.output import ExitCode, Format, fail, print_json, table
from syntor.cli.runs_commands import all_events, asked, guarded

SessionId = Annotated[str, typer.Argument(metavar="ID", help="Session id, its unique beginning or end, or `latest`.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="List, show, resume, fork and export sessions.", no_args_is_help=True)
    group.command("list")(list_sessions)
    group.command("show")(show)
    group.command("resume")(resume)
    group.command("fork")(fork)
    group.command("export")(export)
    app.add_typer(group, name="sessions")


def list_sessions(
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many, 1 to 500.")] = 20, output: Output = Format.TEXT
) -> None:
    """List sessions, the one with the newest run first."""
    page = asked("/v1/sessions", limit=limit)
    if output is not Format.TEXT:
        print_json(page)
        return
    rows = [
        (row["session_id"], str(row["runs"]), row["agent"], row["updated_at"][:19].replace("T", " "), row["title"])
        for row in page["sessions"]
    ]
    print(table(("SESSION", "RUNS", "AGENT", "UPDATED", "TITLE"), rows) if rows else "no sessions yet")


def show(session_id: SessionId, output: Output = Format.TEXT) -> None:
    """Show the messages of a session, oldest first."""
    messages = all_messages(resolve(session_id))
    if output is not Format.TEXT:
        print_json({"messages": messages})
        return
    for message in messages:
        mark = ">" if message["role"] == "user" else f"{message['agent']}:"
        status = "" if message["status"] == "complete" else f"  [{message['status']}]"
        print(f"{mark} {message['content']}{status}\n")


def resume(session_id: SessionId) -> None:
    """Go on with a session, interactively."""
    from syntor.cli.interactive.session import run

    raise SystemExit(run(session_id=resolve(session_id)) or 0)


def fork(
    session_id: SessionId,
    at: Annotated[int, typer.Option("--at", help="Position in the log; 0: now. Runs that had ended go along.")] = 0,
    output: Output = Format.TEXT,
) -> None:
    """Begin a new session with the messages another one had at a position."""
    from syntor.cli.client import open_client

    client = open_client()
    found = resolve(session_id)
    forked = guarded(lambda: client.post(f"/v1/sessions/{found}/fork", {"at": at} if at else {}))
    if output is not Format.TEXT:
        print_json(forked)
        return
    print(f"session {forked['session_id']} goes on from {found} with {len(forked['history'])} runs")
    print(f"  syntor sessions resume {forked['session_id']}")


def export(session_id: SessionId) -> None:
    """Print all events of all runs of a session, one JSON object a line."""
    from syntor.cli.client import open_client

    client = open_client()
    found = resolve(session_id)
    page = guarded(lambda: client.get("/v1/runs", session_id=found, limit=500))
    for row in reversed(page["runs"]):
        for event in guarded(lambda run_id=row["run_id"]: all_events(client, run_id)):
            print_json(event)


def resolve(text: str) -> str:
    """Return the id of a session given as `latest`, as an id, or as the unique beginning or end of one."""
    sessions = asked("/v1/sessions", limit=500)["sessions"]
    if text == "latest" and sessions:
        return str(sessions[0]["session_id"])
    ids = [row["session_id"] for row in sessions]
    if text in ids:
        return text
    found = [each for each in ids if each.startswith(text) or each.endswith(text)]
    if len(found) != 1:
        many = f"could be any of {', '.join(found[:5])}" if found else "is not known; syntor sessions list shows all"
        fail(f"session {text!r} {many}", ExitCode.USAGE if found else ExitCode.RUN_FAILED)
    return str(found[0])


def all_messages(session_id: str) -> list[dict[str, Any]]:
    """Return all messages of a session, oldest first."""
    from syntor.cli.client import open_client

    client = open_client()
    messages: list[dict[str, Any]] = []
    before: int | None = None
    while True:
        page = guarded(
            lambda before=before: client.get(f"/v1/sessions/{session_id}/messages", limit=500, before=before)
        )
        messages = page["messages"] + messages
        before = page["cursor"]
        if before is None:
            return messages
