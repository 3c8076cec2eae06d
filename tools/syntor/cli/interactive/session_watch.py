"""Watches whose turn it is in a session, so that every terminal on it shows what the others do, and why it waits."""

from __future__ import annotations

import threading
from collections.abc import Callable

from syntor.cli.api import Api
from syntor.contracts.errors import SyntorError
from syntor.contracts.session.v1 import TurnReleased, TurnTaken


class SessionWatch:
    """Follows the turns of the newest session it was given, in a thread."""

    def __init__(self, api: Api, on_turn: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            on_turn: called in the thread with each run that takes the turn.
        """
        self._api = api
        self._on_turn = on_turn
        self._session_id = ""
        self._holder = ""

    def watch(self, session_id: str) -> None:
        """Watch a session from now on, instead of the one before; empty: none."""
        if session_id == self._session_id:
            return
        self._session_id, self._holder = session_id, ""
        if session_id:
            threading.Thread(target=self._follow, args=(session_id,), daemon=True).start()

    def why_waiting(self, run_id: str) -> str:
        """Return why a run has no turn yet; empty: it has, or that is not known."""
        return f"waits for run {self._holder} of this session" if self._holder not in ("", run_id) else ""

    def _follow(self, session_id: str) -> None:
        try:
            for event in self._api.follow_log(f"session.{session_id}.>", None):
                if session_id != self._session_id:
                    return
                match event.body:
                    case TurnTaken(run_id=run_id):
                        self._holder = run_id
                        self._on_turn(run_id)
                    case TurnReleased(run_id=run_id) if run_id == self._holder:
                        self._holder = ""
                    case _:
                        continue
        except SyntorError:
            return  # a server that cannot be followed: the session works, without the others' turns
