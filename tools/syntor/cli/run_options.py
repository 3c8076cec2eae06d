"""Options of the commands that start a run, and the request they make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from syntor.cli.api import RunRequest
from syntor.cli.output import ExitCode, Format, fail
from syntor.configuration import Configuration
from syntor.contracts.permissions import rule_problem
from syntor.contracts.run.v1 import Attachment, Budget, Permissions

_SENT_ORIGINS = ("project", "environment", "flag")  # the agents read the other layers themselves

Words = Annotated[list[str] | None, typer.Argument(help="Message; words are joined. `-`: read standard input.")]
Model = Annotated[str, typer.Option("--model", "-m", help="Model for this call, provider/name.")]
SessionId = Annotated[str, typer.Option("--session", help="Continue a session; new:NAME makes one.")]
Continue = Annotated[bool, typer.Option("--continue", help="Continue the newest session.")]
Timeout = Annotated[float | None, typer.Option(help="Time limit in seconds.")]
Workspace = Annotated[str, typer.Option(help="Folder the agent works in; default: the current one.")]
Mode = Annotated[str, typer.Option("--mode", help="Permission mode: ask, auto-edit, plan or auto.")]
Allow = Annotated[list[str] | None, typer.Option("--allow", help="Allow a tool call without approval: 'bash(make *)'.")]
MaxCost = Annotated[float | None, typer.Option("--max-cost", help="Cost limit in US dollars.")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", help="Limit of input and output tokens.")]
MaxTurns = Annotated[int | None, typer.Option("--max-turns", help="Limit of model calls.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="text, json, or stream-json: one event a line.")]


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one run, besides agent and text."""

    model: str = ""
    session: str = ""
    continue_: bool = False
    timeout_s: float | None = None
    workspace: str = ""
    mode: str = ""
    allow: list[str] = []
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    max_turns: int | None = None


def run_request(agent: str, text: str, options: RunOptions, attachments: Sequence[Attachment] = ()) -> RunRequest:
    """Return the request that starts a run, without the settings the server reads from the user's file itself."""
    from syntor.cli.project import configuration

    chosen = configuration(ask=False)
    model = options.model
    if not model:
        configured, origin = chosen.model_for(agent)
        model = configured if origin.split(" ")[0] in _SENT_ORIGINS else ""
    folder = Path(options.workspace or ".").expanduser().resolve()
    if not folder.is_dir():
        fail(f"--workspace {options.workspace}: no such folder", ExitCode.USAGE)
    return RunRequest(
        agent=agent,
        input=text,
        workspace=str(folder),
        model=model,
        session_id=options.session,
        timeout_s=options.timeout_s,
        budget=_budget(options),
        permissions=_permissions(chosen, options),
        attachments=list(attachments),
    )


def _budget(options: RunOptions) -> Budget | None:
    for name, value in (
        ("--max-cost", options.max_cost_usd),
        ("--max-tokens", options.max_tokens),
        ("--max-turns", options.max_turns),
        ("--timeout", options.timeout_s),
    ):
        if value is not None and not 0 < value < float("inf"):
            fail(f"{name} {value}: expected a number above 0; leave it out for no limit", ExitCode.USAGE)
    cost = options.max_cost_usd
    budget = Budget(
        max_cost_microusd=None if cost is None else max(1, round(cost * 1e6)),
        max_tokens=options.max_tokens,
        max_calls=options.max_turns,
        max_wall_time_s=options.timeout_s,
    )
    return None if budget == Budget() else budget


def _permissions(chosen: Configuration, options: RunOptions) -> Permissions | None:
    values: dict[str, object] = {}
    for name in ("mode", "allow", "ask", "deny"):
        found = chosen.get(f"permissions.{name}")
        if found is not None and found.value and found.origin.split(" ")[0] in _SENT_ORIGINS:
            values[name] = found.value
    configured = msgspec.convert(values, Permissions)
    for rule in options.allow:
        if problem := rule_problem(rule):
            fail(f"--allow {problem}", ExitCode.USAGE)
    permissions = msgspec.structs.replace(
        configured, mode=options.mode or configured.mode, allow=[*configured.allow, *options.allow]
    )
    return None if permissions == Permissions() else permissions
