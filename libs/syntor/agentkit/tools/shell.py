"""The tool that runs a shell command: bash."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.tool import Tool, ToolRun, bounded

DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S = 120, 600


class Bash(msgspec.Struct, frozen=True):
    """Arguments of bash."""

    command: Annotated[str, Meta(description="Command line for bash; it starts in the workspace and gets no input")]
    timeout_s: Annotated[int, Meta(description="Seconds until it is killed, at most 600")] = DEFAULT_TIMEOUT_S


async def bash(run: ToolRun, arguments: Bash) -> str:
    """Run a command in the workspace; return its output, and its exit code where that is not 0."""
    if not arguments.command.strip():
        raise ToolError("command is empty")
    if not 1 <= arguments.timeout_s <= MAX_TIMEOUT_S:
        raise ToolError(f"timeout_s {arguments.timeout_s}: use 1 to {MAX_TIMEOUT_S}")
    try:
        ended = await run.sandbox.run(["/bin/bash", "-c", arguments.command], timeout_s=arguments.timeout_s)
    except (OSError, ValueError) as exc:
        raise ToolError(f"bash could not be run: {exc}") from exc
    output = bounded(ended.output.rstrip())
    if ended.timed_out:
        raise ToolError(f"killed after {arguments.timeout_s} s; output so far:\n{output or '(none)'}")
    if ended.code != 0:
        raise ToolError(f"exit code {ended.code}\n{output}")
    return output or "(no output)"


def _shown(workspace: Path, arguments: Bash) -> str:
    return f"$ {arguments.command}"


SHELL_TOOLS = (
    Tool(
        name="bash",
        description="Run a shell command in the workspace and return what it writes.",
        arguments=Bash,
        run=bash,
        paths=lambda arguments: [],
        effect="execute",
        repeatable=False,
        preview=_shown,
        subject=lambda arguments: arguments.command,
    ),
)
