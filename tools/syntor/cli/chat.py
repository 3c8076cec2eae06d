"""`syntor chat` and the commands named after agents: one message, one answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from syntor.cli.output import ExitCode, Format, fail
from syntor.stack.layout import home_folder

DEFAULT_AGENT = "coordination"
LAST_SESSION = "last_session"  # file in the run folder of the home: the newest session, for --continue
_SENT_ORIGINS = ("project", "environment", "flag")  # the agents read the other layers themselves


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands = {
        "chat": ("coordination", "Talk to the default agent."),
        "coordination": ("coordination", "Talk to the agent that routes, plans and delegates."),
        "coord": ("coordination", "Talk to the agent that routes, plans and delegates."),
        "docs": ("documentation", "Talk to the documentation agent."),
        "documentation": ("documentation", "Talk to the documentation agent."),
        "git": ("git", "Talk to the git agent."),
    }
    for name, (agent, text) in commands.items():
        app.command(name, help=text)(_command(agent))
    app.command("worker", help="Talk to the general worker.")(worker)


Words = Annotated[list[str] | None, typer.Argument(help="The message; words are joined. `-`: read standard input.")]
Model = Annotated[str, typer.Option("--model", "-m", help="Model for this call, provider/name.")]
SessionId = Annotated[str, typer.Option("--session", help="Go on with a session.")]
Continue = Annotated[bool, typer.Option("--continue", help="Go on with the newest session.")]
Timeout = Annotated[float, typer.Option(help="Seconds the answer may take.")]
Workspace = Annotated[str, typer.Option(help="Folder the agent may look at; the current one by default.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text, json, or stream-json: one event a line.")]


def _command(agent: str) -> Any:
    def talk(
        words: Words = None,
        model: Model = "",
        session: SessionId = "",
        continue_: Continue = False,
        timeout: Timeout = 0.0,
        workspace: Workspace = "",
        output: Output = Format.TEXT,
    ) -> None:
        send(agent, words or [], model, session, continue_, timeout, workspace, output)

    return talk


def worker(
    words: Words = None,
    code: Annotated[bool, typer.Option("--code", help="Ask the code worker.")] = False,
    model: Model = "",
    session: SessionId = "",
    continue_: Continue = False,
    timeout: Timeout = 0.0,
    workspace: Workspace = "",
    output: Output = Format.TEXT,
) -> None:
    """Talk to the general worker, or to the one that writes code."""
    agent = "worker_code" if code else "worker"
    send(agent, words or [], model, session, continue_, timeout, workspace, output)


def send(
    agent: str,
    words: list[str],
    model: str,
    session: str,
    continue_: bool,
    timeout_s: float,
    workspace: str,
    shape: Format,
) -> None:
    """Send one message and show the answer; ends the process with the run's exit code."""
    from syntor.cli.stdin_text import piped_text

    wanted = "-" in words
    text = " ".join(word for word in words if word != "-").strip()
    piped = piped_text(wanted=wanted)
    if not text and not piped.strip():
        fail("the message is empty", ExitCode.USAGE, f'syntor {agent} "what you want to say"')
    home = home_folder(os.environ)
    session = session or (last_session(home) if continue_ else "")
    if continue_ and not session:
        fail("there is no session to continue yet", ExitCode.USAGE)
    body = request_body(agent, text or piped, model=model, session=session, timeout_s=timeout_s, workspace=workspace)
    if piped.strip() and text:
        body["attachments"] = [{"name": "standard input", "content": piped}]
    raise SystemExit(start_and_show(body, home, shape))


def request_body(
    agent: str, text: str, *, model: str = "", session: str = "", timeout_s: float = 0.0, workspace: str = ""
) -> dict[str, Any]:
    """Return the body of `POST /v1/runs`; the model is named where this side decides about it."""
    from syntor.cli.project import configuration

    if not model:
        chosen, origin = configuration(ask=False).model_for(agent)
        model = chosen if origin.split(" ")[0] in _SENT_ORIGINS else ""
    folder = Path(workspace or ".").expanduser().resolve()
    if not folder.is_dir():
        fail(f"--workspace {workspace}: no such folder", ExitCode.USAGE)
    body: dict[str, Any] = {"agent": agent, "input": text, "workspace": str(folder)}
    if model:
        body["model"] = model
    if session:
        body["session_id"] = session
    if timeout_s:
        body["timeout_s"] = timeout_s
    return body


def start_and_show(body: dict[str, Any], home: Path, shape: Format) -> int:
    """Start a run, show it, remember its session; return the exit code."""
    from syntor.cli.client import ProblemError, open_client
    from syntor.cli.run_view import show_run

    client = open_client()
    try:
        started = client.start_run(body)
        remember_session(home, started["session_id"])
        return show_run(client, started, shape).exit_code
    except ProblemError as exc:
        code = ExitCode.NOT_REACHABLE if exc.status == 503 else ExitCode.RUN_FAILED
        fail(str(exc), ExitCode.USAGE if exc.status == 400 else code)


def last_session(home: Path) -> str:
    """Return the newest session started from this home, or an empty text."""
    try:
        return (home / "run" / LAST_SESSION).read_text().strip()
    except OSError:
        return ""


def remember_session(home: Path, session_id: str) -> None:
    """Keep the newest session for --continue."""
    path = home / "run" / LAST_SESSION
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(session_id)
