"""Runs an agent as a process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from syntor.agentkit.agent_server import AgentServer, AgentSettings
from syntor.agentkit.host import Invoke
from syntor.agentkit.loop import chat_agent
from syntor.agentkit.manifest import Manifest, read_manifest
from syntor.agentkit.tools.all import all_tools, known_tools
from syntor.jetstream.store import JetStreamStore
from syntor.runtime.process import Runtime, run_service, until_stopped
from syntor.runtime.settings import read_settings


def serve_agent(manifest_path: Path | str, invoke: Invoke | None = None) -> None:
    """Run the agent of a manifest until SIGTERM; never returns.

    Args:
        invoke: the agent's function; None: the chat loop with the manifest's prompt and tools.
    """
    path = Path(manifest_path)
    name = f"agent-{path.parent.name if path.name == 'manifest.yaml' else path.stem}"

    async def main(runtime: Runtime[AgentSettings]) -> None:
        manifest = read_manifest(path, known_tools())
        await serve(runtime, manifest, invoke or chat_agent(manifest))

    run_service(name, lambda: read_settings(AgentSettings), main)


async def serve(runtime: Runtime[AgentSettings], manifest: Manifest, invoke: Invoke, *, registers: bool = True) -> None:
    """Register, serve and send heartbeats until stopped.

    Args:
        registers: False for a queue that is not an agent of its own, and is declared in the topology.
    """
    store = JetStreamStore(runtime.connection, group_commit=runtime.settings.durability == "durable")
    server = AgentServer(runtime, manifest, invoke, store, all_tools(), registers=registers)
    await server.start()
    runtime.health.add_check("queue", server.lag)
    runtime.health.set_ready(True)
    try:
        await until_stopped(runtime, *server.failures)
    finally:
        await asyncio.shield(server.stop())
        await store.close()
