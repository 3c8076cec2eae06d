"""`python -m syntor.orchestrator`: makes the decisions of runs until it is told to stop."""

from __future__ import annotations

import asyncio
import functools

import msgspec

from syntor.contracts.clock import now
from syntor.contracts.errors import InfrastructureError, NotFoundError
from syntor.contracts.topology import ORCHESTRATOR_DECISIONS, ORCHESTRATOR_TIMERS, ConsumerSpec
from syntor.eventsourcing.dead_letters import record_in_run
from syntor.jetstream.admin import consumer_info
from syntor.jetstream.backlog import Backlog
from syntor.jetstream.connection import Connection
from syntor.jetstream.consumer import Consumer
from syntor.jetstream.requests import Endpoint, Service
from syntor.jetstream.store import JetStreamStore
from syntor.jetstream.timers import Timers
from syntor.orchestrator.handlers import SOURCE, Decisions
from syntor.orchestrator.settings import OrchestratorSettings
from syntor.runtime.process import Runtime, run_service, until_stopped
from syntor.runtime.settings import read_settings
from syntor.runtime.telemetry import message_context

SPECS = (ORCHESTRATOR_DECISIONS, ORCHESTRATOR_TIMERS)
MAX_LAG = 10_000  # undelivered messages above which this service reports that it lags


class StatusRequest(msgspec.Struct, frozen=True):
    """Requests the status of an instance."""


class StatusReply(msgspec.Struct, frozen=True):
    """Status of an instance."""

    instance: str
    busy: int
    """Messages being handled."""
    cached_runs: int


async def main(runtime: Runtime[OrchestratorSettings]) -> None:
    """Wire store, timers and consumers, and serve until stopped."""
    settings, connection = runtime.settings, runtime.connection
    store = JetStreamStore(connection, group_commit=settings.durability == "durable")
    decisions = Decisions(
        store,
        Timers(connection, SOURCE),
        cached_runs=settings.cached_runs,
        cached_sessions=settings.cached_sessions,
    )
    consumers = [
        Consumer(
            connection,
            spec,
            decisions.handle,
            max_concurrent=settings.max_concurrent_decisions,
            middleware=lambda recorded: message_context(recorded.envelope),
            on_dead_lettered=record_in_run(store, SOURCE, now),
            takes_work=functools.partial(runtime.loop_lag.allows_work, spec.ack_wait_s),
            reader=store.recorded,
        )
        for spec in SPECS
    ]

    async def status(_: StatusRequest) -> StatusReply:
        busy = sum(consumer.busy for consumer in consumers)
        return StatusReply(instance=runtime.instance, busy=busy, cached_runs=decisions.cached)

    service = Service(
        connection,
        SOURCE,
        version="1.0.0",
        description="Decides each run's next event",
        endpoints=[Endpoint("status", StatusRequest, status, "Status of this instance")],
        metadata={"instance": runtime.instance},
    )
    for consumer in consumers:
        await consumer.start()
    await service.start()
    for spec in SPECS:
        runtime.health.add_measurement(spec.name, Backlog(connection, spec).measure)
        runtime.health.add_check(spec.name, functools.partial(_lag, connection, spec))
    runtime.health.set_ready(True)
    try:
        await until_stopped(runtime, *(consumer.failed for consumer in consumers))
    finally:
        await service.stop()
        await asyncio.gather(*(consumer.stop() for consumer in consumers))
        await store.close()


async def _lag(connection: Connection, spec: ConsumerSpec) -> str | None:
    """Return why a consumer does not keep up, or None when it does."""
    try:
        pending = (await consumer_info(connection, spec)).pending
    except NotFoundError:
        return f"consumer {spec.name} does not exist on {spec.stream}; run: syntor admin apply"
    except InfrastructureError as exc:
        return str(exc)
    return f"{pending} messages wait; start more instances" if pending > MAX_LAG else None


if __name__ == "__main__":
    run_service(SOURCE, lambda: read_settings(OrchestratorSettings), main)
