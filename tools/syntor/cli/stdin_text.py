"""Text piped into a command; without a writer, reading ends after a short wait."""

from __future__ import annotations

import os
import select
import stat
import sys

WAIT_S = 1.0  # for the first byte of a pipe
MAX_BYTES = 512 * 1024


def piped_text(*, wanted: bool) -> str:
    """Return the text on standard input, or an empty text.

    Args:
        wanted: `-` was given: read to the end without a time limit.
    """
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return ""
    descriptor = sys.stdin.fileno()
    mode = os.fstat(descriptor).st_mode
    if not wanted:
        if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
            return ""
        if not stat.S_ISREG(mode) and not select.select([descriptor], [], [], WAIT_S)[0]:
            sys.stderr.write("note: no input on standard input within 1 s; continuing without it\n")
            return ""
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        sys.stderr.write(f"note: standard input was truncated to {MAX_BYTES} bytes\n")
    return data[:MAX_BYTES].decode("utf-8", "replace")
