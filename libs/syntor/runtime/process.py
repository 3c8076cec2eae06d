"""Starts a service, runs it until a signal, and stops it in order.

Exit codes: 0 after SIGTERM or SIGINT, 1 after a failure, 3 for a wrong setting.
"""

from __future__ import annotations

import asyncio
import functools
import platform
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec
import uvloop

from syntor.contracts.errors import ConfigurationError, LogBehindError, NotReachableError
from syntor.jetstream.access import public_hosts
from syntor.jetstream.connection import Connection, connect
from syntor.jetstream.readiness import LogReadiness
from syntor.metrics import Gauge
from syntor.runtime.disk import no_room
from syntor.runtime.health import Health
from syntor.runtime.loop_lag import LoopLag
from syntor.runtime.settings import ServiceSettings
from syntor.runtime.telemetry import configure_logging, get_logger
from syntor.runtime.version import VERSION

ANNOUNCE_AFTER_S = 1.0  # seconds after which a start says what it waits for
STOP_BUDGET_S = 25.0  # seconds; a service requeues its work within this; orchestrators kill after 30
_BUILD_INFO = Gauge("syntor_build_info", "Constant 1; the labels say what runs", ("service", "version", "python"))


S = TypeVar("S", bound=ServiceSettings)


class Runtime(msgspec.Struct, Generic[S], frozen=True):
    """What a service's main function is given."""

    service: str
    instance: str
    settings: S
    connection: Connection
    health: Health
    stopping: asyncio.Event
    """Set when the service must stop taking work and return."""
    loop_lag: LoopLag
    """How late the event loop is."""


Main = Callable[[Runtime[S]], Awaitable[None]]
"""Sets up, calls `health.set_ready(True)`, waits for `stopping`, tears down; raising ends the process with 1."""


def run_service(service: str, read: Callable[[], S], main: Main[S]) -> None:
    """Run a service until SIGTERM or SIGINT, then exit; never returns.

    Args:
        service: name in logs, metrics and the NATS connection.
        read: reads the settings; a ConfigurationError ends the process with 3 and one line with the reason.
        main: the service itself.
    """
    try:
        settings = read()
    except ConfigurationError as exc:
        sys.stderr.write(f"error: {exc}\n")
        raise SystemExit(3) from exc
    configure_logging(service, settings.instance, settings.log_level, settings.environment)
    _BUILD_INFO.labels(service, VERSION, platform.python_version()).set(1)
    raise SystemExit(uvloop.run(_run(service, settings, main)))


async def until_stopped(runtime: Runtime[S], *failures: asyncio.Future[None]) -> None:
    """Wait until the process must stop; raise what any of `failures` raises first."""
    stopping = asyncio.ensure_future(_until_event(runtime.stopping))
    try:
        done, _ = await asyncio.wait({stopping, *failures}, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            future.result()
    finally:
        stopping.cancel()


async def _until_event(event: asyncio.Event) -> None:
    await event.wait()


async def _run(service: str, settings: S, main: Main[S]) -> int:
    log = get_logger()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    health = Health()
    try:
        port = await health.serve(settings.health_host, settings.health_port)
    except OSError as exc:
        log.error("health_port_unavailable", host=settings.health_host, port=settings.health_port, error=str(exc))
        return 1
    log.info("service_starting", health_port=port)
    announcing = asyncio.create_task(_announce(health))
    try:
        connection = await _connect(service, settings, stopping, health)
    except ConfigurationError as exc:
        sys.stderr.write(f"error: {exc}\n")
        return 3
    finally:
        announcing.cancel()
    if connection is None:
        return 0
    if not connection.server.auth_required and (public := public_hosts(settings.nats_url)):
        log.warning("nats_requires_no_credentials", hosts=public, fix="syntor admin apply --users FOLDER")
    if settings.log_folder:
        connection.refuses_writes = functools.partial(no_room, settings.log_folder)
    health.add_check("nats", lambda: _nats_check(connection, settings.nats_url))
    health.add_check("log", LogReadiness(connection).check)
    lag = LoopLag()
    background = [asyncio.create_task(lag.run()), asyncio.create_task(_announce(health))]
    try:
        return await _supervise(main, Runtime(service, settings.instance, settings, connection, health, stopping, lag))
    finally:
        for task in background:
            task.cancel()
        await connection.close()
        await health.close()
        log.info("service_stopped")


async def _announce(health: Health) -> None:
    """Log what a start waits for, once it has lasted a second and whenever the reason changes."""
    said = ""
    while not health.is_ready:
        await asyncio.sleep(ANNOUNCE_AFTER_S)
        failing = {name: text for name, text in (await health.results()).items() if text is not None}
        if not health.waits_for and len(failing) > 1:
            failing.pop("started", None)
        reason = "; ".join(f"{name}: {text}" for name, text in failing.items())
        if reason and reason != said and not health.is_ready:
            get_logger().warning("start_waits", reason=reason)
            said = reason


async def _connect(
    service: str, settings: ServiceSettings, stopping: asyncio.Event, health: Health
) -> Connection | None:
    """Connect, retrying until NATS is reachable; None when the process must stop first."""
    delay_s = 0.05
    while not stopping.is_set():
        try:
            name = f"syntor/{service}/{settings.instance}"
            connection = await connect(settings.nats_url, name, access=settings.nats_access(service))
            health.waits_for = ""
            return connection
        except NotReachableError as exc:
            health.waits_for = f"NATS: {exc}"
        await _wait_any(asyncio.create_task(stopping.wait()), timeout_s=delay_s)
        delay_s = min(delay_s * 1.5, 1.0)
    return None


async def _supervise(main: Main[S], runtime: Runtime[S]) -> int:
    """Run main until it ends, the connection is closed, or the stop budget is used up."""
    log = get_logger()
    work = asyncio.create_task(_call(main, runtime))
    await _wait_any(work, asyncio.create_task(runtime.stopping.wait()), _until(runtime.connection.closed))
    stop_requested = runtime.stopping.is_set()
    if not stop_requested and not work.done():
        log.error("nats_connection_closed")
        runtime.stopping.set()
    runtime.health.set_ready(False)
    await _wait_any(work, timeout_s=STOP_BUDGET_S)
    if not work.done():
        log.error("stop_budget_used_up", budget_s=STOP_BUDGET_S)
        work.cancel()
        return 1
    if (failure := work.exception()) is not None:
        if isinstance(failure, (ConfigurationError, LogBehindError)):  # a person must decide: a restart does not help
            sys.stderr.write(f"error: {failure}\n")
            return 3
        log.error("service_failed", exc_info=failure)
        return 1
    return 0 if stop_requested else 1


async def _call(main: Main[S], runtime: Runtime[S]) -> None:
    await main(runtime)


async def _until(future: asyncio.Future[None]) -> None:
    await asyncio.shield(future)


async def _wait_any(
    *waits: asyncio.Task[None] | asyncio.Task[bool] | Awaitable[None], timeout_s: float | None = None
) -> None:
    """Wait until the first of `waits` is done or the time is up; helpers that did not finish are cancelled."""
    tasks = [wait if isinstance(wait, asyncio.Task) else asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks[1:] if len(tasks) > 1 else []:
        task.cancel()


async def _nats_check(connection: Connection, url: str) -> str | None:
    return None if connection.is_connected else f"not connected to {url}; is nats-server running?"
