"""Runs the ingress: `python -m syntor.ingress`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from syntor.contracts.errors import InfrastructureError, NotFoundError
from syntor.contracts.subjects import ALL_EVENTS, category
from syntor.contracts.topology import DEAD_LETTERS, EVENTS
from syntor.directory.agents import AgentDirectory
from syntor.ingress.api.table import route_table
from syntor.ingress.feed.hub import Hub
from syntor.ingress.feed.open_runs import read_open_runs
from syntor.ingress.gateway import Gateway
from syntor.ingress.http.access import Access
from syntor.ingress.http.application import build_application
from syntor.ingress.http.connections import ConnectionLimits
from syntor.ingress.http.local_client import own_processes
from syntor.ingress.http.origin import OriginCheck, is_loopback
from syntor.ingress.http.server import HttpServer, bind
from syntor.ingress.settings import IngressSettings, read_ingress_settings
from syntor.jetstream.admin import stream_state
from syntor.jetstream.connection import Connection
from syntor.jetstream.requests import Endpoint, Service
from syntor.jetstream.store import JetStreamStore
from syntor.jetstream.tail import Tail
from syntor.metrics import Gauge
from syntor.runtime.local_key import KeyFile, ensure_key
from syntor.runtime.process import Runtime, run_service
from syntor.runtime.telemetry import get_logger
from syntor.runtime.tokens import TokenFile

LOG_RETRY_S = 0.2
COUNT_WAIT_S = 2.0  # to count open runs, which takes 20 s for a million runs; then it continues beside requests
MAX_LAG = 10_000  # messages; with more, streams are seconds late
_AGENT_EVENTS = category("agent").removesuffix(">")
_OPEN_RUNS = Gauge("syntor_runs_open", "Runs that have not ended, of those created since this process started")
_LAG = Gauge("syntor_feed_lag_messages", "Messages of the log the event streams of this process are behind")
_LOG_BYTES = Gauge("syntor_log_size_bytes", "Size of the log")
_DEAD_LETTERS = Gauge("syntor_dead_letters", "Dead letters that are kept")
_log = get_logger()


class StatusRequest(msgspec.Struct, frozen=True):
    """Request for the status of an instance."""


class StatusReply(msgspec.Struct, frozen=True):
    """Status of an instance."""

    instance: str
    port: int
    position: int
    """Stream sequence its ordered consumer has reached."""


def _status(instance: str, port: int, hub: Hub) -> Callable[[StatusRequest], Awaitable[StatusReply]]:
    async def status(_: StatusRequest) -> StatusReply:
        return StatusReply(instance=instance, port=port, position=hub.position)

    return status


async def main(runtime: Runtime[IngressSettings]) -> None:
    """Serve HTTP until the process is told to stop."""
    settings, connection = runtime.settings, runtime.connection
    access = _access(settings)
    listening = bind(settings.http_host, settings.http_port)
    position = await _end_of_log(connection, runtime.stopping)
    if position is None:
        listening.close()
        return
    store = JetStreamStore(connection, group_commit=settings.durability == "durable")
    hub, directory = Hub(position), AgentDirectory()
    await store.start()
    await directory.load(store)
    hub.await_open()
    tail = Tail(connection, [ALL_EVENTS], after=position)
    pump = asyncio.ensure_future(_pump(tail, hub, directory, store))
    counting = asyncio.ensure_future(_count_open_runs(connection, hub))
    await asyncio.wait({counting}, timeout=COUNT_WAIT_S)
    gateway = Gateway(connection, store, hub, directory)
    table = route_table(
        gateway,
        agent_timeout_s=settings.agent_timeout_s,
        max_open_runs=settings.max_open_runs,
        ceiling=settings.ceiling,
    )
    application = build_application(
        table, access, OriginCheck(settings.http_host), settings.max_requests, settings.shed_above
    )
    server = HttpServer(
        application,
        listening,
        tls_cert=settings.tls_cert,
        tls_key=settings.tls_key,
        limits=ConnectionLimits(
            head_bytes=settings.http_head_bytes,
            per_address=settings.http_connections,
            unfinished=settings.http_unfinished,
        ),
    )
    serving = asyncio.ensure_future(server.run_until_stopped())
    stopping = asyncio.ensure_future(runtime.stopping.wait())
    service = Service(
        connection,
        "ingress",
        version="1.0.0",
        description="HTTP API: accepts runs and streams the log",
        endpoints=[
            Endpoint("status", StatusRequest, _status(runtime.instance, server.port, hub), "Status of the instance")
        ],
        metadata={"instance": runtime.instance},
    )
    await service.start()
    runtime.health.add_measurement("log", lambda: _measure(connection, hub))
    runtime.health.add_check("lag", lambda: _lag(connection, hub))
    runtime.health.set_ready(True)
    _log.info("http_listening", host=settings.http_host, port=server.port)
    try:
        await asyncio.wait([pump, serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        await service.stop()
        hub.close()
        server.stop()
        await serving
    finally:
        stopping.cancel()
        counting.cancel()
        await tail.close()
        await store.close()
        if pump.done() and not pump.cancelled():
            pump.result()
        pump.cancel()


def _access(settings: IngressSettings) -> Access:
    """Return the access control; on loopback the home folder has a key from now on.

    Raises:
        ConfigurationError: its key cannot be trusted, or none can be written.
    """
    home, local = Path(settings.home), is_loopback(settings.http_host)
    if local:
        ensure_key(home)
    return Access(
        TokenFile(home),
        KeyFile(home),
        reads_open=own_processes() if local and settings.local_reads == "open" else None,
        per_second=settings.http_rate,
        wrong_tokens=settings.http_wrong_tokens,
    )


async def _end_of_log(connection: Connection, stopping: asyncio.Event) -> int | None:
    """Return the last position of the log once the stream exists, or None when told to stop first."""
    while not stopping.is_set():
        try:
            return (await stream_state(connection, EVENTS)).last
        except (NotFoundError, InfrastructureError) as exc:
            if connection.closed.done():
                raise
            _log.debug("log_not_available", error=str(exc))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), LOG_RETRY_S)
    return None


async def _pump(tail: Tail, hub: Hub, directory: AgentDirectory, store: JetStreamStore) -> None:
    """Feed hub and directory with the log as it grows."""
    async for batch in tail.batches():
        for message in batch:
            if message.subject.startswith(_AGENT_EVENTS):
                try:
                    directory.apply(await store.recorded.read(message))
                except InfrastructureError:
                    raise
                except Exception as exc:  # noqa: BLE001 - one event must not keep the log from all listeners
                    _log.warning("agent_event_skipped", position=message.position, error=str(exc))
        hub.feed(batch)


async def _count_open_runs(connection: Connection, hub: Hub) -> None:
    """Read the runs that have not ended; again while the log does not respond."""
    while True:
        try:
            hub.record_open(await read_open_runs(connection))
        except InfrastructureError as exc:
            _log.warning("open_runs_not_read", error=str(exc))
            await asyncio.sleep(LOG_RETRY_S)
        else:
            return


async def _measure(connection: Connection, hub: Hub) -> None:
    _OPEN_RUNS.labels().set(hub.open_runs)
    state = await stream_state(connection, EVENTS)
    _LAG.labels().set(max(state.last - hub.position, 0))
    _LOG_BYTES.labels().set(state.bytes)
    _DEAD_LETTERS.labels().set((await stream_state(connection, DEAD_LETTERS)).messages)


async def _lag(connection: Connection, hub: Hub) -> str | None:
    lag = (await stream_state(connection, EVENTS)).last - hub.position
    return f"the hub lags {lag} messages behind the log" if lag > MAX_LAG else None


if __name__ == "__main__":
    run_service("ingress", read_ingress_settings, main)
