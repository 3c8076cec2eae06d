"""Slash commands about what the model's prompt holds."""

from __future__ import annotations

from syntor.cli.context_table import context_text
from syntor.cli.interactive.run_stream import StreamedRun
from syntor.cli.interactive.session import Session, SlashCommand
from syntor.contracts.errors import InvalidInputError


def compact(session: Session, rest: str) -> None:
    """Have the earlier turns summarised."""
    session_id = _session_of(session, "compact")
    accepted = session.api.compact_session(session_id)
    session.follow(StreamedRun(accepted.run_id, lambda: session_id))


def context(session: Session, rest: str) -> None:
    """Show what the newest prompt held."""
    print(context_text(session.api.session_context(_session_of(session, "context"))))


def _session_of(session: Session, command: str) -> str:
    """Return the session; a new one has nothing to look at."""
    if not session.state.session_id:
        raise InvalidInputError(f"/{command}: there is no conversation yet")
    return session.state.session_id


COMMANDS = (
    SlashCommand("context", "show what the newest prompt held, and how much of the model's context is free", context),
    SlashCommand("compact", "summarise the earlier turns, so that prompts are short again", compact),
)
