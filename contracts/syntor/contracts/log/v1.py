"""Log events, schema version 1. Frozen once released: only optional fields are added."""

from __future__ import annotations

import msgspec

from syntor.contracts.bounds import Hash, Position


class LogCheckpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The log up to a position is recorded with its hash: who reads it later can compare."""

    position: Position
    """Last position the hash covers."""
    hash: Hash
    """Log hash at that position."""


LogEvent = LogCheckpoint
EVENTS: tuple[type[LogCheckpoint], ...] = (LogCheckpoint,)
