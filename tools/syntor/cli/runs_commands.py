"""`syntor runs`: list, show, follow, cancel, retry and export runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, NoReturn

import msgspec
import typer

from syntor.cli.api import Api, open_api
from syntor.cli.output import Format, first_line, print_event, print_json, short_time, table
from syntor.cli.problem import ProblemError
from syntor.contracts.errors import NotReachableError
from syntor.contracts.http.v1 import Accepted
from syntor.contracts.rpc.v1 import RunView, TaskView
from syntor.contracts.visible_text import visible

RunId = Annotated[str, typer.Argument(metavar="ID", help="Run id, its unique beginning or end, or `latest`.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text or json.")]


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
    limit: Annotated[int, typer.Option("--limit", "-n", help="Number of runs, 1 to 500.")] = 20,
    agent: Annotated[str, typer.Option(help="Only runs of this agent.")] = "",
    status: Annotated[str, typer.Option(help="Only of this status, such as running or paused_waiting_approval.")] = "",
    session: Annotated[str, typer.Option(help="Only runs of this session.")] = "",
    output: Output = Format.TEXT,
) -> None:
    """List runs, newest first."""
    page = open_api().runs(limit=limit, agent=agent, status=status, session_id=session)
    if output is not Format.TEXT:
        print_json(page)
        return
    rows = [(run.run_id, run.status, run.agent, short_time(run.created_at), first_line(run.input)) for run in page.runs]
    print(table(("RUN", "STATUS", "AGENT", "CREATED", "INPUT"), rows) if rows else "no runs yet")


def show(
    run_id: RunId,
    timeline: Annotated[bool, typer.Option("--timeline", help="Show the duration of each call.")] = False,
    output: Output = Format.TEXT,
) -> None:
    """Show one run."""
    api = open_api()
    run = api.run(api.resolve_run(run_id))
    if output is not Format.TEXT:
        print_json(run)
    elif timeline:
        from syntor.cli.timeline import render

        print(render(run, api.run_events(run.run_id)))
    else:
        print(_details(run))


def events(
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow until the run ends.")] = False,
    output: Output = Format.TEXT,
) -> None:
    """Show the events of a run, oldest first."""
    from syntor.cli.event_line import event_line

    api = open_api()
    found = api.resolve_run(run_id)
    for event in api.follow_run(found) if follow else api.run_events(found):
        if output is Format.TEXT:
            print(event_line(event), flush=True)
        else:
            print_event(event.json)


def cancel(run_id: RunId, reason: Annotated[str, typer.Option(help="Reason kept in the log.")] = "") -> None:
    """Cancel a run; its output so far is kept."""
    from syntor.cli.delivery import deliver

    api = open_api()
    found = api.resolve_run(run_id)
    try:
        deliver(lambda: api.cancel_run(found, reason), "not stopped yet")
    except (ProblemError, NotReachableError, KeyboardInterrupt) as exc:
        if not isinstance(exc, ProblemError) or exc.status == 503:
            sys.stderr.write(f"error: not stopped; run: syntor runs cancel {found}\n")
        raise
    types = [event.type for event in api.follow_run(found)]
    print(f"run {found} is {types[-1].removeprefix('run_')}")


def retry(run_id: RunId, output: Output = Format.TEXT) -> None:
    """Start a new run with the same input."""
    api = open_api()
    retry_and_show(api, api.resolve_run(run_id), output)


def retry_and_show(
    api: Api, run_id: str, output: Format, *, on_started: Callable[[], object] = lambda: None
) -> NoReturn:
    """Start a new run with the input of another one, print it, and end with its exit code."""
    from syntor.cli.chat import remember_session
    from syntor.cli.delivery import new_key, run_id_of
    from syntor.cli.run_output import show_run
    from syntor.stack.layout import home_folder

    key = new_key()

    def start() -> Accepted:
        started = api.retry_run(run_id, key)
        on_started()
        remember_session(home_folder(os.environ), started.session_id)
        return started

    raise SystemExit(show_run(api, start, run_id_of(key), output).exit_code)


def export(run_id: RunId) -> None:
    """Print all events of a run, one JSON object a line; `syntor replay --from FILE` reads them."""
    api = open_api()
    for event in api.run_events(api.resolve_run(run_id)):
        print_event(event.json)


def _details(run: RunView) -> str:
    usage = run.usage
    fields = {
        "run": run.run_id,
        "session": run.session_id,
        "agent": run.agent,
        "status": run.status,
        "model": run.model,
        "created": _instant(run.created_at),
        "ended": _instant(run.ended_at),
        "steps": f"{run.steps_completed} of {run.steps} completed" if run.steps else "",
        "tokens": f"{usage.input_tokens} in, {usage.output_tokens} out",
        "positions": f"{run.first_position} to {run.position}",
        "trace": run.correlation_id,
        "retry of": run.retry_of,
        "damaged": f"{run.not_applied} of its events could not be applied; syntor dlq list" if run.not_applied else "",
        "error": f"{run.error_message} ({run.error_code})" if run.error_code else "",
    }
    lines = [f"{name:<10} {value}" for name, value in fields.items() if value]
    tasks = [task for task in run.tasks if task.parent]
    lines += [f"{'task' if number == 0 else '':<10} {_task_line(task)}" for number, task in enumerate(tasks)]
    return visible("\n".join([*lines, "", f"> {run.input}", "", run.final_message]).rstrip())


def _instant(at: datetime | None) -> str:
    return str(msgspec.to_builtins(at)) if at is not None else ""


def _task_line(task: TaskView) -> str:
    step = f"[{task.step}] " if task.step else ""
    reason = f": {task.message}" if task.message else ""
    return f"{step}{task.agent} {task.status}{reason}  {first_line(task.instruction)}"
