"""What a seed stands for: runs and their requests, faults, and how the network behaves. Pure."""

from __future__ import annotations

import random
from typing import Any, Literal

import msgspec

Action = Literal["crash", "stop", "stall", "cut", "silence", "server_restart", "no_leader", "clock"]
AGENT, TEAM = "worker", "coordination"
SERVICES = ("orchestrator", "registry", "projector", f"agent-{AGENT}", f"agent-{TEAM}")
_ACTIONS: tuple[Action, ...] = ("crash", "stop", "stall", "cut", "silence", "server_restart", "no_leader", "clock")
_SHARES = (30, 6, 22, 18, 6, 6, 10, 2)


class Fault(msgspec.Struct, frozen=True):
    """One fault."""

    at_s: float
    """Seconds after the first run was accepted."""
    action: Action
    target: str
    """Instance, such as `orchestrator-1`; empty: the server."""
    duration_s: float
    """Of a stall, of what the server does; until a crashed process starts again."""


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One response of the simulated model."""

    text: str = "done"
    words: int = 1
    """Pieces the text is streamed in."""
    pause_s: float = 0.0
    """Before each piece."""
    calls: list[dict[str, Any]] = []
    """Tool calls, each with name and arguments."""
    error: str = ""
    """Code of the error it ends in."""


class Script(msgspec.Struct, frozen=True):
    """What the model does in one task: the input of the task, as JSON."""

    tag: str
    """Unique among all tasks."""
    steps: list[Step]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run and what its client does."""

    number: int
    kind: str
    agent: str
    script: Script
    session: str
    at_s: float
    approve: bool = True
    """The decision on its approvals."""
    decide_after_s: float = 0.5
    cancel_after_s: float | None = None
    max_tokens: int | None = None
    max_wall_time_s: float | None = None
    timeout_s: float = 300.0


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a seed decides beforehand."""

    seed: int
    runs: list[Run]
    faults: list[Fault]
    delay_s: float
    """Typical delay of a message."""
    slow_share: float
    """Share of messages that take much longer."""
    replicas: int
    instances: list[tuple[str, str]]
    """Service and name of every instance."""


def scenario(seed: int) -> Scenario:
    """Return what a seed stands for: the same for the same seed."""
    rng = random.Random(f"scenario {seed}")
    runs = [_run(rng, number) for number in range(rng.choice((1, 2, 3, 3, 4)))]
    counts = {"orchestrator": rng.choice((1, 2, 2, 2)), "projector": rng.choice((1, 1, 2))}
    counts[f"agent-{AGENT}"] = rng.choice((1, 2, 2))
    instances = [
        (service, f"{service}-{number}") for service in SERVICES for number in range(1, counts.get(service, 1) + 1)
    ]
    count = rng.choice((0, 1, 2, 3, 4, 6))
    span_s = rng.choice((2.0, 8.0, 25.0))
    return Scenario(
        seed=seed,
        runs=runs,
        faults=sorted((_fault(rng, span_s, instances) for _ in range(count)), key=lambda fault: fault.at_s),
        delay_s=rng.choice((0.0005, 0.002, 0.01)),
        slow_share=rng.choice((0.0, 0.01, 0.05)),
        replicas=rng.choice((1, 1, 1, 3)),
        instances=instances,
    )


def _fault(rng: random.Random, span_s: float, instances: list[tuple[str, str]]) -> Fault:
    action = rng.choices(_ACTIONS, _SHARES)[0]
    at_s = rng.random() * span_s
    if action in ("server_restart", "no_leader"):
        return Fault(at_s, action, "", rng.choice((0.1, 1.0, 6.0)) * (0.5 + rng.random()))
    names = [name for service, name in instances if service != "registry" or rng.random() < 0.3]
    target = rng.choice([*names, "client"]) if action in ("cut", "silence") else rng.choice(names)
    match action:
        case "stall":
            duration_s = rng.choice((1.0, 3.0, 8.0, 30.0)) * (0.7 + rng.random())
        case "silence":
            duration_s = 2.0 + 18.0 * rng.random()
        case "clock":
            duration_s = rng.choice((-3.0, 3.0))
        case _:
            duration_s = rng.choice((0.2, 1.0, 4.0)) * (0.5 + rng.random())
    return Fault(at_s, action, target, duration_s)


def _run(rng: random.Random, number: int) -> Run:
    kind = rng.choices(
        ("chat", "stream", "tool", "approval", "long", "delegate", "plan", "fail", "budget", "timeout"),
        (18, 12, 20, 16, 8, 10, 8, 4, 6, 4),
    )[0]
    tag = f"r{number}"
    run = Run(
        number=number,
        kind=kind,
        agent=TEAM if kind in ("delegate", "plan") else AGENT,
        script=Script(tag, _steps(rng, kind, tag)),
        session=f"s{rng.randrange(2)}",
        at_s=rng.choice((0.0, 0.0, rng.random(), 3.0 * rng.random())),
        approve=rng.random() < 0.8,
        decide_after_s=rng.choice((0.0, 0.5, 4.0)) * rng.random(),
        cancel_after_s=rng.choice((0.0, 0.3, 3.0)) * rng.random() if rng.random() < 0.15 else None,
        max_tokens=rng.choice((60, 400)) if kind == "budget" else None,
        max_wall_time_s=rng.choice((2.0, 6.0)) if kind == "timeout" else None,
        timeout_s=5.0 if kind == "timeout" and rng.random() < 0.5 else 300.0,
    )
    return run


def _ring(rng: random.Random, *, ask: bool = False, seconds: float | None = None) -> dict[str, Any]:
    seconds = rng.choice((0.0, 0.2, 1.5)) if seconds is None else seconds
    return {"name": "ask_ring" if ask else "ring", "arguments": {"seconds": round(seconds, 3)}}


def _steps(rng: random.Random, kind: str, tag: str) -> list[Step]:
    pause_s = rng.choice((0.0, 0.05, 0.4))
    answer = Step(words=2, pause_s=pause_s)
    match kind:
        case "stream":
            return [Step(words=rng.randrange(3, 9), pause_s=rng.choice((0.03, 0.2, 1.0)))]
        case "tool":
            calls = [_ring(rng) for _ in range(rng.choice((1, 1, 2)))]
            return [Step(calls=calls, pause_s=pause_s), *([Step(calls=[_ring(rng)])] * rng.choice((0, 1))), answer]
        case "approval":
            return [Step(calls=[_ring(rng, ask=True)]), answer]
        case "long":
            seconds = rng.choice((8.0, 25.0, 45.0))
            if rng.random() < 0.5:
                return [Step(calls=[_ring(rng, seconds=seconds)]), answer]
            return [Step(words=4, pause_s=seconds / 4)]
        case "delegate":
            return [Step(calls=[_delegate(rng, f"{tag}-d{n}") for n in range(rng.choice((1, 2)))]), answer]
        case "plan":
            steps = [
                {
                    "id": f"p{n}",
                    "agent": AGENT,
                    "action": _child(rng, f"{tag}-p{n}"),
                    "depends_on": [f"p{n - 1}"] if n and rng.random() < 0.5 else [],
                }
                for n in range(rng.choice((2, 3)))
            ]
            return [Step(calls=[{"name": "plan", "arguments": {"summary": "steps", "steps": steps}}]), answer]
        case "fail":
            return [Step(error=rng.choice(("model_unavailable", "bad_response")), words=2)]
        case "timeout":
            return [Step(words=3, pause_s=rng.choice((0.5, 4.0)))]
        case _:
            return [answer]


def _child(rng: random.Random, tag: str) -> str:
    steps = _steps(rng, rng.choice(("chat", "tool", "stream")), tag)
    return msgspec.json.encode(Script(tag, steps)).decode()


def _delegate(rng: random.Random, tag: str) -> dict[str, Any]:
    return {"name": "delegate", "arguments": {"agent": AGENT, "task": _child(rng, tag)}}
