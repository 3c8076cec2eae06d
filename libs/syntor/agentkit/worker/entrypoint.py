"""Entry points of agent processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from syntor.agentkit.chat_agent import chat_agent
from syntor.agentkit.manifest import Manifest, read_built_in_manifest, read_manifest
from syntor.agentkit.tools.catalog import all_tools, known_tools
from syntor.agentkit.worker.agent_service import AgentService, AgentSettings
from syntor.agentkit.worker.task_worker import Invoke
from syntor.jetstream.store import JetStreamStore
from syntor.runtime.process import Runtime, run_service, until_stopped
from syntor.runtime.settings import read_settings


def serve_agent(manifest_path: Path | str, invoke: Invoke | None = None, *, built_in: bool = False) -> None:
    """Run the agent of a manifest until SIGTERM; never returns.

    Args:
        invoke: the agent's function; None: the chat agent with the manifest's prompt and tools.
        built_in: the manifest is part of this distribution, so it needs no validation, nor pydantic's memory.
    """
    path = Path(manifest_path)
    name = f"agent-{path.parent.name if path.name == 'manifest.yaml' else path.stem}"

    async def main(runtime: Runtime[AgentSettings]) -> None:
        manifest = read_built_in_manifest(path) if built_in else read_manifest(path, known_tools())
        await serve(runtime, manifest, invoke or chat_agent(manifest))

    run_service(name, lambda: read_settings(AgentSettings), main)


async def serve(runtime: Runtime[AgentSettings], manifest: Manifest, invoke: Invoke, *, registers: bool = True) -> None:
    """Register, serve and send heartbeats until stopped.

    Args:
        registers: False for a queue that belongs to no single agent and is declared in the topology.
    """
    store = JetStreamStore(runtime.connection, group_commit=runtime.settings.durability == "durable")
    service = AgentService(runtime, manifest, invoke, store, all_tools(), registers=registers)
    await service.start()
    runtime.health.add_check("queue", service.lag)
    runtime.health.set_ready(True)
    try:
        await until_stopped(runtime, *service.failures)
    finally:
        await asyncio.shield(service.stop())
        await store.close()
