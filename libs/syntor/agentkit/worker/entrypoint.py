"""Entry points of agent processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from syntor.agentkit.chat_agent import chat_agent
from syntor.agentkit.manifest import Manifest, read_built_in_manifest, read_manifest
from syntor.agentkit.tools.catalog import all_tools, known_tools
from syntor.agentkit.worker.agent_service import AgentService, AgentSettings
from syntor.agentkit.worker.task_worker import Invoke
from syntor.contracts.access import SEED_SUFFIX, USER_DEFINED
from syntor.contracts.errors import ConfigurationError
from syntor.jetstream.store import JetStreamStore
from syntor.runtime.local_stack import read_address
from syntor.runtime.process import Runtime, run_service, until_stopped
from syntor.runtime.settings import read_settings


def serve_agent(manifest_path: Path | str, invoke: Invoke | None = None, *, built_in: bool = False) -> None:
    """Run the agent of a manifest until SIGTERM; never returns.

    An agent of the user's finds the local stack of the home folder where `SYNTOR_NATS_URL` is not set, and connects
    with the key `agent-<id>`, or with that of user-defined agents where it has none of its own.

    Args:
        manifest_path: relative to the working folder, or absolute.
        invoke: the agent's function; None: the chat agent with the manifest's prompt and tools.
        built_in: the manifest is part of this distribution, so it needs no validation, nor pydantic's memory.
    """
    path = Path(manifest_path).absolute()
    try:
        manifest = read_built_in_manifest(path) if built_in else read_manifest(path, known_tools())
    except ConfigurationError as exc:
        sys.stderr.write(f"error: {exc}\n")
        raise SystemExit(3) from exc
    name = f"agent-{manifest.id}"

    async def main(runtime: Runtime[AgentSettings]) -> None:
        await serve(runtime, manifest, invoke or chat_agent(manifest))

    def read() -> AgentSettings:
        settings = read_settings(AgentSettings)
        return settings if built_in else with_local_stack(settings, name, os.environ)

    run_service(name, read, main)


def with_local_stack(settings: AgentSettings, name: str, environ: Mapping[str, str]) -> AgentSettings:
    """Return the settings of a user's own agent: where nothing else is set, those of the home's running stack.

    Args:
        name: of the service, `agent-<id>`.
    """
    folder = Path(settings.home)
    if not environ.get("SYNTOR_NATS_URL") and (stack := read_address(folder)) is not None:
        keys = settings.nats_keys or str(folder / "nats-keys")
        log_folder = settings.log_folder or stack.log_folder
        settings = msgspec.structs.replace(
            settings, nats_url=stack.nats_url, nats_keys=keys, durability=stack.durability, log_folder=log_folder
        )
    keys_folder = Path(settings.nats_keys).expanduser()
    shared = f"agent-{USER_DEFINED}"
    if not settings.nats_keys or settings.nats_user or (keys_folder / f"{name}{SEED_SUFFIX}").exists():
        return settings
    if not (keys_folder / f"{shared}{SEED_SUFFIX}").exists():
        return settings  # the start ends with the file that is missing
    return msgspec.structs.replace(settings, nats_user=shared)


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
