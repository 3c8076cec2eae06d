"""Column types and values shared by the tables of the read model."""

from __future__ import annotations

from datetime import UTC, datetime

from syntor.contracts.task.v1 import Usage
from syntor.projections.projection import Row

TEXT, INTEGER, REAL = "TEXT", "BIGINT", "DOUBLE PRECISION"
USAGE = {"input_tokens": INTEGER, "output_tokens": INTEGER, "cached_input_tokens": INTEGER, "cost_microusd": INTEGER}


def usage(used: Usage) -> Row:
    """Return the usage columns of one model call; of `Usage()`, zeros."""
    return {column: getattr(used, column) for column in USAGE}


def timestamp(time: datetime) -> str:
    """Return a UTC time as it is stored: RFC 3339 with microseconds, so that text order is time order."""
    utc = time.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='microseconds')}Z"
