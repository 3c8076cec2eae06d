"""`syntor chat` and the commands named after agents: one message, one response."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from syntor.cli.api import RunRequest, open_api
from syntor.cli.output import ExitCode, Format, fail
from syntor.cli.run_options import (
    Allow,
    Continue,
    MaxCost,
    MaxTokens,
    MaxTurns,
    Mode,
    Model,
    Output,
    RunOptions,
    SessionId,
    Timeout,
    Words,
    Workspace,
    run_request,
)
from syntor.contracts.http.v1 import Accepted
from syntor.contracts.run.v1 import Attachment
from syntor.runtime.private_files import make_private_folder, private
from syntor.stack.layout import home_folder

DEFAULT_AGENT = "coordination"
LAST_SESSION = "last_session"  # file in the run folder of the home: the newest session, for --continue


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands = {
        "coordination": ("coordination", "Talk to the agent that routes, plans and delegates."),
        "coord": ("coordination", "Talk to the agent that routes, plans and delegates."),
        "docs": ("documentation", "Talk to the documentation agent."),
        "documentation": ("documentation", "Talk to the documentation agent."),
        "git": ("git", "Talk to the git agent."),
    }
    for name, (agent, text) in commands.items():
        app.command(name, help=text)(_command(agent))
    app.command("chat", help="Talk to the default agent, or to any other.")(chat)
    app.command("worker", help="Talk to the general worker, or to the one that writes code.")(worker)


def _command(agent: str) -> Any:
    def talk(
        words: Words = None,
        model: Model = "",
        session: SessionId = "",
        continue_: Continue = False,
        timeout: Timeout = None,
        workspace: Workspace = "",
        mode: Mode = "",
        allow: Allow = None,
        max_cost: MaxCost = None,
        max_tokens: MaxTokens = None,
        max_turns: MaxTurns = None,
        output: Output = Format.TEXT,
    ) -> None:
        options = RunOptions(
            model=model,
            session=session,
            continue_=continue_,
            timeout_s=timeout,
            workspace=workspace,
            mode=mode,
            allow=allow or [],
            max_cost_usd=max_cost,
            max_tokens=max_tokens,
            max_turns=max_turns,
        )
        send(agent, words or [], options, output)

    return talk


def chat(
    words: Words = None,
    agent: Annotated[str, typer.Option("--agent", "-a", help="Id or alias of the agent.")] = DEFAULT_AGENT,
    model: Model = "",
    session: SessionId = "",
    continue_: Continue = False,
    timeout: Timeout = None,
    workspace: Workspace = "",
    mode: Mode = "",
    allow: Allow = None,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    max_turns: MaxTurns = None,
    output: Output = Format.TEXT,
) -> None:
    """Talk to the default agent, or to any other."""
    _command(agent)(
        words, model, session, continue_, timeout, workspace, mode, allow, max_cost, max_tokens, max_turns, output
    )


def worker(
    words: Words = None,
    code: Annotated[bool, typer.Option("--code", help="Use the code worker.")] = False,
    model: Model = "",
    session: SessionId = "",
    continue_: Continue = False,
    timeout: Timeout = None,
    workspace: Workspace = "",
    mode: Mode = "",
    allow: Allow = None,
    max_cost: MaxCost = None,
    max_tokens: MaxTokens = None,
    max_turns: MaxTurns = None,
    output: Output = Format.TEXT,
) -> None:
    """Talk to the general worker, or to the one that writes code."""
    _command("worker_code" if code else "worker")(
        words, model, session, continue_, timeout, workspace, mode, allow, max_cost, max_tokens, max_turns, output
    )


def send(agent: str, words: list[str], options: RunOptions, shape: Format) -> None:
    """Send one message and print the response; ends the process with the run's exit code."""
    from syntor.cli.stdin_text import piped_text

    text = " ".join(word for word in words if word != "-").strip()
    piped = piped_text(wanted="-" in words)
    if not text and not piped.strip():
        fail("the message is empty", ExitCode.USAGE, f'syntor {agent} "your message"')
    home = home_folder(os.environ)
    session = open_api().chosen_session(options.session) if options.session else ""
    session = session or (last_session(home) if options.continue_ else "")
    if options.continue_ and not session:
        fail("there is no session to continue yet", ExitCode.USAGE)
    attached = [Attachment(name="standard input", content=piped)] if piped.strip() and text else []
    request = run_request(agent, text or piped, msgspec.structs.replace(options, session=session), attached)
    raise SystemExit(start_and_show(request, home, shape))


def start_and_show(request: RunRequest, home: Path, shape: Format) -> int:
    """Start a run, print it and remember its session; return the exit code."""
    from syntor.cli.delivery import new_key, run_id_of
    from syntor.cli.run_output import show_run

    api, key = open_api(), new_key()

    def start() -> Accepted:
        started = api.start_run(request, key)
        remember_session(home, started.session_id)
        return started

    return show_run(api, start, run_id_of(key), shape).exit_code


def last_session(home: Path) -> str:
    """Return the newest session started from this home, or an empty text."""
    try:
        return (home / "run" / LAST_SESSION).read_text().strip()
    except OSError:
        return ""


def remember_session(home: Path, session_id: str) -> None:
    """Store the newest session for --continue."""
    path = home / "run" / LAST_SESSION
    make_private_folder(home)
    make_private_folder(path.parent)
    with open(path, "w", opener=private) as file:
        file.write(session_id)
