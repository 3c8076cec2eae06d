"""`python -m syntor.orchestrator`: decides for runs until told to stop."""

from __future__ import annotations

import asyncio

import msgspec

from syntor.contracts.topology import ORCHESTRATOR_DECISIONS, ORCHESTRATOR_TIMERS
from syntor.jetstream.admin import consumer_info
from syntor.jetstream.consumer import Consumer
from syntor.jetstream.requests import Endpoint, Service
from syntor.jetstream.store import JetStreamStore
from syntor.jetstream.timers import Timers
from syntor.orchestrator.handlers import SOURCE, Decisions
from syntor.orchestrator.settings import OrchestratorSettings
from syntor.runtime.process import Runtime, run_service, until_stopped
from syntor.runtime.settings import read_settings
from syntor.runtime.telemetry import message_context

MAX_LAG = 10_000  # undelivered triggers beyond which this service says it is not keeping up


class StatusRequest(msgspec.Struct, frozen=True):
    """Asks an instance how it is."""


class StatusReply(msgspec.Struct, frozen=True):
    """How an instance is."""

    instance: str
    busy: int
    """Messages in work."""
    cached_runs: int


async def main(runtime: Runtime[OrchestratorSettings]) -> None:
    """Wire store, timers and consumers, and serve until stopped."""
    settings, connection = runtime.settings, runtime.connection
    store = JetStreamStore(connection, group_commit=settings.durability == "durable")
    decisions = Decisions(store, Timers(connection, SOURCE), settings.cached_runs)
    consumers = [
        Consumer(
            connection,
            spec,
            decisions.handle,
            max_concurrent=settings.max_concurrent_decisions,
            around=lambda recorded: message_context(recorded.envelope),
        )
        for spec in (ORCHESTRATOR_DECISIONS, ORCHESTRATOR_TIMERS)
    ]

    async def status(_: StatusRequest) -> StatusReply:
        busy = sum(consumer.busy for consumer in consumers)
        return StatusReply(instance=runtime.instance, busy=busy, cached_runs=decisions.cached)

    async def lag() -> str | None:
        pending = (await consumer_info(connection, ORCHESTRATOR_DECISIONS)).pending
        return f"{pending} decisions wait; start more instances" if pending > MAX_LAG else None

    service = Service(
        connection,
        SOURCE,
        version="1.0.0",
        description="Decides what each run does next",
        endpoints=[Endpoint("status", StatusRequest, status, "How this instance is")],
        metadata={"instance": runtime.instance},
    )
    for consumer in consumers:
        await consumer.start()
    await service.start()
    runtime.health.add_check("decisions", lag)
    runtime.health.set_ready(True)
    try:
        await until_stopped(runtime, *(consumer.failed for consumer in consumers))
    finally:
        await service.stop()
        await asyncio.gather(*(consumer.stop() for consumer in consumers))
        await store.close()


if __name__ == "__main__":
    run_service(SOURCE, lambda: read_settings(OrchestratorSettings), main)
