"""Replaces what this process reads the time and randomness from while a simulated world runs."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from syntor.testing.simulation.loop import START_S, SimulatedLoop

_NS = 1_000_000_000


@contextmanager
def simulated_time(loop: SimulatedLoop, seed: int) -> Generator[None, None, None]:
    """Let `time`, `os.urandom` and `random` follow the loop's clock and a seed.

    What is replaced: the functions of the module `time` that tell the time, `os.urandom`, and the state of the global
    random generator. Code under simulation must call them through their module; `datetime.now` cannot be replaced,
    `syntor.contracts.clock.now` can.
    """
    entropy = random.Random(f"entropy {seed}")
    replaced: list[tuple[Any, str, Any]] = [
        (time, "time", loop.wall),
        (time, "time_ns", lambda: int(loop.wall() * _NS)),
        (time, "monotonic", lambda: START_S + loop.now),
        (time, "monotonic_ns", lambda: int((START_S + loop.now) * _NS)),
        (time, "perf_counter", lambda: START_S + loop.now),
        (os, "urandom", entropy.randbytes),
    ]
    kept = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    state = random.getstate()
    random.seed(f"global {seed}")
    for module, name, function in replaced:
        setattr(module, name, function)
    try:
        yield
    finally:
        for module, name, function in kept:
            setattr(module, name, function)
        random.setstate(state)
