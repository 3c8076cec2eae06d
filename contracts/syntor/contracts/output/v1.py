"""Output events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

import msgspec

from syntor.contracts.bounds import Count, Fraction, Message, Text


class AgentStreamDelta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Streamed text, coalesced; the deltas of a call joined are its `llm_call_done.text`."""

    call: Count
    """Model call it belongs to."""
    index: Count
    """Place within the call, from 0, dense."""
    text: Text
    """Text to append."""


class AgentProgress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Progress while no text is streamed: loading or pulling a model, waiting for a provider."""

    message: Message
    """For people, one line."""
    fraction: Fraction | None = None
    """Share done, 0 to 1; None: not known."""


OutputEvent = AgentStreamDelta | AgentProgress
EVENTS: tuple[type[OutputEvent], ...] = (AgentStreamDelta, AgentProgress)
