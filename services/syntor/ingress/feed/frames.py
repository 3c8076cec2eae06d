"""Writes log messages as event objects and as server-sent events. Payload bytes are copied, not decoded."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from syntor.contracts.decoding import UNDECODABLE
from syntor.contracts.subjects import TASK_CATEGORIES
from syntor.eventsourcing.store import RawEvent

PREAMBLE = b"retry: 2000\n\n"  # a client that lost the stream reconnects after 2 s
PING = b": ping\n\n"


def event_type(subject: str) -> str:
    """Return the event type in a subject of the log."""
    tokens = subject.split(".")
    return (
        tokens[5] if tokens[2] in TASK_CATEGORIES and len(tokens) > 5 else tokens[4] if len(tokens) > 4 else "unknown"
    )


def event_object(position: int, payload: bytes) -> bytes:
    """Return the event object of a message, JSON on one line: its envelope with `position` in front."""
    if payload[:1] != b"{" or b"\n" in payload or b"\r" in payload or len(payload) < 3:
        payload = _one_line(payload)
    return b'{"position":%d,%b' % (position, payload[1:])


def frame(message: RawEvent, type_: str) -> bytes:
    """Return a message as one server-sent event; its id is the position to resume after."""
    body = event_object(message.position, message.payload)
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (message.position, type_.encode(), body)


def id_only(position: int) -> bytes:
    """Return what sets a client's last event id without being an event."""
    return b"id: %d\n\n" % position


def gap(resume_after: int) -> bytes:
    """Return the event that tells a slow client the position to resume after."""
    return b'event: gap\ndata: {"resume_after":%d}\n\n' % resume_after


def comment(text: str) -> bytes:
    """Return a comment: clients ignore it, people can read it."""
    return f": {text}\n\n".encode()


def _one_line(payload: bytes) -> bytes:
    """Return a payload that is no envelope (another program published it) as a JSON object on one line."""
    try:
        content = msgspec.json.decode(payload)
    except UNDECODABLE:
        content = payload.decode("utf-8", "replace")
    fields = cast("dict[str, Any]", content) if isinstance(content, dict) else {"unreadable": content}
    fields.pop("position", None)  # the position is that of the log, never of the payload
    return msgspec.json.encode(fields or {"unreadable": {}})
