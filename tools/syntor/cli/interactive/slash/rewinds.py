"""Slash commands that show and take back what agents did: those of `syntor sessions`, for this session."""

from __future__ import annotations

from syntor.cli.interactive.session import Session, SlashCommand
from syntor.cli.interactive.slash.views import syntor
from syntor.contracts.errors import InvalidInputError


def undo(session: Session, rest: str) -> None:
    """Take back the last turn."""
    syntor(session, "sessions", "rewind", _session_id(session), *rest.split())


def rewind(session: Session, rest: str) -> None:
    """Take back a turn and all after it; without one, list the turns."""
    turn, *options = rest.split() or [""]
    if turn:
        syntor(session, "sessions", "rewind", _session_id(session), "--to", turn, *options)
    else:
        syntor(session, "sessions", "turns", _session_id(session))
        print("/rewind N takes back turn N and all after it")


def diff(session: Session, rest: str) -> None:
    """Show what agents changed, in all turns or in one."""
    given = rest.split()
    turn = ["--turn", given.pop(0)] if given and not given[0].startswith("-") else []
    syntor(session, "sessions", "diff", _session_id(session), *turn, *given)


def _session_id(session: Session) -> str:
    """Return the id of the session.

    Raises:
        InvalidInputError: there was no message yet.
    """
    if not session.state.session_id:
        raise InvalidInputError("there is no turn yet")
    return session.state.session_id


COMMANDS = (
    SlashCommand("undo", "take back the last turn, its files and messages; --files, --conversation, --redo", undo),
    SlashCommand("rewind", "take back turn N and all after it; without a number: list the turns", rewind),
    SlashCommand("diff", "show what agents changed; with a number: in this turn; --stat, --agent ID", diff),
)
