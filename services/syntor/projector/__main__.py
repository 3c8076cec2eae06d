"""`python -m syntor.projector`: keeps the read model up to date and serves queries until it is stopped."""

from __future__ import annotations

import asyncio

from syntor.contracts.rpc.v1 import (
    GET_RUN,
    GET_SESSION,
    GET_STATUS,
    GET_USAGE,
    LIST_APPROVALS,
    LIST_MESSAGES,
    LIST_RUNS,
    LIST_SESSIONS,
    PROJECTOR,
    GetRun,
    GetSession,
    GetStatus,
    GetUsage,
    ListApprovals,
    ListMessages,
    ListRuns,
    ListSessions,
)
from syntor.contracts.topology import EVENTS
from syntor.jetstream.admin import stream_state
from syntor.jetstream.requests import Endpoint, Service
from syntor.jetstream.store import JetStreamStore
from syntor.projections.database import open_store
from syntor.projector.domain.read_model import ReadModel
from syntor.projector.queries import Queries
from syntor.projector.settings import ProjectorSettings
from syntor.projector.subscription import ProjectionSubscription
from syntor.runtime.process import Runtime, run_service, until_stopped
from syntor.runtime.settings import read_settings


async def main(runtime: Runtime[ProjectorSettings]) -> None:
    """Wire log, database, subscription and endpoints, and serve until stopped."""
    connection, settings = runtime.connection, runtime.settings
    projection = ReadModel()
    log = JetStreamStore(connection, group_commit=False)
    store = open_store(settings.database)
    await store.open(projection)
    subscription = ProjectionSubscription(connection, log, store, projection)

    async def last_position() -> int:
        return (await stream_state(connection, EVENTS)).last

    async def subscribed() -> str | None:
        return subscription.failure

    async def lag() -> str | None:
        behind = await last_position() - subscription.runner.position
        return f"{behind} events behind the log" if behind > settings.max_lag else None

    queries = Queries(store, subscription.runner, projection.name, last_position)
    service = Service(
        connection,
        PROJECTOR,
        version="1.0.0",
        description="Serves queries from the read model",
        endpoints=[
            Endpoint(LIST_RUNS, ListRuns, queries.list_runs, "Runs, newest first"),
            Endpoint(GET_RUN, GetRun, queries.get_run, "One run"),
            Endpoint(LIST_SESSIONS, ListSessions, queries.list_sessions, "Sessions, newest first"),
            Endpoint(GET_SESSION, GetSession, queries.get_session, "One session"),
            Endpoint(LIST_MESSAGES, ListMessages, queries.list_messages, "Messages of a session"),
            Endpoint(LIST_APPROVALS, ListApprovals, queries.list_approvals, "Approvals, newest first"),
            Endpoint(GET_USAGE, GetUsage, queries.get_usage, "Tokens and cost of model calls, summed"),
            Endpoint(GET_STATUS, GetStatus, queries.get_status, "Checkpoint and lag of the read model"),
        ],
        metadata={"instance": runtime.instance, "database": store.kind},
    )
    running = asyncio.create_task(subscription.run())
    await service.start()
    runtime.health.add_check("subscription", subscribed)
    runtime.health.add_check("lag", lag)
    runtime.health.set_ready(True)
    try:
        await until_stopped(runtime, service.failed, running)
    finally:
        await service.stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()
        await log.close()


if __name__ == "__main__":
    run_service(PROJECTOR, lambda: read_settings(ProjectorSettings), main)
