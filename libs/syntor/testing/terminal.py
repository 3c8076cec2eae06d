"""A program on a pseudo-terminal of its own: what is typed, and what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

WAIT_S = 30.0


def interruptible() -> None:
    """Take SIGINT, which is ignored below a shell's background job."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _on_own_terminal() -> None:
    """Make standard input the terminal that signals come from."""
    interruptible()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A program that runs on a terminal."""

    def __init__(
        self, command: Sequence[str], folder: Path, environ: Mapping[str, str], *, columns: int = 80, rows: int = 24
    ) -> None:
        """Start it.

        Args:
            environ: variables besides those of this process, of which the `SYNTOR_*` ones are left out.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SYNTOR_")}
        shown = {"TERM": "xterm", "NO_COLOR": "1", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self._master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            env=inherited | shown | dict(environ),
            cwd=folder,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=_on_own_terminal,
        )
        os.close(terminal)
        self.shown = ""
        """What it wrote since the text that was waited for last."""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def expect(self, text: str) -> None:
        """Wait until a text is shown that was not waited for before.

        Raises:
            AssertionError: it is not shown within 30 s.
        """
        deadline = time.monotonic() + WAIT_S
        while text not in self.shown:
            ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                raise AssertionError(f"{text!r} is not in {self.shown!r}")
            self.shown += os.read(self._master, 65536).decode("utf-8", "replace")
        self.shown = self.shown.partition(text)[2]

    def exit_code(self) -> int:
        """Wait for the end."""
        code = self.process.wait(WAIT_S)
        os.close(self._master)
        return code
