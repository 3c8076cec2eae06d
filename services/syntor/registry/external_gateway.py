"""Starts the external-agent gateway once an external agent is registered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from syntor.runtime.local_stack import start_service
from syntor.runtime.telemetry import get_logger

SERVICE = "agent-external"
RETRY_S = 5.0


class GatewayStarter:
    """Requests the gateway from the local supervisor, with retries; does nothing where no supervisor is configured."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._starting: asyncio.Task[None] | None = None

    def require(self) -> None:
        """Have the gateway started; repeated calls have no effect."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        while problem := await start_service(SERVICE, self._environ):
            get_logger().warning("external_gateway_not_started", problem=problem, retry_in_s=RETRY_S)
            await asyncio.sleep(RETRY_S)
