"""Has the bridge started once there is an external agent for it to call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from syntor.runtime.local_stack import start_service
from syntor.runtime.telemetry import get_logger

SERVICE = "agent-bridge"
RETRY_S = 5.0


class Bridge:
    """Asks the supervisor for the bridge, again until it was heard; without a supervisor there is nothing to do."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._asking: asyncio.Task[None] | None = None

    def need(self) -> None:
        """Say that an external agent is known."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        while problem := await start_service(SERVICE, self._environ):
            get_logger().warning("bridge_not_started", problem=problem, retry_in_s=RETRY_S)
            await asyncio.sleep(RETRY_S)
