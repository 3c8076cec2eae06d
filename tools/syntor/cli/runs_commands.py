"""`syntor runs`: list, show, follow, cancel, retry and export runs."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from syntor.cli.output import ExitCode, Format, fail, print_json, table

RunId = Annotated[str, typer.Argument(metavar="ID", help="Run id, its unique beginning or end, or `latest`.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]
PAGE = 1000


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="List, show, follow, cancel and retry runs.", no_args_is_help=True)
    group.command("list")(list_runs)
    group.command("show")(show)
    group.command("events")(events)
    group.command("cancel")(cancel)
    group.command("retry")(retry)
    group.command("export")(export)
    app.add_typer(group, name="runs")


def list_runs(
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many, 1 to 500.")] = 20,
    agent: Annotated[str, typer.Option(help="Only of this agent.")] = "",
    status: Annotated[str, typer.Option(help="Only of this status, such as running or paused_waiting_approval.")] = "",
    session: Annotated[str, typer.Option(help="Only of this session.")] = "",
    output: Output = Format.TEXT,
) -> None:
    """List runs, newest first."""
    page = asked("/v1/runs", limit=limit, agent=agent, status=status, session_id=session)
    if output is not Format.TEXT:
        print_json(page)
        return
    rows = [
        (run["run_id"], run["status"], run["agent"], _short_time(run["created_at"]), _first_line(run["input"]))
        for run in page["runs"]
    ]
    print(table(("RUN", "STATUS", "AGENT", "CREATED", "INPUT"), rows) if rows else "no runs yet")


def show(
    run_id: RunId,
    timeline: Annotated[bool, typer.Option("--timeline", help="Show what took how long.")] = False,
    output: Output = Format.TEXT,
) -> None:
    """Show one run."""
    from syntor.cli.client import open_client

    client = open_client()
    found = client.resolve_run(run_id)
    run = guarded(lambda: client.get(f"/v1/runs/{found}"))
    if output is not Format.TEXT:
        print_json(run)
    elif timeline:
        from syntor.cli.timeline import render

        print(render(run, all_events(client, found)))
    else:
        print(_details(run))


def events(
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    output: Output = Format.TEXT,
) -> None:
    """Show a run's events, oldest first."""
    from syntor.cli.client import open_client
    from syntor.cli.events_commands import one_line

    client = open_client()
    found = client.resolve_run(run_id)
    source = client.follow(found) if follow else iter(guarded(lambda: all_events(client, found)))
    for event in guarded_events(source):
        if output is Format.TEXT:
            print(one_line(event), flush=True)
        else:
            print_json(event)


def cancel(run_id: RunId, reason: Annotated[str, typer.Option(help="Kept in the log.")] = "") -> None:
    """Stop a run; what was said is kept."""
    from syntor.cli.client import open_client

    client = open_client()
    found = client.resolve_run(run_id)
    guarded(lambda: client.post(f"/v1/runs/{found}/cancel", {"reason": reason}))
    types = [str(event["type"]) for event in client.follow(found)]
    print(f"run {found} is {types[-1].removeprefix('run_')}")


def retry(run_id: RunId, output: Output = Format.TEXT) -> None:
    """Ask the same again, as a new run."""
    from syntor.cli.chat import remember_session
    from syntor.cli.client import open_client
    from syntor.cli.run_view import show_run
    from syntor.stack.layout import home_folder

    client = open_client()
    found = client.resolve_run(run_id)
    started = guarded(lambda: client.post(f"/v1/runs/{found}/retry", {}))
    remember_session(home_folder(os.environ), started["session_id"])
    raise SystemExit(show_run(client, started, output).exit_code)


def export(run_id: RunId) -> None:
    """Print all events of a run, one JSON object a line; `syntor replay --from FILE` reads that."""
    from syntor.cli.client import open_client

    client = open_client()
    for event in guarded(lambda: all_events(client, client.resolve_run(run_id))):
        print_json(event)


def all_events(client: Any, run_id: str) -> list[dict[str, Any]]:
    """Return all events of a run, page by page."""
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = client.get(f"/v1/runs/{run_id}/events", after=after, limit=PAGE)
        found += page["events"]
        after = page["next_after"]
    return found


def asked(path: str, **parameters: Any) -> dict[str, Any]:
    from syntor.cli.client import open_client

    client = open_client()
    answer: dict[str, Any] = guarded(lambda: client.get(path, **parameters))
    return answer


def guarded(ask: Any) -> Any:
    """Turn a refusal of the server into an exit code."""
    from syntor.cli.client import ProblemError

    try:
        return ask()
    except ProblemError as exc:
        fail(str(exc), exit_code(exc.status))


def guarded_events(source: Any) -> Any:
    from syntor.cli.client import ProblemError

    try:
        yield from source
    except ProblemError as exc:
        fail(str(exc), exit_code(exc.status))


def exit_code(status: int) -> ExitCode:
    """Return the exit code a refusal with an HTTP status means."""
    if status in (400, 422):
        return ExitCode.USAGE
    return ExitCode.NOT_REACHABLE if status == 503 else ExitCode.RUN_FAILED


def _details(run: dict[str, Any]) -> str:
    usage = run["usage"]
    fields = {
        "run": run["run_id"],
        "session": run["session_id"],
        "agent": run["agent"],
        "status": run["status"],
        "model": run["model"],
        "created": run["created_at"],
        "ended": run["ended_at"],
        "steps": f"{run['steps_over']} of {run['steps']} over" if run.get("steps") else "",
        "tokens": f"{usage.get('input_tokens', 0)} in, {usage.get('output_tokens', 0)} out",
        "positions": f"{run['first_position']} to {run['position']}",
        "trace": run["correlation_id"],
        "retry of": run["retry_of"],
        "error": f"{run['error_message']} ({run['error_code']})" if run["error_code"] else "",
    }
    lines = [f"{name:<10} {value}" for name, value in fields.items() if value]
    tasks = [task for task in run.get("tasks", []) if task.get("parent")]
    lines += [f"{'task' if number == 0 else '':<10} {_task_line(task)}" for number, task in enumerate(tasks)]
    return "\n".join([*lines, "", f"> {run['input']}", "", run["final_message"]]).rstrip()


def _task_line(task: dict[str, Any]) -> str:
    step = f"[{task['step']}] " if task.get("step") else ""
    why = f": {task['message']}" if task.get("message") else ""
    return f"{step}{task['agent']} {task['status']}{why}  {_first_line(task.get('instruction', ''))}"


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:60]


def _short_time(text: str) -> str:
    return text[:19].replace("T", " ")
