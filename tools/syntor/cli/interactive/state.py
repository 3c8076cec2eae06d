"""What an interactive session knows: who it talks to, how, and what its runs used so far."""

from __future__ import annotations

import msgspec

from syntor.contracts.errors import InvalidInputError
from syntor.contracts.vocabulary import DEFAULT_MODE, MODES


class State(msgspec.Struct):
    """The state of one session on one terminal; pure."""

    agent: str
    session_id: str = ""
    """Empty: the next message starts one."""
    model: str = ""
    """Model chosen for this session; empty: the configured one."""
    mode: str = DEFAULT_MODE
    mode_before: str = DEFAULT_MODE
    """Mode to return to after planning."""
    run_id: str = ""
    """The newest run."""
    tokens: int = 0
    cost_usd: float = 0.0
    used_model: str = ""
    """Model that responded last."""
    responses: list[str] = []
    """Responses so far, the newest last."""
    quitting: bool = False

    def set_mode(self, mode: str) -> None:
        """Change the permission mode.

        Raises:
            InvalidInputError: there is no such mode.
        """
        if mode not in MODES:
            raise InvalidInputError(f"mode {mode!r}: expected one of {', '.join(MODES)}")
        if self.mode != "plan":
            self.mode_before = self.mode
        self.mode = mode

    def next_mode(self) -> None:
        """Change to the mode after this one."""
        self.set_mode(MODES[(MODES.index(self.mode) + 1) % len(MODES)])

    def forget_session(self) -> None:
        """Start over: the next message starts a session."""
        self.session_id, self.run_id, self.tokens, self.cost_usd = "", "", 0, 0.0
