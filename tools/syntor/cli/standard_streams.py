"""Standard output and error as commands need them: usable when closed, full, or unable to hold every character."""

from __future__ import annotations

import errno
import io
import os
import sys


class _Closed(io.TextIOBase):
    """Standard output that was closed when the process started (`>&-`): writing to it is an error."""

    def write(self, text: str) -> int:
        """Refuse text."""
        if not text:
            return 0
        raise OSError(errno.EBADF, "standard output is closed")

    def fileno(self) -> int:
        """Return the descriptor that standard output has when there is one."""
        return 1


def prepare_streams() -> None:
    """Have characters that the locale cannot hold written as escapes, and a closed standard output named."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the life of the process
    if sys.stdout is None:
        sys.stdout = _Closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Send what is still buffered for standard output nowhere: the interpreter writes it at its end."""
    if not isinstance(sys.stdout, _Closed):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
