"""Bounds of numbers, texts and lists, as types.

The contracts use these types, so JSON Schema, AsyncAPI and OpenAPI carry the bounds and every decoder enforces them.
Texts are measured in characters. A bound is far above what is sensible and far below what could hurt: it protects
services and databases, it is no policy.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

MAX_POSITION = 2**63 - 1  # stream sequences and database keys are signed 64-bit integers
MAX_COUNT = 2**31 - 1  # of calls, attempts, messages, rows
MAX_TOKENS = 10**12
MAX_COST_MICROUSD = 10**15  # a thousand million US dollars; sums of many stay within 64 bits
MAX_DURATION_S = 366 * 86400.0
MAX_TIMEOUT_S = 86400.0  # a task that needs more than a day is several tasks
MAX_ID, MAX_NAME, MAX_LINE = 255, 256, 4096
MAX_MESSAGE = 65_536
MAX_TEXT = 16 * 1024 * 1024
MAX_ITEMS = 10_000
MAX_ROWS = 1_000_000  # of a report that is not paged

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Times of messages; far enough from what a datetime can hold that no duration in bounds leads beyond it."""

Time = Annotated[datetime, Meta(tz=True)]
"""A time with its offset from UTC."""
Position = Annotated[int, Meta(ge=0, le=MAX_POSITION)]
"""A stream sequence; 0: none."""
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
"""How many, or which one from 1."""
Tokens = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
"""Tokens of a model."""
CostMicrousd = Annotated[int, Meta(ge=0, le=MAX_COST_MICROUSD)]
"""Cost in millionths of a US dollar."""
Bytes = Annotated[int, Meta(ge=0, le=MAX_POSITION)]
"""A size in bytes."""
Seconds = Annotated[float, Meta(ge=0, le=MAX_DURATION_S)]
"""A duration in seconds."""
Timeout = Annotated[float, Meta(gt=0, le=MAX_TIMEOUT_S)]
"""Seconds one task may take."""
Fraction = Annotated[float, Meta(ge=0, le=1)]
"""A share, 0 to 1."""
Priority = Annotated[int, Meta(ge=0, le=255)]
"""Priority of an agent, higher first."""
LimitTokens = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
"""Limit of tokens."""
LimitCostMicrousd = Annotated[int, Meta(ge=1, le=MAX_COST_MICROUSD)]
"""Limit of cost in millionths of a US dollar."""
LimitCount = Annotated[int, Meta(ge=1, le=MAX_COUNT)]
"""Limit of a number of things."""
LimitSeconds = Annotated[float, Meta(gt=0, le=MAX_DURATION_S)]
"""Limit of a duration in seconds."""

TOKEN_PATTERN = r"^[A-Za-z0-9_-]{1,64}$(?!\n)"  # `$(?!\n)` is the end of the text in Python and in ECMAScript
Token = Annotated[str, Meta(pattern=TOKEN_PATTERN, max_length=64)]
"""An id that stands as one token of a subject."""
Id = Annotated[str, Meta(max_length=MAX_ID)]
"""An id, or empty where there is none."""
Name = Annotated[str, Meta(max_length=MAX_NAME)]
"""A name, label, code or version."""
TRACEPARENT_PATTERN = r"^(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?$(?!\n)"
TraceParent = Annotated[str, Meta(pattern=TRACEPARENT_PATTERN, max_length=55)]
"""W3C trace context: trace id, span id and flags; empty: none."""
TraceState = Annotated[str, Meta(pattern="^[ -~]*$(?!\\n)", max_length=512)]
"""W3C trace state; empty: none."""
HASH_PATTERN = r"^([0-9a-f]{32})?$(?!\n)"
Hash = Annotated[str, Meta(pattern=HASH_PATTERN, max_length=32)]
"""First 128 bits of SHA-256, hexadecimal; empty: none."""
Line = Annotated[str, Meta(max_length=MAX_LINE)]
"""A short text: a title, a path, a rule, a URL."""
Message = Annotated[str, Meta(max_length=MAX_MESSAGE)]
"""A reason or error text for people."""
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
"""What people, models and tools write."""

Ids = Annotated[list[Id], Meta(max_length=MAX_ITEMS)]
Names = Annotated[list[Name], Meta(max_length=MAX_ITEMS)]
Rules = Annotated[list[Line], Meta(max_length=1000)]
"""Permission rules: `tool` or `tool(pattern)`."""
Labels = Annotated[dict[Name, Line], Meta(max_length=200)]
"""The caller's own labels."""


_SURROGATE = re.compile("[\ud800-\udfff]")


def well_formed(text: str) -> str:
    """Return a text that can be encoded as UTF-8: lone surrogates are replaced by U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def clip(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return a text that fits a bound, with its middle left out and the number of characters left out named."""
    text = well_formed(text)
    if len(text) <= limit:
        return text
    note = f" ... [{len(text)} characters, cut] ... "
    half = (limit - len(note)) // 2
    return text[:half] + note + text[len(text) - half :]
