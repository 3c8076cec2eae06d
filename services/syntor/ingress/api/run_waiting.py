"""Waits for the end of a run, for clients that prefer the outcome over an acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from syntor.contracts.errors import InfrastructureError
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.ingress.api.whole_run import whole_run
from syntor.ingress.feed.event_stream import RECHECK_S
from syntor.ingress.feed.frames import event_type
from syntor.ingress.feed.subscription import Subscription
from syntor.ingress.gateway import Gateway
from syntor.ingress.http.context import RequestContext
from syntor.runtime.telemetry import get_logger

_log = get_logger()


async def wait_for_end(subscription: Subscription, wait_s: float, recheck: Callable[[], None] | None = None) -> int:
    """Return the position of a run's terminal event; 0 when the time passes or the process stops first.

    Args:
        recheck: raises a RejectionError once the client may not wait any more; None: it always may.
    """
    waiting = asyncio.ensure_future(_terminal_position(subscription))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    try:
        while not waiting.done() and (left_s := deadline - loop.time()) > 0:
            await asyncio.wait([waiting], timeout=left_s if recheck is None else min(left_s, RECHECK_S))
            if recheck is not None:
                recheck()
        return waiting.result() if waiting.done() else 0
    finally:
        waiting.cancel()


async def ended_run(gateway: Gateway, run_id: str, position: int, context: RequestContext) -> bytes | None:
    """Return a run as of its terminal event, JSON; None while the read model is unavailable."""
    try:
        return await whole_run(gateway, run_id, position, context)
    except InfrastructureError as exc:
        _log.warning("run_view_not_available", run_id=run_id, trace_id=context.trace_id, error=str(exc))
        return None


async def _terminal_position(subscription: Subscription) -> int:
    """Return the position of a run's terminal event once it is there; 0 when the process stops first."""
    if subscription.listener is None:
        async for chunk in subscription.backlog():
            for message in chunk:
                if event_type(message.subject) in TERMINAL_RUN_TYPES:
                    return message.position
    listener = subscription.listener
    assert listener is not None
    while not listener.closed and not listener.overflowed:
        await listener.wait()
        for message in subscription.drain():
            if event_type(message.subject) in TERMINAL_RUN_TYPES:
                return message.position
    return 0
