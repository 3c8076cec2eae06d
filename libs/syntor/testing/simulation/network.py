"""Links between clients and the simulated server: in order, delayed, and lost from the moment a link is cut."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Protocol

from syntor.testing.simulation.loop import SimulatedLoop, SimulatedProcess


class Network(Protocol):
    """Delays and schedules what travels."""

    def time(self) -> float:
        """Return the loop's time."""
        ...

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call something of the server at a time."""
        ...

    def delay_s(self) -> float:
        """Return how long the next message travels."""
        ...

    def deliver(self, to: SimulatedProcess | None, when: float, callback: Callable[..., object], *args: Any) -> None:
        """Call something of a process, None: of the server, at a time; calls of one time keep their order."""
        ...


class DirectNetwork:
    """Without delays, on any event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def time(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call something at a time."""
        return self._loop.call_at(when, callback, *args)

    def delay_s(self) -> float:
        """Return zero."""
        return 0.0

    def deliver(self, to: SimulatedProcess | None, when: float, callback: Callable[..., object], *args: Any) -> None:
        """Call something as soon as possible, in order."""
        self._loop.call_soon(callback, *args)


class DelayedNetwork:
    """With delays chosen by a seed: mostly short, sometimes long, so that messages of two links overtake each other."""

    def __init__(self, loop: SimulatedLoop, rng: random.Random, *, typical_s: float, slow_share: float) -> None:
        self._loop = loop
        self._random = rng.random
        self._typical_s = typical_s
        self._slow_share = slow_share

    def time(self) -> float:
        """Return the loop's time."""
        return self._loop.now

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call something of the server at a time."""
        handle: Any = self._loop.call_in(self._loop.world, when, callback, *args)
        timer: asyncio.TimerHandle = handle
        return timer

    def delay_s(self) -> float:
        """Return how long the next message travels."""
        slow = 50.0 if self._random() < self._slow_share else 1.0
        return self._typical_s * slow * self._random()

    def deliver(self, to: SimulatedProcess | None, when: float, callback: Callable[..., object], *args: Any) -> None:
        """Call something of a process, None: of the server, at a time; calls of one time keep their order."""
        self._loop.call_in(to or self._loop.world, when, callback, *args)


class _Direction:
    """What is on its way in one direction: what is sent at one instant arrives together, as in one segment of TCP."""

    def __init__(self) -> None:
        self.sent_at = -1.0
        self.arrives_at = 0.0
        self.segment: list[Any] = []
        """The newest segment; empty once it has arrived."""


class Link:
    """One established connection: what is sent arrives in order, until it is cut."""

    def __init__(
        self,
        network: Network,
        process: SimulatedProcess | None,
        to_server: Callable[[Link, Any], None],
        to_client: Callable[[Link, Any], None],
    ) -> None:
        self.is_open = True
        """Whether anything travels."""
        self._network = network
        self._process = process
        self._to_server = to_server
        self._to_client = to_client
        self._up = _Direction()
        self._down = _Direction()

    def up(self, item: Any) -> None:
        """Send something to the server."""
        if self.is_open:
            self._send(self._up, item, None, self._arrive_up)

    def down(self, item: Any) -> None:
        """Send something to the client."""
        if self.is_open:
            self._send(self._down, item, self._process, self._arrive_down)

    def _send(
        self, way: _Direction, item: Any, to: SimulatedProcess | None, arrive: Callable[[list[Any]], None]
    ) -> None:
        now = self._network.time()
        if way.sent_at == now and way.segment:
            way.segment.append(item)
            return
        way.sent_at, way.segment = now, [item]
        way.arrives_at = max(way.arrives_at, now + self._network.delay_s())
        self._network.deliver(to, way.arrives_at, arrive, way.segment)

    def cut(self) -> None:
        """Lose everything that has not arrived."""
        self.is_open = False

    def finish_sending(self) -> None:
        """Let what the client has sent still arrive at the server, as after the end of its process."""
        self._to_client = _drop

    def _arrive_up(self, segment: list[Any]) -> None:
        items, segment[:] = list(segment), []
        for item in items:
            if self.is_open:
                self._to_server(self, item)

    def _arrive_down(self, segment: list[Any]) -> None:
        items, segment[:] = list(segment), []
        for item in items:
            if self.is_open:
                self._to_client(self, item)


def _drop(link: Link, item: Any) -> None:
    """Receive nothing."""
