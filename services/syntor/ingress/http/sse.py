"""Schemas of event objects and server-sent events, for the OpenAPI document; `syntor.ingress.feed` writes them."""

from __future__ import annotations

from typing import Any

from syntor.contracts.envelope import Envelope


class Event(Envelope, frozen=True, kw_only=True, omit_defaults=True):
    """An envelope of the log (CloudEvents 1.0) with its position."""

    position: int
    """Stream sequence; a client resumes after it."""
    data: dict[str, Any] = {}  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]
    """The event itself, of the schema `dataschema` names."""


EVENT_STREAM_SCHEMAS: dict[str, Any] = {
    "EventStream": {
        "type": "string",
        "description": "Server-sent events: one `EventMessage` per event of the log, a comment every 15 s, and a "
        "`GapMessage` as the last one where the client read too slowly.",
        "contentMediaType": "text/event-stream",
        "contentSchema": {
            "type": "array",
            "items": {
                "anyOf": [{"$ref": "#/components/schemas/EventMessage"}, {"$ref": "#/components/schemas/GapMessage"}]
            },
        },
    },
    "EventMessage": {
        "type": "object",
        "description": "A server-sent event with an event of the log.",
        "required": ["id", "event", "data"],
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9]+$", "description": "Position; send it as Last-Event-ID."},
            "event": {"type": "string", "description": "Event type.", "examples": ["run_started", "run_done"]},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"$ref": "#/components/schemas/Event"},
            },
            "retry": {"type": "integer", "description": "Milliseconds after which to reconnect."},
        },
    },
    "GapMessage": {
        "type": "object",
        "description": "A server-sent event that asks a slow client to reconnect after a position.",
        "required": ["event", "data"],
        "properties": {
            "event": {"type": "string", "const": "gap"},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {
                    "type": "object",
                    "required": ["resume_after"],
                    "properties": {"resume_after": {"type": "integer"}},
                },
            },
        },
    },
}
