"""`python -m syntor.agents.declared`: serves every declared agent, as its manifest is now, until told to stop."""

from __future__ import annotations

import asyncio
from pathlib import Path

from syntor.agentkit.agent_server import AgentServer, AgentSettings
from syntor.agentkit.loop import chat_agent
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.tools.all import all_tools, known_tools
from syntor.agents.declared.manifests import Found, Manifests
from syntor.contracts.errors import SyntorError
from syntor.jetstream.store import JetStreamStore
from syntor.runtime.process import Runtime, run_service, until_stopped
from syntor.runtime.settings import read_settings
from syntor.runtime.telemetry import get_logger

LOOK_EVERY_S = 1.0


class Declared:
    """Keeps one server for each declared agent."""

    def __init__(self, runtime: Runtime[AgentSettings], store: JetStreamStore) -> None:
        self._runtime = runtime
        self._store = store
        self._servers: dict[str, AgentServer] = {}
        self._problems: dict[Path, str] = {}
        self._refused: dict[str, tuple[Manifest, str]] = {}
        self._log = get_logger()

    async def follow(self, manifests: Manifests) -> None:
        """Do what the files say, again and again, until a server fails for good."""
        while True:
            await self.apply(await asyncio.to_thread(manifests.look))
            await self._wait()

    async def apply(self, found: Found) -> None:
        """Start, change and stop servers so that they are those found."""
        for path, problem in found.problems.items():
            if self._problems.get(path) != problem:
                self._log.error("manifest_skipped", file=str(path), problem=problem)
        self._problems = found.problems
        for agent_id in [known for known in self._servers if known not in found.manifests]:
            self._log.info("agent_removed", agent_id=agent_id)
            await self._servers.pop(agent_id).stop(forget=True)
        self._refused = {agent: said for agent, said in self._refused.items() if agent in found.manifests}
        for manifest in found.manifests.values():
            await self._serve(manifest)

    async def lag(self) -> str | None:
        """Say which queue is not worked off."""
        for server in self._servers.values():
            if (problem := await server.lag()) is not None:
                return problem
        return None

    async def stop(self) -> None:
        """Stop all servers, together."""
        await asyncio.gather(*(server.stop() for server in self._servers.values()))

    async def _serve(self, manifest: Manifest) -> None:
        server = self._servers.get(manifest.id)
        if server is not None and server.manifest == manifest:
            return
        if manifest.id in self._refused and self._refused[manifest.id][0] == manifest:
            return
        try:
            if server is not None and server.manifest.constraints.max_concurrent != manifest.constraints.max_concurrent:
                await self._servers.pop(manifest.id).stop()  # how many it takes at once is settled at its start
                server = None
            if server is None:
                server = AgentServer(self._runtime, manifest, chat_agent(manifest), self._store, all_tools())
                await server.start()
                self._servers[manifest.id] = server
                self._log.info("agent_declared", agent_id=manifest.id)
            else:
                await server.change(manifest, chat_agent(manifest))
                self._log.info("agent_changed", agent_id=manifest.id)
        except SyntorError as exc:
            self._refused[manifest.id] = (manifest, str(exc))
            self._log.error("agent_refused", agent_id=manifest.id, problem=str(exc))

    async def _wait(self) -> None:
        failures = [future for server in self._servers.values() for future in server.failures]
        if not failures:
            await asyncio.sleep(LOOK_EVERY_S)
            return
        done, _ = await asyncio.wait(failures, timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            future.result()


async def main(runtime: Runtime[AgentSettings]) -> None:
    """Follow the manifests until told to stop."""
    store = JetStreamStore(runtime.connection, group_commit=runtime.settings.durability == "durable")
    declared = Declared(runtime, store)
    manifests = Manifests(Path(runtime.settings.home), known_tools())
    await declared.apply(await asyncio.to_thread(manifests.look))
    following = asyncio.create_task(declared.follow(manifests))
    runtime.health.add_check("queues", declared.lag)
    runtime.health.set_ready(True)
    try:
        await until_stopped(runtime, following)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await asyncio.shield(declared.stop())
        await store.close()


if __name__ == "__main__":
    run_service("agent-declared", lambda: read_settings(AgentSettings), main)
