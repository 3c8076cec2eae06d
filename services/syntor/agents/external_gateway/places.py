"""Places of external agents: how many of its tasks each is given concurrently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Places:
    """Counts the calls in progress of each agent; a call waits for a place of its own agent only."""

    def __init__(self) -> None:
        self._agents: dict[str, _Agent] = {}

    @asynccontextmanager
    async def hold(self, agent_id: str, limit: int) -> AsyncGenerator[None, None]:
        """Hold a place of an agent; wait while it has none left.

        Args:
            limit: places it is registered with now; it applies to all who wait.
        """
        agent = self._agents.setdefault(agent_id, _Agent())
        agent.users += 1
        agent.limit = limit
        try:
            async with agent.changed:
                agent.changed.notify_all()  # the limit may be a higher one
                await agent.changed.wait_for(lambda: agent.active < agent.limit)
                agent.active += 1
            try:
                yield
            finally:
                agent.active -= 1
                async with agent.changed:
                    agent.changed.notify_all()
        finally:
            agent.users -= 1
            if not agent.users:
                del self._agents[agent_id]


class _Agent:
    def __init__(self) -> None:
        self.limit = 0
        self.active = 0
        self.users = 0
        """Calls in progress or waiting; an agent without any is forgotten."""
        self.changed = asyncio.Condition()
