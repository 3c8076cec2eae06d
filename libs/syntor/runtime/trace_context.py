"""The trace context a caller sends, read as W3C Trace Context says: leniently, never a reason to refuse a request."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

# any version but ff; ids of zeros only are invalid. A later version may have more fields, version 00 has none.
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z", re.ASCII
)
_KNOWN_FLAGS = 0x03  # sampled, and random trace id (level 2); the others are propagated as 0
_KEY = r"[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
_MEMBER = re.compile(rf"({_KEY})=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e])\Z")
_MAX_MEMBERS = 32
_LARGE_MEMBER = 128  # characters; such members are dropped first where a tracestate is too long
_MAX_TRACESTATE = 512  # characters; what every participant should pass on


class TraceContext(msgspec.Struct, frozen=True):
    """Trace context of a caller: the span its request is part of."""

    traceparent: str = ""
    """In the form of version 00; empty: none, or not valid."""
    tracestate: str = ""
    """Its vendors' state; empty: none, or not valid."""


def read_traceparent(text: str) -> str:
    """Return a trace context in the form of version 00; empty for one that is not valid."""
    match = _TRACEPARENT.match(text)
    if match is None or (match[1] == "00" and match[5]):
        return ""
    return f"00-{match[2]}-{match[3]}-{int(match[4], 16) & _KNOWN_FLAGS:02x}"


def read_tracestate(text: str) -> str:
    """Return a trace state without white space, of 512 characters at most; empty for one that is not valid."""
    members = [member for each in text.split(",") if (member := each.strip(" \t"))]
    matches = [_MEMBER.match(member) for member in members]
    keys = [match[1] for match in matches if match is not None]
    if not members or len(members) > _MAX_MEMBERS or len(keys) != len(members) or len(set(keys)) != len(keys):
        return ""
    if len(",".join(members)) > _MAX_TRACESTATE:
        members = [member for member in members if len(member) <= _LARGE_MEMBER]
    while len(",".join(members)) > _MAX_TRACESTATE:
        members.pop()
    return ",".join(members)


def read_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext:
    """Return the trace context of a request; without exactly one valid traceparent there is none.

    Args:
        headers: names in lower case, and values.
    """
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    traceparent = read_traceparent(parents[0].decode("latin-1").strip(" \t")) if len(parents) == 1 else ""
    if not traceparent:
        return TraceContext()
    return TraceContext(traceparent, read_tracestate(b",".join(states).decode("latin-1")) if states else "")
