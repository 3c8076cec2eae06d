"""Tests the permissions of each NATS user against a real server: tries every operation as every user.

`python -m syntor.faults.access` prints the matrix; exit code 1 when a result differs from the declared permissions.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from syntor.contracts import access, subjects
from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.run.v1 import RunCancelled
from syntor.contracts.topology import BLOBS, DEAD_LETTERS, EVENTS, PRESENCE, TIMERS, task_queue_consumer
from syntor.jetstream.access import Access
from syntor.jetstream.admin import apply_topology, ensure_consumer
from syntor.jetstream.client import HardenedClient, Message
from syntor.jetstream.connection import connect
from syntor.stack.nats_users import make_keys, render_users
from syntor.testing.nats_server import NatsServer

AGENTS = ("git", "worker", "user-defined", "external")
INGRESS, ORCHESTRATOR, REGISTRY, PROJECTOR = "ingress", "orchestrator", "registry", "projector"
GIT, WORKER, USER_DEFINED, EXTERNAL = (f"agent-{name}" for name in AGENTS)
_AGENTS = frozenset({GIT, WORKER, USER_DEFINED, EXTERNAL})
_SERVICES = frozenset({INGRESS, ORCHESTRATOR, REGISTRY, PROJECTOR}) | _AGENTS
_TAILS = (INGRESS, REGISTRY, PROJECTOR)  # may read the whole log: their ephemeral consumers have any name
_CONSUMER = "$JS.API.CONSUMER"
DEADLINE_S = 10.0
_PUBLISH, _SUBSCRIBE = "publish", "subscription"  # as the server names them in its errors


class Operation(msgspec.Struct, frozen=True):
    """One operation to try."""

    name: str
    subject: str
    allowed: frozenset[str]
    """Users that are permitted; `admin` always is."""
    verb: str = _PUBLISH


def _may(name: str, subject: str, *allowed: str) -> Operation:
    return Operation(name, subject, frozenset(allowed))


def _may_subscribe(name: str, subject: str, *allowed: str) -> Operation:
    return Operation(name, subject, frozenset(allowed), _SUBSCRIBE)


def _on_events() -> Iterable[Operation]:
    yield _may("start a run", subjects.event("run", "r1", "user_input"), INGRESS)
    yield _may("decide about a run", subjects.event("run", "r1", "run_done"), ORCHESTRATOR)
    yield _may("assign a task", subjects.event("run", "r1", "task_assigned", "git"), ORCHESTRATOR)
    yield _may("grant a session's turn", subjects.event("session", "s1", "turn_taken"), ORCHESTRATOR)
    yield _may("write a task", subjects.event("task", "r1.t1", "agent_invoke_done"), *_AGENTS)
    yield _may("write output", subjects.event("output", "r1.t1", "agent_stream_delta"), *_AGENTS)
    yield _may("reserve from a budget", subjects.event("budget", "b1", "budget_reserved"), *_AGENTS)
    yield _may("request a cancellation", subjects.event("request", "r1", "cancel_requested"), INGRESS)
    yield _may("decide an approval", subjects.event("request", "r1", "approval_decision", "a1"), INGRESS)
    yield _may("submit a tool's result", subjects.event("request", "r1", "tool_result_submitted", "c1"), INGRESS)
    dead_lettering = (ORCHESTRATOR, *_AGENTS)
    yield _may("report a dead letter", subjects.event("request", "r1", "message_dead_lettered", "p1"), *dead_lettering)
    yield _may("write an agent's events", subjects.event("agent", "git", "agent_registered"), REGISTRY)
    yield _may("send heartbeats of git", subjects.presence("git", "i1"), GIT, USER_DEFINED, EXTERNAL)
    yield _may("send heartbeats of worker", subjects.presence("worker", "i1"), WORKER, USER_DEFINED, EXTERNAL)


def _on_services() -> Iterable[Operation]:
    yield _may("call the registry", subjects.request(rpc.REGISTRY, rpc.REGISTER_AGENT), INGRESS, *_AGENTS)
    yield _may("call the projector", subjects.request(rpc.PROJECTOR, rpc.LIST_RUNS), INGRESS)
    yield _may_subscribe("serve as registry", subjects.request(rpc.REGISTRY, rpc.REGISTER_AGENT), REGISTRY)
    yield _may_subscribe("serve as projector", subjects.request(rpc.PROJECTOR, rpc.LIST_RUNS), PROJECTOR)
    yield _may("discover services", "$SRV.PING", access.OBSERVER)


def _on_the_log() -> Iterable[Operation]:
    yield _may("read the log", f"$JS.API.DIRECT.GET.{EVENTS}", access.OBSERVER, *_SERVICES)
    yield _may("read the log from its leader", f"$JS.API.STREAM.MSG.GET.{EVENTS}", access.OBSERVER, *_SERVICES)
    yield _may_subscribe("subscribe to the log", subjects.ALL_EVENTS, access.OBSERVER)
    yield _may_subscribe("subscribe to ends of runs", subjects.of_type(RunCancelled), access.OBSERVER, *_AGENTS)
    for user in (INGRESS, GIT):
        yield _may_subscribe(f"read replies to {user}", f"{access.inbox_prefix(user)}.x", user)
    yield _may("follow the log", f"{_CONSUMER}.CREATE.{EVENTS}.tail-x", *_TAILS)
    yield _may("follow heartbeats", f"{_CONSUMER}.CREATE.{PRESENCE}.tail-x", REGISTRY)


def _on_consumers() -> Iterable[Operation]:
    yield _may("pull decision triggers", f"{_CONSUMER}.MSG.NEXT.{EVENTS}.orchestrator-decisions", ORCHESTRATOR)
    yield _may("ack decision triggers", f"$JS.ACK.{EVENTS}.orchestrator-decisions.1.1.1.1.0", ORCHESTRATOR)
    yield _may("change the decisions' consumer", f"{_CONSUMER}.CREATE.{EVENTS}.orchestrator-decisions")
    yield _may("delete the decisions' consumer", f"{_CONSUMER}.DELETE.{EVENTS}.orchestrator-decisions")
    for agent, user in (("git", GIT), ("worker", WORKER)):
        queue = task_queue_consumer(agent).name
        yield _may(f"pull tasks of {agent}", f"{_CONSUMER}.MSG.NEXT.{EVENTS}.{queue}", user)
        yield _may(f"ack tasks of {agent}", f"$JS.ACK.{EVENTS}.{queue}.1.1.1.1.0", user)
        yield _may(f"create the queue of {agent}", f"{_CONSUMER}.CREATE.{EVENTS}.{queue}", REGISTRY)
    yield _may(
        "pull tasks of a user-defined agent", f"{_CONSUMER}.MSG.NEXT.{EVENTS}.agents-poet", USER_DEFINED, *_TAILS
    )
    yield _may("ack tasks of a user-defined agent", f"$JS.ACK.{EVENTS}.agents-poet.1.1.1.1.0", USER_DEFINED)


def _on_streams() -> Iterable[Operation]:
    yield _may("set a timer", subjects.timer_schedule("r1", "x"), ORCHESTRATOR)
    yield _may("fire a timer", subjects.timer_fired("r1", "x"))
    yield _may("purge timers", f"$JS.API.STREAM.PURGE.{TIMERS}", ORCHESTRATOR)
    yield _may("dead-letter a trigger", subjects.dead_letter(EVENTS, "orchestrator-decisions"), ORCHESTRATOR)
    yield _may("dead-letter an event of a read model", subjects.dead_letter(EVENTS, "projector"), PROJECTOR)
    yield _may("dead-letter an event of an agent", subjects.dead_letter(EVENTS, "registry"), REGISTRY)
    yield _may("dead-letter a task of git", subjects.dead_letter(EVENTS, "agents-git"), GIT)
    yield _may("read dead letters", f"$JS.API.STREAM.MSG.GET.{DEAD_LETTERS}", INGRESS, access.OBSERVER)
    yield _may("drop a dead letter", f"$JS.API.STREAM.MSG.DELETE.{DEAD_LETTERS}", INGRESS)
    yield _may("store a large payload", f"$O.{BLOBS}.C.x", INGRESS, ORCHESTRATOR, REGISTRY, *_AGENTS)
    yield _may("create the heartbeats' stream", f"$JS.API.STREAM.CREATE.{PRESENCE}", REGISTRY)
    for verb in ("CREATE", "UPDATE", "DELETE", "PURGE"):
        yield _may(f"{verb.lower()} the log", f"$JS.API.STREAM.{verb}.{EVENTS}")
    yield _may("delete an event", f"$JS.API.STREAM.MSG.DELETE.{EVENTS}")
    yield _may("restore the log", f"$JS.API.STREAM.RESTORE.{EVENTS}")


OPERATIONS = (*_on_events(), *_on_services(), *_on_the_log(), *_on_consumers(), *_on_streams())


async def try_all(folder: Path) -> dict[tuple[str, str], bool]:
    """Return for each operation and user whether the server permitted it."""
    users = access.users(AGENTS)
    keys = folder / "keys"
    make_keys(keys, users)
    with NatsServer(folder / "nats", extra=render_users(keys, AGENTS)) as server:
        admin = await connect(server.url, "syntor/faults", access=Access(nkey=str(keys / "admin.nk")))
        await apply_topology(admin)
        for agent in AGENTS:
            await ensure_consumer(admin, task_queue_consumer(agent))
        await admin.close()
        passed: dict[tuple[str, str], bool] = {}
        for user in users:
            passed |= await _try(server.url, keys / f"{user.name}.nk", user.name)
        return passed


async def _try(url: str, key: Path, user: str) -> dict[tuple[str, str], bool]:
    refusals: list[str] = []

    async def on_error(exc: Exception) -> None:
        refusals.append(str(exc).lower())

    access_ = Access(nkey=str(key))
    client = HardenedClient()
    await client.open(on_error, servers=[url], inbox_prefix=access_.inbox_prefix, **access_.options(url))
    passed: dict[tuple[str, str], bool] = {}
    try:
        for operation in OPERATIONS:
            if operation.verb == _PUBLISH:
                await client.publish(operation.subject, b"?")
            else:
                await client.subscribe_direct(operation.subject, _ignore)
            taken: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            await client.ping(taken)
            await asyncio.wait_for(taken, DEADLINE_S)
            about = (
                f'{operation.verb if operation.verb == _PUBLISH else "subscription"} to "{operation.subject.lower()}"'
            )
            passed[operation.name, user] = not any(about in text for text in refusals)
    finally:
        await client.close()
    return passed


def _ignore(_: Message) -> None:
    """Ignore the message: only the permission is tested."""


def unexpected(passed: dict[tuple[str, str], bool]) -> list[str]:
    """Return a line for each result that differs from the declared permissions."""
    allowed = {operation.name: operation.allowed | {access.ADMIN} for operation in OPERATIONS}
    return [
        f"{user}: {name}: {'permitted' if permitted else 'denied'}"
        for (name, user), permitted in passed.items()
        if permitted != (user in allowed[name])
    ]


def table(passed: dict[tuple[str, str], bool]) -> str:
    """Return the matrix as text: a row for each operation, a column for each user, `x` where it was permitted."""
    users = list(dict.fromkeys(user for _, user in passed))
    width = max(len(operation.name) for operation in OPERATIONS)
    lines = [f"{'':{width}}  {'  '.join(users)}"]
    for operation in OPERATIONS:
        marks = (("x" if passed[operation.name, user] else ".").center(len(user)) for user in users)
        lines.append(f"{operation.name:{width}}  {'  '.join(marks)}".rstrip())
    return "\n".join(lines)


def main() -> int:
    """Try every operation as every user and print the matrix."""
    with tempfile.TemporaryDirectory(prefix="syntor-access-") as folder:
        passed = asyncio.run(try_all(Path(folder)))
    wrong = unexpected(passed)
    permitted = sum(passed.values())
    sys.stdout.write(
        f"{table(passed)}\n\n{len(passed)} tried, {permitted} permitted, {len(passed) - permitted} denied\n"
    )
    for text in wrong:
        sys.stderr.write(f"unexpected: {text}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
