"""Tools that run shell commands: bash, and process_output and process_stop for those in the background."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools import background
from syntor.agentkit.tools.tool import Tool, ToolRun, bounded

DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S = 120, 600
_FIRST_OUTPUT_S = 1.0  # a background command has this long for the output its start is answered with


class Bash(msgspec.Struct, frozen=True):
    """Arguments of bash."""

    command: Annotated[str, Meta(description="Command line for bash; it starts in the workspace and gets no input")]
    timeout_s: Annotated[int, Meta(description="Seconds until it is killed, at most 600")] = DEFAULT_TIMEOUT_S
    background: Annotated[
        bool, Meta(description="Return immediately and let it run, for servers and what takes longer than 10 minutes")
    ] = False


class ProcessOutput(msgspec.Struct, frozen=True):
    """Arguments of process_output."""

    handle: Annotated[str, Meta(description="Handle that bash returned; empty: list all")] = ""
    wait_s: Annotated[float, Meta(ge=0, le=60, description="Seconds to wait for new output")] = 0.0


class ProcessStop(msgspec.Struct, frozen=True):
    """Arguments of process_stop."""

    handle: Annotated[str, Meta(description="Handle that bash returned")]


async def bash(run: ToolRun, arguments: Bash) -> str:
    """Run a command in the workspace; return its output, and its exit code where that is not 0."""
    if not arguments.command.strip():
        raise ToolError("command is empty")
    if not 1 <= arguments.timeout_s <= MAX_TIMEOUT_S:
        raise ToolError(f"timeout_s {arguments.timeout_s}: use 1 to {MAX_TIMEOUT_S}")
    if arguments.background:
        return await _in_background(run, arguments.command)
    try:
        ended = await run.sandbox.run(["/bin/bash", "-c", arguments.command], timeout_s=arguments.timeout_s)
    except (OSError, ValueError) as exc:
        raise ToolError(f"bash could not be run: {exc}") from exc
    output = bounded(ended.output.rstrip())
    if ended.timed_out:
        hint = "" if arguments.timeout_s < MAX_TIMEOUT_S else " (use background for what takes longer)"
        raise ToolError(f"killed after {arguments.timeout_s} s{hint}; output so far:\n{output or '(none)'}")
    if ended.code != 0:
        raise ToolError(f"exit code {ended.code}\n{output}")
    return output or "(no output)"


async def process_output(run: ToolRun, arguments: ProcessOutput) -> str:
    """Return what a background process wrote since the last call, and its state."""
    workspace = run.sandbox.workspace
    if not arguments.handle:
        return background.listing(workspace)
    process = background.find(workspace, arguments.handle)
    output = await process.read(arguments.wait_s)
    return f"{process.describe()}\n{bounded(output.rstrip()) or '(no new output)'}"


async def process_stop(run: ToolRun, arguments: ProcessStop) -> str:
    """End a background process and return the rest of its output."""
    process = background.find(run.sandbox.workspace, arguments.handle)
    await process.stop()
    return f"stopped {arguments.handle}\n{bounded((await process.read(0)).rstrip()) or '(no new output)'}"


async def _in_background(run: ToolRun, command: str) -> str:
    process = await background.start(run.sandbox, command)
    output = await process.read(_FIRST_OUTPUT_S)
    alone = run.sandbox.kind == "bubblewrap" and not run.sandbox.network
    notes = [
        process.describe(),
        bounded(output.rstrip()) or "(no output yet)",
        f"Read on with process_output, end it with process_stop, handle {process.handle}.",
        "It has no network: other commands cannot reach its ports." if alone else "",
    ]
    return "\n".join(note for note in notes if note)


def _shown(workspace: Path, arguments: Bash) -> str:
    return f"$ {arguments.command}" + ("\n(in the background, until it is stopped)" if arguments.background else "")


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
    Tool(
        name="process_output",
        description="Read what a background command wrote since the last call.",
        arguments=ProcessOutput,
        run=process_output,
        paths=lambda arguments: [],
        effect="read",
        repeatable=True,
        subject=lambda arguments: arguments.handle,
    ),
    Tool(
        name="process_stop",
        description="End a background command.",
        arguments=ProcessStop,
        run=process_stop,
        paths=lambda arguments: [],
        effect="read",  # it concerns only what an allowed command started
        repeatable=True,
        subject=lambda arguments: arguments.handle,
    ),
)
