"""Announces the end of long work: the terminal's bell, or a notification of the desktop."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Literal

LONG_S = 20.0  # shorter work has not been left alone
_TIMEOUT_S = 3.0


def notify(way: Literal["none", "bell", "desktop"], duration_s: float, text: str) -> None:
    """Announce the end of work that took `duration_s`, if it was long.

    Args:
        way: as `cli.notify`. A desktop without `notify-send` is reached through the terminal (OSC 9).
        text: one line of our own; it goes to the terminal as it is.
    """
    if way == "none" or duration_s < LONG_S or not sys.stdout.isatty():
        return
    if way == "desktop" and (program := shutil.which("notify-send")):
        try:
            subprocess.run([program, text], timeout=_TIMEOUT_S, check=True, capture_output=True)
            return
        except (OSError, subprocess.SubprocessError):
            pass  # no desktop on this machine: perhaps one behind the terminal
    sys.stdout.write("\a" if way == "bell" else f"\x1b]9;{text}\a")
    sys.stdout.flush()
