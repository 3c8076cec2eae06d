"""Copies text to the clipboard through the desktop's tool, else through the terminal."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys

_TOOLS: tuple[tuple[str, str, list[str]], ...] = (  # command, variable it needs, arguments
    ("pbcopy", "", []),
    ("wl-copy", "WAYLAND_DISPLAY", []),
    ("xclip", "DISPLAY", ["-selection", "clipboard"]),
)
_TIMEOUT_S = 3.0


def to_clipboard(text: str) -> str:
    """Copy a text; return the way it was copied."""
    for name, variable, arguments in _TOOLS:
        if "SSH_CONNECTION" in os.environ or (variable and variable not in os.environ) or not shutil.which(name):
            continue
        try:
            quiet = subprocess.DEVNULL
            command = [name, *arguments]
            subprocess.run(command, input=text.encode(), stdout=quiet, stderr=quiet, timeout=_TIMEOUT_S, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        return f"with {name}"
    sys.stdout.write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07")  # OSC 52
    sys.stdout.flush()
    return "through the terminal, if it permits that"
