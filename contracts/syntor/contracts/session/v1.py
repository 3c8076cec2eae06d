"""Session events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from syntor.contracts.bounds import Id, Ids, Line, Message, Name, Position, Text


class TurnQueued(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run is queued for the session's turn."""

    run_id: Id
    """Queued run."""


class TurnTaken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run takes the turn; no other run of the session works until it is released."""

    run_id: Id
    """Run that takes it."""


class TurnReleased(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The run ended and releases the turn; the next in the queue may take it."""

    run_id: Id
    """Run that releases it."""


class ClientTool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool that runs at the client."""

    name: Line
    """Name, unlike any built-in tool's."""
    description: Message
    """What it does, for the model."""
    parameters: Text = "{}"
    """JSON schema of its arguments, as JSON text."""


class ClientToolsRegistered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client offers client-side tools to the agents of a session; replaces those offered before."""

    tools: Annotated[list[ClientTool], Meta(max_length=100)] = []
    """All tools it offers."""
    registered_by: Name = ""
    """Name of the client."""


class SessionForked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """First event of a session forked from another one; it continues from that one's messages."""

    session_id: Id
    """Session it is forked from."""
    history: Ids = []
    """Runs whose messages it starts with, oldest first."""
    at: Position = 0
    """Stream sequence it was forked at: the runs that had ended by then."""
    agent: Id = ""
    """Agent that answered last."""
    title: Line = ""
    """Title of the session it is forked from."""
    forked_by: Name = ""
    """Name of the client."""


SessionEvent = SessionForked | ClientToolsRegistered | TurnQueued | TurnTaken | TurnReleased
EVENTS: tuple[type[SessionEvent], ...] = (SessionForked, ClientToolsRegistered, TurnQueued, TurnTaken, TurnReleased)
