"""Puts tasks into a store and works on them, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from syntor.agentkit.chat_agent import chat_agent
from syntor.agentkit.checkpoints.keeper import Keeper
from syntor.agentkit.execution.budget_store import BudgetStore
from syntor.agentkit.manifest import Manifest
from syntor.agentkit.model_resolver import ModelResolver
from syntor.agentkit.tools.catalog import all_tools
from syntor.agentkit.worker.task_context_factory import TaskContextFactory
from syntor.agentkit.worker.task_worker import Invoke, TaskWorker
from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.clock import now
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import NotFoundError
from syntor.contracts.events import TASK_END_EVENTS, Event
from syntor.contracts.ids import new_id
from syntor.contracts.run.v1 import RunDone, RunFailed, RunStarted, TaskAssigned, UserInput
from syntor.contracts.session.v1 import TurnTaken
from syntor.contracts.task.v1 import AgentInvokeDone
from syntor.eventsourcing.store import EventStore, NewEvent, Recorded
from syntor.jetstream.consumer import Delivery
from syntor.jetstream.instances import Standing

AT = datetime(2026, 11, 21, tzinfo=UTC)
MANIFEST = Manifest(id="worker", name="Worker", description="-", prompt="-", tools=["list_directory"])


async def put(
    store: EventStore, run_id: str, *events: Event, version: int = 0, revision: int | None = 0, first: int = 1
) -> int:
    """Append events to a run, in order, and return the position of the last.

    Args:
        first: position of the run's first event.
        version: of the run's last event.
        revision: position of the run's last event; None: whatever it is.
    """
    position = 0
    for number, event in enumerate(events, version + 1):
        new = NewEvent(
            aggregate_id=run_id,
            event=event,
            message_id=new_id(),
            source="test",
            time=AT,
            version=number,
            lineage=Lineage(run_id=run_id, session_id="s1", first_position=first),
        )
        position = await store.append(new, revision)
        revision = position if revision is not None else None
    return position


async def assign(store: EventStore, request: UserInput, run_id: str = "r1") -> Recorded:
    """Put a run with an assigned task `t1` into an empty log, and return the assignment."""
    assigned = TaskAssigned(task_id="t1", agent=request.agent, queue=request.queue)
    position = await put(store, run_id, request, RunStarted(agent=request.agent), assigned)
    recorded = await store.get(position)
    if recorded is None:
        raise NotFoundError(f"nothing at {position}")
    return recorded


async def take_turn(store: EventStore, worker: TaskWorker, request: UserInput, earlier: list[str]) -> Event:
    """Add one run to a session, have its task worked on, end the run, and return how the task ended.

    Args:
        earlier: earlier runs of the session, oldest first; the new one is added.
    """
    run_id = f"r{len(earlier) + 1}"
    first = await put(store, run_id, request)
    started = RunStarted(agent=request.agent, history=earlier[-50:])
    assigned = TaskAssigned(task_id="t1", agent=request.agent, queue=request.queue)
    await put(store, "s1", TurnTaken(run_id=run_id), revision=None)
    position = await put(store, run_id, started, assigned, version=1, revision=first, first=first)
    assignment = await store.get(position)
    assert assignment is not None
    await worker.handle(delivery(assignment))
    ended = await store.last_of_each([subjects.of_type(kind, f"{run_id}.t1") for kind in TASK_END_EVENTS])
    end = ended[-1].event
    done = (
        RunDone(final_message=end.final_message, task_id="t1")
        if isinstance(end, AgentInvokeDone)
        else RunFailed(code="x", message="x")
    )
    await put(store, run_id, done, version=3, revision=position, first=first)
    earlier.append(run_id)
    return end


def task_worker(
    store: EventStore,
    home: Path,
    *,
    manifest: Manifest = MANIFEST,
    invoke: Invoke | None = None,
    agents: Mapping[str, AgentProfile] | None = None,
    instance: str = "i1",
    standing: Standing = "gone",
    checkpoints: Keeper | None = None,
) -> TaskWorker:
    """Return a worker of an agent on the scripted model.

    Args:
        invoke: its function; None: the chat agent.
        agents: agents the registry knows, by id.
        standing: what any other instance is said to be.
        checkpoints: keeps states of workspaces; None: none are kept.
    """
    models = ModelResolver(manifest.id, "", [], home, {"SYNTOR_INFERENCE_PROVIDER": "scripted"})
    tools = {name: tool for name, tool in all_tools().items() if name in manifest.tools}
    budgets = BudgetStore(store, f"agent-{manifest.id}", now)
    peers = StaticPeers(agents or {})
    contexts = TaskContextFactory(manifest, store, models, tools, peers, budgets, checkpoints=checkpoints)

    async def ask_standing(_: str, __: int) -> Standing:
        return standing

    return TaskWorker(manifest.id, instance, invoke or chat_agent(manifest), store, contexts, ask_standing)


async def no_other_instance(_: str, __: int) -> Standing:
    """Return that no other instance is connected."""
    return "gone"


class StaticPeers:
    """`PeerDirectory` from a dict."""

    def __init__(self, agents: Mapping[str, AgentProfile]) -> None:
        self._agents = agents

    async def find(self, agent: str) -> AgentProfile:
        """Return the profile of an agent."""
        if agent not in self._agents:
            raise NotFoundError(f"no agent {agent!r}; there are: {', '.join(self._agents) or 'none'}")
        return self._agents[agent]

    async def all(self) -> list[AgentProfile]:
        """Return the profiles of all agents."""
        return list(self._agents.values())


def delivery(recorded: Recorded, attempt: int = 1) -> Delivery:
    """Return a message as the consumer passes it to a handler, never stale."""
    return Delivery(recorded=recorded, attempt=attempt, last=False, recorded_at_ns=2**62)
