"""Pure plan of a campaign: which faults a seed injects, in which order."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

import msgspec

from syntor.faults import proxy, second_instances
from syntor.faults.fault import CONNECTION, DATABASE, DISK, KILL, LOG, MACHINE, MEMORY, PAUSE, RESTART, SECOND, STORE
from syntor.faults.takeover import PARTITION

SERVICES = ("ingress", "orchestrator", "registry", "projector", "agent-worker", "agent-coordination", "nats")
PROCESS, NETWORK, SECONDS, FULL_LOG, CPU, LIMIT, DISKS, POSTGRES, CLOCK, BIT = KINDS = (
    "process", "connection", "second", "log", "cpu", "memory", "disk", "database", "clock", "bit",
)  # fmt: skip
SHARES = {
    PROCESS: 55, NETWORK: 10, SECONDS: 10, FULL_LOG: 5, CPU: 4, LIMIT: 4, DISKS: 4, POSTGRES: 4, CLOCK: 4, BIT: 3,
}  # fmt: skip
ACTIONS = (KILL, KILL, KILL, PAUSE, RESTART)  # mostly kills
DISK_OF = ("log", "database", "home")
FULL, READ_ONLY, STARVED, JUMP, FLIP = "full", "read-only", "no CPU left", "jump", "flip"
STALL_S = (1.0, 29.0)  # shortest pause of a process, and what is added to it at most
_LONG = 0.2  # share of pauses that may be longer than a task is kept
_SHORT_S = 4.0  # what is added at most to the others
_PARTITION_S = (12.0, 8.0)


class Injection(msgspec.Struct, frozen=True):
    """One fault to inject."""

    target: str
    """A service, `second <service>`, `connection`, `log`, `machine`, `database`, `store` or `disk of <what>`."""
    action: str
    events: int
    """Number of events of the log it waits for first."""
    pause_s: float
    seed: int = 0
    """Of what is chosen when it is injected: the bit of a flip."""


def plan(seed: int, points: int, kinds: Collection[str] = KINDS) -> list[Injection]:
    """Return the faults of a seed: the same for the same seed and kinds.

    Args:
        kinds: kinds of faults, of `KINDS`.
    """
    rng = random.Random(seed)
    wanted = [kind for kind in KINDS if kind in kinds]
    shares = [SHARES[kind] for kind in wanted]

    def one() -> Injection:
        target, action, pause_s = _MAKERS[rng.choices(wanted, shares)[0]](rng)
        return Injection(target, action, rng.randrange(12), pause_s, rng.randrange(1 << 32) if action == FLIP else 0)

    return [one() for _ in range(points)]


def _short(rng: random.Random) -> float:
    return 0.2 + rng.random() * 1.5


def _stall(rng: random.Random) -> float:
    added = STALL_S[1] if rng.random() < _LONG else _SHORT_S
    return STALL_S[0] + rng.random() * added


def _process(rng: random.Random) -> tuple[str, str, float]:
    service, action = rng.choice(SERVICES), rng.choice(ACTIONS)
    return service, action, _stall(rng) if action == PAUSE and service != "nats" else _short(rng)


def _network(rng: random.Random) -> tuple[str, str, float]:
    mode = rng.choice(proxy.MODES)
    if mode == PARTITION:
        return CONNECTION, mode, _PARTITION_S[0] + rng.random() * _PARTITION_S[1]
    return CONNECTION, mode, _short(rng)


def _second(rng: random.Random) -> tuple[str, str, float]:
    name, action = rng.choice(second_instances.SERVICES), rng.choice((KILL, KILL, PAUSE))
    return SECOND + name, action, _stall(rng)


def _disk(rng: random.Random) -> tuple[str, str, float]:
    what = rng.choice(DISK_OF)
    action = FULL if what == "home" else rng.choice((FULL, READ_ONLY))
    return DISK + what, action, 0.5 + rng.random() * 2


_MAKERS: dict[str, Callable[[random.Random], tuple[str, str, float]]] = {
    PROCESS: _process,
    NETWORK: _network,
    SECONDS: _second,
    FULL_LOG: lambda rng: (LOG, FULL, _short(rng)),
    CPU: lambda rng: (MACHINE, STARVED, 1.0 + rng.random() * 4),
    LIMIT: lambda rng: (rng.choice(SERVICES[:-1]), MEMORY, 1.0 + rng.random() * 2),
    DISKS: _disk,
    POSTGRES: lambda rng: (DATABASE, KILL, _short(rng)),
    CLOCK: lambda rng: (SECOND + second_instances.SKEWED, JUMP, 0.0),
    BIT: lambda _: (STORE, FLIP, 0.0),
}
