"""`python -m syntor.projector`: keeps the read model up to date and serves queries until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib

from syntor.contracts.rpc.v1 import PROJECTOR
from syntor.contracts.topology import EVENTS
from syntor.jetstream.admin import stream_state
from syntor.jetstream.requests import Service
from syntor.jetstream.store import JetStreamStore
from syntor.metrics import Gauge
from syntor.projections.database import open_store
from syntor.projector.domain.read_model import ReadModel
from syntor.projector.log_checkpoints import LogCheckpoints
from syntor.projector.opening import open_when_available
from syntor.projector.queries import Queries
from syntor.projector.settings import ProjectorSettings
from syntor.projector.subscription import ProjectionSubscription
from syntor.runtime.process import Runtime, run_service, until_stopped
from syntor.runtime.settings import read_settings

_APPROVALS = Gauge("syntor_approvals_pending", "Approvals that wait for a person")
_OLDEST = Gauge("syntor_approvals_oldest_pending_seconds", "Age of the oldest approval that waits; 0: none waits")
_LAG = Gauge("syntor_projection_lag_messages", "Messages of the log the read model is behind")
LAST_CHECKPOINT_S = 2.0  # for covering the end of the log before a stop; the next start does it otherwise


async def main(runtime: Runtime[ProjectorSettings]) -> None:
    """Wire log, database, subscription and endpoints, and serve until stopped."""
    connection, settings = runtime.connection, runtime.settings
    projection = ReadModel()
    log = JetStreamStore(connection, group_commit=False)
    store = open_store(settings.database)
    if not await open_when_available(store, projection, runtime.health, runtime.stopping):
        return
    subscription = ProjectionSubscription(connection, log, store, projection)

    async def last_position() -> int:
        return (await stream_state(connection, EVENTS)).last

    async def subscribed() -> str | None:
        return subscription.failure

    async def lag() -> str | None:
        behind = await last_position() - subscription.runner.reached
        return f"{behind} events behind the log" if behind > settings.max_lag else None

    queries = Queries(store, subscription.runner, projection.name, last_position, connection.max_payload)
    service = Service(
        connection,
        PROJECTOR,
        version="1.0.0",
        description="Serves queries from the read model",
        endpoints=queries.endpoints(),
        metadata={"instance": runtime.instance, "database": store.kind},
    )

    async def measure() -> None:
        count, age_s = await queries.pending_approvals()
        _APPROVALS.labels().set(count)
        _OLDEST.labels().set(age_s)
        _LAG.labels().set(max(await last_position() - subscription.runner.reached, 0))

    checkpoints = LogCheckpoints(log, subscription.runner)
    running = asyncio.create_task(subscription.run())
    covering = asyncio.create_task(checkpoints.run())
    await service.start()
    runtime.health.add_measurement("read_model", measure)
    runtime.health.add_check("subscription", subscribed)
    runtime.health.add_check("lag", lag)
    runtime.health.set_ready(True)
    try:
        await until_stopped(runtime, running, covering)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(checkpoints.append(), LAST_CHECKPOINT_S)
    finally:
        await service.stop()
        running.cancel()
        covering.cancel()
        await asyncio.gather(running, covering, return_exceptions=True)
        await store.close()
        await log.close()


if __name__ == "__main__":
    run_service(PROJECTOR, lambda: read_settings(ProjectorSettings), main)
