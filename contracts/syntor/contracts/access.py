"""NATS users and their permissions: one user (nkey) per service, with the least it needs.

What a service may append comes from the event table. A user's name is also the prefix of its inboxes, so that no user
reads another's replies. Only `admin` may create, change or delete streams, except the stream of heartbeats, which is
kept in memory and recreated by `registry` after a restart of the server; only `registry` may create the consumer of a
built-in agent's queue.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from syntor.contracts import subjects
from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.run.v1 import RunCancelled, RunFailed
from syntor.contracts.topology import (
    BLOBS,
    BLOBS_STREAM,
    DEAD_LETTERS,
    EVENTS,
    EXTERNAL_QUEUE,
    ORCHESTRATOR_DECISIONS,
    ORCHESTRATOR_TIMERS,
    PRESENCE,
    TIMERS,
    ConsumerSpec,
    task_queue_consumer,
)

ADMIN = "admin"
OBSERVER = "observer"
"""Reads the log and sees the services, for people with the NATS CLI."""
AGENT_PREFIX = "agent-"
USER_DEFINED = "user-defined"
EVERYTHING = ">"
SEED_SUFFIX = ".nk"
"""Suffix of a file with a user's seed; the stem is the user's name."""
_RUN_ENDS = [subjects.of_type(RunCancelled), subjects.of_type(RunFailed)]
_BLOBS = [f"$O.{BLOBS}.>"]


class NatsUser(msgspec.Struct, frozen=True, kw_only=True):
    """Permissions of one user."""

    name: str
    publish: list[str]
    """Subjects it may publish to."""
    publish_denied: list[str] = []
    """Exceptions of these."""
    subscribe: list[str]
    """Subjects it may subscribe to."""
    subscribe_denied: list[str] = []
    """Exceptions of these."""
    answers: bool = False
    """Whether it may respond to requests."""


def inbox_prefix(user: str) -> str:
    """Return the first token of a user's inboxes."""
    return f"_INBOX_{user}"


def users(agents: Iterable[str]) -> list[NatsUser]:
    """Return all users of a deployment.

    Args:
        agents: names of agent services, without `agent-`; each serves the queue of that name, `user-defined` any
            other queue.
    """
    names = list(agents)
    queues = [name for name in names if name != USER_DEFINED]
    known = [ORCHESTRATOR_DECISIONS.name, *(task_queue_consumer(name).name for name in queues)]
    services = ["ingress", "orchestrator", "registry", "projector", *(AGENT_PREFIX + name for name in queues)]
    return [
        NatsUser(name=ADMIN, publish=[EVERYTHING], subscribe=[EVERYTHING]),
        _observer(),
        _ingress(known),
        _orchestrator(),
        _registry(known),
        _projector(known),
        *(_user_defined(known, services, queues) if name == USER_DEFINED else _agent(name) for name in names),
    ]


def _observer() -> NatsUser:
    about = ("STREAM.NAMES", "STREAM.LIST", "STREAM.INFO.*", "STREAM.MSG.GET.*", "CONSUMER.LIST.*", "CONSUMER.NAMES.*")
    return NatsUser(
        name=OBSERVER,
        publish=[
            "$SRV.>",
            "$JS.API.INFO",
            "$JS.API.DIRECT.GET.>",
            "$JS.API.CONSUMER.INFO.>",
            *(f"$JS.API.{subject}" for subject in about),
        ],
        subscribe=["_INBOX.>", f"{inbox_prefix(OBSERVER)}.>", subjects.ALL_EVENTS, subjects.ALL_TIMERS],
    )


def _ingress(known: list[str]) -> NatsUser:
    return _service(
        "ingress",
        publish=[
            *subjects.written_by(["ingress"]),
            *(subjects.request(service, "*") for service in (rpc.REGISTRY, rpc.PROJECTOR)),
            *_tail(EVENTS),
            f"$JS.API.STREAM.INFO.{DEAD_LETTERS}",
            f"$JS.API.STREAM.MSG.GET.{DEAD_LETTERS}",
            f"$JS.API.STREAM.MSG.DELETE.{DEAD_LETTERS}",
            *_BLOBS,
        ],
        denied=_others(known),
    )


def _orchestrator() -> NatsUser:
    return _service(
        "orchestrator",
        publish=[
            *subjects.written_by(["orchestrator"]),
            subjects.timer_schedule("*", "*"),
            f"$JS.API.STREAM.PURGE.{TIMERS}",
            *_consumes(ORCHESTRATOR_DECISIONS),
            *_consumes(ORCHESTRATOR_TIMERS),
            *_BLOBS,
        ],
    )


def _registry(known: list[str]) -> NatsUser:
    others = [name for name in known if not name.startswith("agents-")]
    return _service(
        "registry",
        publish=[
            *subjects.written_by(["registry"]),
            subjects.dead_letter(EVENTS, rpc.REGISTRY),
            *_tail(EVENTS),
            *_tail(PRESENCE),
            f"$JS.API.STREAM.CREATE.{PRESENCE}",  # kept in memory: recreated after each restart of the server
            f"$JS.API.CONSUMER.INFO.{EVENTS}.*",
            *_BLOBS,
        ],
        denied=_others(others) + [f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS}.{name}" for name in known if name not in others],
    )


