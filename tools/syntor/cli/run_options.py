"""Options of the commands that start a run, and what they are in the request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from syntor.cli.output import ExitCode, Format, fail

_SENT_ORIGINS = ("project", "environment", "flag")  # the agents read the other layers themselves

Words = Annotated[list[str] | None, typer.Argument(help="The message; words are joined. `-`: read standard input.")]
Model = Annotated[str, typer.Option("--model", "-m", help="Model for this call, provider/name.")]
SessionId = Annotated[str, typer.Option("--session", help="Go on with a session.")]
Continue = Annotated[bool, typer.Option("--continue", help="Go on with the newest session.")]
Timeout = Annotated[float, typer.Option(help="Seconds the answer may take.")]
Workspace = Annotated[str, typer.Option(help="Folder the agent works in; the current one by default.")]
Mode = Annotated[str, typer.Option("--mode", help="ask, auto-edit, plan or auto: what agents do without asking.")]
Allow = Annotated[list[str] | None, typer.Option("--allow", help="Tool call that needs no approval: 'bash(make *)'.")]
MaxCost = Annotated[float, typer.Option("--max-cost", help="US dollars the run may cost.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", help="Tokens the run may use, in and out.")]
MaxTurns = Annotated[int, typer.Option("--max-turns", help="Model calls the run may make.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text, json, or stream-json: one event a line.")]


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is started with, besides agent and text."""

    model: str = ""
    session: str = ""
    continue_: bool = False
    timeout_s: float = 0.0
    workspace: str = ""
    mode: str = ""
    allow: list[str] = []
    max_cost_usd: float = 0.0
    max_tokens: int = 0
    max_turns: int = 0


def request_body(agent: str, text: str, options: RunOptions) -> dict[str, Any]:
    """Return the body of `POST /v1/runs`; what the server reads itself from the user's file is left out."""
    from syntor.cli.project import configuration

    chosen = configuration(ask=False)
    model = options.model
    if not model:
        configured, origin = chosen.model_for(agent)
        model = configured if origin.split(" ")[0] in _SENT_ORIGINS else ""
    folder = Path(options.workspace or ".").expanduser().resolve()
    if not folder.is_dir():
        fail(f"--workspace {options.workspace}: no such folder", ExitCode.USAGE)
    body: dict[str, Any] = {"agent": agent, "input": text, "workspace": str(folder)}
    if model:
        body["model"] = model
    if options.session:
        body["session_id"] = options.session
    if options.timeout_s:
        body["timeout_s"] = options.timeout_s
    if budget := _budget(options):
        body["budget"] = budget
    if permissions := _permissions(chosen, options):
        body["permissions"] = permissions
    return body


def _budget(options: RunOptions) -> dict[str, Any]:
    for name, value in (
        ("--max-cost", options.max_cost_usd),
        ("--max-tokens", options.max_tokens),
        ("--max-turns", options.max_turns),
        ("--timeout", options.timeout_s),
    ):
        if value < 0:
            fail(f"{name} {value}: expected a number above 0", ExitCode.USAGE)
    limits = {
        "max_cost_microusd": round(options.max_cost_usd * 1e6),
        "max_tokens": options.max_tokens,
        "max_calls": options.max_turns,
        "max_wall_time_s": options.timeout_s,
    }
    return {name: value for name, value in limits.items() if value}


def _permissions(chosen: Any, options: RunOptions) -> dict[str, Any]:
    permissions: dict[str, Any] = {}
    for name in ("mode", "allow", "ask", "deny"):
        found = chosen.get(f"permissions.{name}")
        if found is not None and found.value and found.origin.split(" ")[0] in _SENT_ORIGINS:
            permissions[name] = found.value
    if options.mode:
        permissions["mode"] = options.mode
    if options.allow:
        permissions["allow"] = [*permissions.get("allow", []), *options.allow]
    return permissions
