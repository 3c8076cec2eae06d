"""Deliberate defects that the simulation must find: each breaks one of the three things everything stands on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from syntor.jetstream.instances import Instances, Standing
from syntor.simulation.machine import replaced
from syntor.simulation.world import Defect, World
from syntor.testing.simulation.consumer import SimulatedConsumer
from syntor.testing.simulation.stream import SimulatedStream


@contextmanager
def version_check(world: World) -> Generator[None, None, None]:
    """Let every append succeed, whatever revision it expects."""

    def ignore(stream: SimulatedStream) -> None:
        stream.checks_revisions = False

    world.server.api.on_stream = ignore
    yield


@contextmanager
def lease(world: World) -> Generator[None, None, None]:
    """Renew no lease of a task, and let an instance begin a redelivered task without asking who holds it."""

    def ignore(consumer: SimulatedConsumer) -> None:
        consumer.renews_leases = not consumer.name.startswith("agents-")

    async def gone(self: Instances, instance: str, position: int) -> Standing:
        return "gone"

    world.server.api.on_consumer = ignore
    with replaced(Instances, {"standing": gone}):
        yield


@contextmanager
def dedup(world: World) -> Generator[None, None, None]:
    """Store a message again that has the id of a stored one."""

    def ignore(stream: SimulatedStream) -> None:
        stream.checks_duplicates = False

    world.server.api.on_stream = ignore
    yield


MUTANTS: dict[str, Defect] = {"version_check": version_check, "lease": lease, "dedup": dedup}
"""By the name of what is broken."""
