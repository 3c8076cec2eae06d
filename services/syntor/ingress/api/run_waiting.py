"""Waits for the end of a run, for clients that prefer the outcome over an acknowledgement."""

from __future__ import annotations

import asyncio

from syntor.contracts.errors import InfrastructureError
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.rpc import v1 as rpc
from syntor.ingress.feed.frames import event_type
from syntor.ingress.feed.subscription import Subscription
from syntor.ingress.gateway import Gateway
from syntor.ingress.http.context import RequestContext
from syntor.runtime.telemetry import get_logger

_log = get_logger()


async def wait_for_end(subscription: Subscription, wait_s: float) -> int:
    """Return the position of a run's terminal event; 0 when the time passes or the process stops first."""
    try:
        async with asyncio.timeout(wait_s):
            return await _terminal_position(subscription)
    except TimeoutError:
        return 0


async def ended_run(gateway: Gateway, run_id: str, position: int, context: RequestContext) -> bytes | None:
    """Return a run as of its terminal event, JSON; None while the read model is unavailable."""
    try:
        return await gateway.call(rpc.PROJECTOR, rpc.GET_RUN, rpc.GetRun(run_id=run_id, min_position=position), context)
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