def _projector(known: list[str]) -> NatsUser:
    return _service(
        "projector",
        publish=[
            *subjects.written_by(["projector"]),
            *_tail(EVENTS),
            subjects.dead_letter(EVENTS, "projector"),
        ],
        denied=_others(known),
    )


def _agent(name: str) -> NatsUser:
    return _service(
        AGENT_PREFIX + name,
        publish=[
            *_works_on_tasks(),
            subjects.presence("*" if name == EXTERNAL_QUEUE else name, "*"),
            *_consumes(task_queue_consumer(name)),
            *_asks_instances(name),
            f"{inbox_prefix(AGENT_PREFIX + name)}.>",  # of its other instances, also after a stall
        ],
        subscribe=[*_RUN_ENDS, *_asks_instances(name)],
    )


def _user_defined(known: list[str], services: list[str], queues: list[str]) -> NatsUser:
    """Return the user that serves user-defined agents: any agent and any queue except the known ones."""
    queue = task_queue_consumer("*").name
    anything = [subject.replace(queue, "*") for subject in _consumes(task_queue_consumer("*"))]
    acks = [f"$JS.ACK.{place}{EVENTS}.{name}.>" for name in known for place in ("", "*.*.")]
    dead_lettering = [subjects.dead_letter(EVENTS, name) for name in (*known, rpc.PROJECTOR, rpc.REGISTRY)]
    return _service(
        AGENT_PREFIX + USER_DEFINED,
        publish=[
            *_works_on_tasks(),
            subjects.presence("*", "*"),
            *anything,
            *_asks_instances("*"),
            f"{inbox_prefix(AGENT_PREFIX + USER_DEFINED)}.>",
        ],
        denied=[*_others(known), *acks, *dead_lettering],
        subscribe=[*_RUN_ENDS, *_asks_instances("*")],
        deaf_to=[
            *(subjects.request(service, "*") for service in services),
            *(subject for queue in queues for subject in _asks_instances(queue)),
        ],
        serves="*",
    )


def _works_on_tasks() -> list[str]:
    return [*subjects.written_by(["agent"]), subjects.request(rpc.REGISTRY, "*"), *_BLOBS]


def _service(
    name: str,
    *,
    publish: list[str],
    denied: Iterable[str] = (),
    subscribe: Iterable[str] = (),
    deaf_to: Iterable[str] = (),
    serves: str = "",
) -> NatsUser:
    """Return a service's user: it may read the log, respond as `name` (or `serves`), and what is given."""
    reads = [f"$JS.API.STREAM.INFO.{EVENTS}", f"$JS.API.DIRECT.GET.{EVENTS}", f"$JS.API.DIRECT.GET.{EVENTS}.>"]
    reads += [f"$JS.API.STREAM.MSG.GET.{EVENTS}", f"$JS.API.STREAM.MSG.GET.{BLOBS_STREAM}"]  # of a leader
    reads += [f"$JS.API.STREAM.INFO.{BLOBS_STREAM}"]
    reads += [f"$JS.API.DIRECT.GET.{BLOBS_STREAM}", f"$JS.API.DIRECT.GET.{BLOBS_STREAM}.>"]
    listens = [f"{inbox_prefix(name)}.>", *subscribe]
    own = serves or name
    listens += [subjects.request(own, "*")]
    listens += [f"$SRV.{verb}{rest}" for verb in ("PING", "INFO", "STATS") for rest in ("", f".{own}", f".{own}.*")]
    return NatsUser(
        name=name,
        publish=list(dict.fromkeys([*reads, *publish])),
        publish_denied=list(denied),
        subscribe=listens,
        subscribe_denied=list(deaf_to),
        answers=True,
    )


def _consumes(spec: ConsumerSpec) -> list[str]:
    """Return what a durable consumer needs, including dead-lettering."""
    return [
        f"$JS.API.CONSUMER.INFO.{spec.stream}.{spec.name}",
        f"$JS.API.CONSUMER.MSG.NEXT.{spec.stream}.{spec.name}",
        f"$JS.ACK.{spec.stream}.{spec.name}.>",
        f"$JS.ACK.*.*.{spec.stream}.{spec.name}.>",
        subjects.dead_letter(spec.stream, spec.name),
        *subjects.written_by(["consumer"]),
    ]


def _asks_instances(queue: str) -> list[str]:
    """Return what instances that serve a queue need to ask each other what they hold."""
    return [subjects.instances(queue), subjects.instances(queue, "*")]


def _tail(stream: str) -> list[str]:
    """Return what an ordered read of a stream needs: an ephemeral consumer."""
    verbs = ("CREATE", "DELETE", "MSG.NEXT")
    return [f"$JS.API.STREAM.INFO.{stream}", *(f"$JS.API.CONSUMER.{verb}.{stream}.*" for verb in verbs)]


def _others(consumers: list[str]) -> list[str]:
    """Return what would touch consumers of other services, which the permissions of an ordered read would cover."""
    verbs = ("CREATE", "DELETE", "MSG.NEXT")
    return [f"$JS.API.CONSUMER.{verb}.{EVENTS}.{name}" for name in consumers for verb in verbs]
