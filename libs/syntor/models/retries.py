"""Attempts of a model call: only before the first piece of a response, and announced while they wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from syntor.models.chat import ModelError, ModelErrorCode, Progress, StreamEvent

ATTEMPTS = 3
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 20.0
LONGEST_REQUESTED_S = 60.0  # a longer wait is an error that names it: people can decide what to do
_MAX_DIGITS = 9


def retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds a `Retry-After` header (RFC 9110, section 10.2.3) requests to wait; None: it requests none.

    It is a whole number of seconds or an HTTP date; what is neither is ignored, and a date in the past is no wait.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text) if len(text) <= _MAX_DIGITS else float(10**_MAX_DIGITS)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)  # `-0000` and asctime dates; an HTTP date is always UTC
    return max(0.0, (at - now).total_seconds())


def refusal_code(status: int) -> ModelErrorCode:
    """Return what a response with a status above 399 says: about the request that got it, or about the endpoint.

    Only `model_unavailable` is about the endpoint, and counts for its circuit breaker.
    """
    match status:
        case 401 | 403:
            return "authentication_failed"
        case 404:
            return "model_not_installed"
        case 429:
            return "rate_limited"
        case 408:
            return "model_unavailable"
        case _:
            return "model_unavailable" if status >= 500 else "bad_response"


async def attempts(
    attempt: Callable[[], AsyncGenerator[StreamEvent, None]], provider: str
) -> AsyncGenerator[StreamEvent, None]:
    """Stream a call, again where that can help; each wait is announced as progress.

    Raises:
        ModelError: the last attempt failed, or the provider requests to wait longer than `LONGEST_REQUESTED_S`.
    """
    for number in range(1, ATTEMPTS + 1):
        streamed = False
        try:
            async with aclosing(attempt()) as events:
                async for event in events:
                    streamed = True
                    yield event
            return
        except ModelError as exc:
            wait_s = _wait(number, exc.retry_after_s)
            if streamed or not exc.retryable or number == ATTEMPTS:
                raise
            if wait_s > LONGEST_REQUESTED_S:
                text = f"{exc}; {provider} requests to wait {wait_s:.0f} s: try again then, or use another model"
                raise ModelError(exc.code, text, retry_after_s=exc.retry_after_s) from exc
            yield Progress(f"{provider}: {exc.code}; attempt {number + 1} of {ATTEMPTS} in {wait_s:.1f} s")
        await asyncio.sleep(wait_s)


def _wait(number: int, requested_s: float | None) -> float:
    """Return how long to wait after a failed attempt: what the provider requests, else growing and jittered."""
    growing_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (number - 1)) * random.uniform(0.5, 1.0)
    return growing_s if requested_s is None else max(requested_s, FIRST_WAIT_S * 0.1)
