"""Output events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

import msgspec


class AgentStreamDelta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Text as it was said, coalesced; all deltas of a call joined are its `llm_call_done.text`."""

    call: int
    """Model call it belongs to."""
    index: int
    """Place within the call, from 0, dense."""
    text: str
    """Text to append."""


class AgentProgress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an agent is doing while no text comes: loading or pulling a model, waiting for a provider."""

    message: str
    """For people, one line."""
    fraction: float | None = None
    """Done so far, 0 to 1; None: not known."""


OutputEvent = AgentStreamDelta | AgentProgress
EVENTS: tuple[type[OutputEvent], ...] = (AgentStreamDelta, AgentProgress)
