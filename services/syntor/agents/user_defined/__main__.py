"""`python -m syntor.agents.user_defined`: serves every user-defined agent by its current manifest until stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path

from syntor.agentkit.chat_agent import chat_agent
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.tools.catalog import all_tools, known_tools
from syntor.agentkit.worker.agent_service import AgentService, AgentSettings
from syntor.agents.user_defined.manifests import Found, Manifests
from syntor.contracts.errors import RejectionError, SyntorError
from syntor.jetstream.store import JetStreamStore
from syntor.runtime.process import Runtime, run_service, until_stopped
from syntor.runtime.settings import read_settings
from syntor.runtime.telemetry import get_logger

SCAN_INTERVAL_S = 1.0


class UserDefinedAgents:
    """Keeps one service running for each user-defined agent."""

    def __init__(self, runtime: Runtime[AgentSettings], store: JetStreamStore) -> None:
        self._runtime = runtime
        self._store = store
        self._services: dict[str, AgentService] = {}
        self._problems: dict[Path, str] = {}
        self._refused: dict[str, tuple[Manifest, str]] = {}
        self._log = get_logger()

    async def follow(self, manifests: Manifests) -> None:
        """Apply the manifests whenever they change, until a service fails unrecoverably."""
        while True:
            await self.apply(await asyncio.to_thread(manifests.scan))
            await self._wait()

    async def apply(self, found: Found) -> None:
        """Start, reconfigure and stop services to match the manifests found."""
        for path, problem in found.problems.items():
            if self._problems.get(path) != problem:
                self._log.error("manifest_skipped", file=str(path), problem=problem)
        self._problems = found.problems
        for agent_id in [known for known in self._services if known not in found.manifests]:
            self._log.info("agent_removed", agent_id=agent_id)
            await self._services.pop(agent_id).stop(forget=True)
        self._refused = {agent: refusal for agent, refusal in self._refused.items() if agent in found.manifests}
        for manifest in found.manifests.values():
            await self._serve(manifest)

    async def lag(self) -> str | None:
        """Return the problem of the first queue that falls behind; None: none does."""
        for service in self._services.values():
            if (problem := await service.lag()) is not None:
                return problem
        return None

    async def stop(self) -> None:
        """Stop all services, concurrently."""
        await asyncio.gather(*(service.stop() for service in self._services.values()))

    async def _serve(self, manifest: Manifest) -> None:
        service = self._services.get(manifest.id)
        if service is not None and service.manifest == manifest:
            return
        if manifest.id in self._refused and self._refused[manifest.id][0] == manifest:
            return
        try:
            if service is not None and _concurrency(service.manifest) != _concurrency(manifest):
                await self._services.pop(manifest.id).stop()  # its concurrency is fixed at its start
                service = None
            if service is None:
                service = AgentService(self._runtime, manifest, chat_agent(manifest), self._store, all_tools())
                await service.start()
                self._services[manifest.id] = service
                self._log.info("agent_added", agent_id=manifest.id)
            else:
                await service.reconfigure(manifest, chat_agent(manifest))
                self._log.info("agent_changed", agent_id=manifest.id)
        except SyntorError as exc:
            self._refuse(manifest, exc)

    def _refuse(self, manifest: Manifest, problem: SyntorError) -> None:
        self._refused[manifest.id] = (manifest, str(problem))
        self._log.error("agent_refused", agent_id=manifest.id, problem=str(problem))

    async def _wait(self) -> None:
        failures = {future: agent_id for agent_id, service in self._services.items() for future in service.failures}
        if not failures:
            await asyncio.sleep(SCAN_INTERVAL_S)
            return
        done, _ = await asyncio.wait(failures, timeout=SCAN_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            try:
                future.result()
            except RejectionError as exc:  # the registry's answer, after the agent began: it concerns this agent only
                service = self._services.pop(failures[future])
                self._refuse(service.manifest, exc)
                await service.stop()


def _concurrency(manifest: Manifest) -> int:
    return manifest.constraints.max_concurrent


async def main(runtime: Runtime[AgentSettings]) -> None:
    """Serve the agents of the manifests until stopped."""
    store = JetStreamStore(runtime.connection, group_commit=runtime.settings.durability == "durable")
    agents = UserDefinedAgents(runtime, store)
    manifests = Manifests(Path(runtime.settings.home), known_tools())
    await agents.apply(await asyncio.to_thread(manifests.scan))
    following = asyncio.create_task(agents.follow(manifests))
    runtime.health.add_check("queues", agents.lag)
    runtime.health.set_ready(True)
    try:
        await until_stopped(runtime, following)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await asyncio.shield(agents.stop())
        await store.close()


if __name__ == "__main__":
    run_service("agent-user-defined", lambda: read_settings(AgentSettings), main)
