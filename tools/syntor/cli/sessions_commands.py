"""`syntor sessions`: list, show, resume, fork, rewind, compare and export conversations."""

from __future__ import annotations

from typing import Annotated

import typer

from syntor.cli.api import open_api
from syntor.cli.context_table import context_text
from syntor.cli.output import ExitCode, Format, fail, first_line, print_event, print_json, short_time, table
from syntor.contracts.visible_text import visible

SessionId = Annotated[str, typer.Argument(metavar="ID", help="Session id, its unique beginning or end, or `latest`.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="List, show, resume, fork, rewind and export sessions.", no_args_is_help=True)
    group.command("list")(list_sessions)
    group.command("show")(show)
    group.command("resume")(resume)
    group.command("fork")(fork)
    group.command("turns")(turns)
    group.command("rewind")(rewind)
    group.command("diff")(diff)
    group.command("context")(context)
    group.command("compact")(compact)
    group.command("export")(export)
    app.add_typer(group, name="sessions")


def list_sessions(
    limit: Annotated[int, typer.Option("--limit", "-n", help="Number of sessions, 1 to 500.")] = 20,
    output: Output = Format.TEXT,
) -> None:
    """List sessions, the one with the newest run first."""
    page = open_api().sessions(limit=limit)
    if output is not Format.TEXT:
        print_json(page)
        return
    rows = [(row.session_id, str(row.runs), row.agent, short_time(row.updated_at), row.title) for row in page.sessions]
    print(table(("SESSION", "RUNS", "AGENT", "UPDATED", "TITLE"), rows) if rows else "no sessions yet")


def show(session_id: SessionId, output: Output = Format.TEXT) -> None:
    """Show the messages of a session, oldest first."""
    api = open_api()
    messages = api.messages(api.resolve_session(session_id))
    if output is not Format.TEXT:
        print_json({"messages": messages})
        return
    for message in messages:
        mark = ">" if message.role == "user" else f"{message.agent}:"
        status = "" if message.status == "complete" else f"  [{message.status}]"
        print(visible(f"{mark} {message.content}{status}\n"))


def resume(session_id: SessionId) -> None:
    """Continue a session, interactively."""
    from syntor.cli.interactive.start import run

    raise SystemExit(run(session_id=open_api().resolve_session(session_id)) or 0)


def fork(
    session_id: SessionId,
    at: Annotated[
        int, typer.Option("--at", help="Position in the log; 0: now. Includes the runs that had ended by then.")
    ] = 0,
    output: Output = Format.TEXT,
) -> None:
    """Start a new session with the messages another one had at a position."""
    api = open_api()
    forked = api.fork_session(api.resolve_session(session_id), at)
    if output is not Format.TEXT:
        print_json(forked)
        return
    print(f"session {forked.session_id} continues {forked.forked_from} with {len(forked.history)} runs")
    print(f"  syntor sessions resume {forked.session_id}")


def turns(session_id: SessionId, output: Output = Format.TEXT) -> None:
    """List the turns of a session, the oldest first, with what each changed."""
    from syntor.cli.session_work import SessionWork

    api = open_api()
    found = SessionWork.read(api, api.resolve_session(session_id)).turns()
    if output is not Format.TEXT:
        print_json({"turns": found})
        return
    rows = [(str(one.number), one.changed, one.state, visible(first_line(one.input))) for one in found]
    print(table(("TURN", "CHANGED", "STATE", "INPUT"), rows) if rows else "no turns yet")


def rewind(
    session_id: SessionId,
    to: Annotated[str, typer.Option("--to", help="Turn to take back with all after it; without: the last one.")] = "",
    files: Annotated[bool, typer.Option("--files", help="Take back files only.")] = False,
    conversation: Annotated[bool, typer.Option("--conversation", help="Take back messages only.")] = False,
    both: Annotated[bool, typer.Option("--both", help="Take back both (the default).")] = False,
    force: Annotated[bool, typer.Option("--force", help="Take back what someone else changed, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Take back the last rewind instead.")] = False,
) -> None:
    """Take back turns of a session: bring back the files agents changed, and drop the messages.

    Work of others is not overwritten without --force; what is replaced can be brought back with --redo.
    """
    from syntor.cli.session_rewind import SessionRewind

    if sum((files, conversation, both)) > 1:
        fail("give one of --files, --conversation and --both", ExitCode.USAGE)
    if redo and (to or files or conversation):
        fail("--redo takes back the whole last rewind; give no turn and no part of it", ExitCode.USAGE)
    api = open_api()
    rewinding = SessionRewind(api, api.resolve_session(session_id), force=force, dry_run=dry_run)
    if redo:
        rewinding.redo()
    else:
        rewinding.rewind(to, "files" if files else "conversation" if conversation else "both")


def diff(
    session_id: SessionId,
    turn: Annotated[str, typer.Option("--turn", help="Only this turn: its number or its run.")] = "",
    agent: Annotated[str, typer.Option("--agent", help="Only what this agent changed.")] = "",
    stat: Annotated[bool, typer.Option("--stat", help="Only files and numbers of lines.")] = False,
) -> None:
    """Show what agents changed in a session, a turn, or by one agent."""
    from syntor.cli.session_work import SessionWork, print_diff

    api = open_api()
    work = SessionWork.read(api, api.resolve_session(session_id))
    print_diff(work.diff(turn, agent, stat=stat))


def context(session_id: SessionId, output: Output = Format.TEXT) -> None:
    """Show what the newest prompt of a session held: its parts, their tokens, and what was left out."""
    api = open_api()
    found = api.session_context(api.resolve_session(session_id))
    if output is Format.TEXT:
        print(context_text(found))
    else:
        print_json(found)


def compact(session_id: SessionId, output: Output = Format.TEXT) -> None:
    """Summarise the earlier turns of a session, so that later prompts are short; the turns stay in the log."""
    from syntor.cli.run_output import show_run

    api = open_api()
    accepted = api.compact_session(api.resolve_session(session_id))
    outcome = show_run(api, lambda: accepted, accepted.run_id, output)
    raise SystemExit(outcome.exit_code)


def export(session_id: SessionId) -> None:
    """Print all events of all runs of a session, one JSON object a line."""
    api = open_api()
    for run in reversed(api.session_runs(api.resolve_session(session_id))):
        for event in api.run_events(run.run_id):
            print_event(event.json)
