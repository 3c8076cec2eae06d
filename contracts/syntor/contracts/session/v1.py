"""Session events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from syntor.contracts.bounds import Count, Id, Ids, Line, Message, Name, Position, Text
from syntor.contracts.vocabulary import RewindScope


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


class WorkspaceRewound(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a rewind brings back in one workspace."""

    workspace: Line
    """Absolute folder."""
    paths: Count = 0
    """Paths that are brought back."""
    conflicts: Count = 0
    """Paths among them that someone else had changed."""


class SessionRewound(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session was rewound; the log keeps what was taken back. For files, appended before they are changed."""

    to_run: Id = ""
    """First run that was taken back, with all after it; empty: the newest rewind was taken back."""
    scope: RewindScope = "both"
    """What was rewound."""
    forced: bool = False
    """Whether files that someone else had changed were taken back too."""
    hidden: Ids = []
    """From now on: runs whose messages are not part of the conversation."""
    undone: Ids = []
    """From now on: runs whose changes to files are taken back."""
    hidden_before: Ids = []
    """`hidden` until now."""
    undone_before: Ids = []
    """`undone` until now."""
    workspaces: Annotated[list[WorkspaceRewound], Meta(max_length=100)] = []
    """Where files are brought back."""
    rewound_by: Name = ""
    """Name of the client."""


SessionEvent = SessionForked | SessionRewound | ClientToolsRegistered | TurnQueued | TurnTaken | TurnReleased
EVENTS: tuple[type[SessionEvent], ...] = (
    SessionForked,
    SessionRewound,
    ClientToolsRegistered,
    TurnQueued,
    TurnTaken,
    TurnReleased,
)
