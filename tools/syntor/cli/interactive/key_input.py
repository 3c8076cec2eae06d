"""The keyboard between two reads of the input line: what is typed then is neither shown nor changed, but read next."""

from __future__ import annotations

import sys
import termios
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

from prompt_toolkit.input.vt100 import Vt100Input


class KeyInput(Vt100Input):
    """Input that keeps reading keys as they are while output goes above the input line.

    In line mode the terminal would echo them, and turn Enter into Ctrl-J, which is a new line here.
    """

    def __init__(self) -> None:
        super().__init__(sys.stdin)

    def cooked_mode(self) -> AbstractContextManager[None]:
        """Stay in raw mode."""
        return self.raw_mode()


class QuietTerminal:
    """Switches the terminal's echo and its change of Enter off, and on again for programs that read lines."""

    def __init__(self) -> None:
        self._before = termios.tcgetattr(sys.stdin.fileno())

    def quiet(self) -> None:
        """Switch them off."""
        settings = termios.tcgetattr(sys.stdin.fileno())
        settings[0] &= ~termios.ICRNL
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, settings)

    @contextmanager
    def line_mode(self) -> Generator[None, None, None]:
        """Switch them on inside the block."""
        self.restore()
        try:
            yield
        finally:
            self.quiet()

    def restore(self) -> None:
        """Put the terminal back into the state it was found in."""
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._before)
