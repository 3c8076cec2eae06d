"""The wall clock as every service reads it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Return the time, UTC."""
    return datetime.fromtimestamp(time.time(), UTC)  # through `time`, which a simulation replaces
