"""Runs a shell command of the person at the terminal, and keeps what it prints."""

from __future__ import annotations

import subprocess
import sys

from syntor.contracts.visible_text import visible

MAX_KEPT = 256 * 1024  # characters of a command's output that are kept


def run_shell(command: str) -> str:
    """Run a command of the user in the working folder, show its output as it comes, and return it; Ctrl-C stops it."""
    kept: list[str] = []
    size = 0
    with subprocess.Popen(
        command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                sys.stdout.write(visible(line))
                if size < MAX_KEPT:
                    kept.append(line[: MAX_KEPT - size])
                    size += len(line)
        except KeyboardInterrupt:
            process.terminate()
    if process.returncode:
        kept.append(f"(exit code {process.returncode})\n")
        print(kept[-1], end="")
    return "".join(kept)
