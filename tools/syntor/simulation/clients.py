"""The clients of a simulated world, as the ingress acts for them: runs, decisions, cancellations."""

from __future__ import annotations

import asyncio

import msgspec

from syntor.contracts.clock import now
from syntor.contracts.envelope import Lineage
from syntor.contracts.errors import InfrastructureError, NotFoundError, RevisionConflictError
from syntor.contracts.events import Event
from syntor.contracts.ids import derived_id, new_id
from syntor.contracts.request.v1 import ApprovalDecision, CancelRequested
from syntor.contracts.rpc.v1 import GET_AGENT, REGISTRY, AgentView, GetAgent
from syntor.contracts.run.v1 import Budget, Permissions, UserInput
from syntor.contracts.task.v1 import ApprovalRequired
from syntor.eventsourcing.store import NewEvent, Recorded
from syntor.jetstream.connection import Connection
from syntor.jetstream.requests import call
from syntor.jetstream.store import JetStreamStore
from syntor.simulation.scenario import AGENT, TEAM, Run, Scenario

WORKSPACE = "/nonexistent"
_RETRY_S = 0.5
_encode = msgspec.json.Encoder().encode


class Clients:
    """Everyone who uses this Syntor."""

    def __init__(self, connection: Connection, plan: Scenario) -> None:
        self.accepted: dict[str, tuple[Run, int]] = {}
        """Runs that were accepted with their position, by run id."""
        self.started = asyncio.Event()
        """Set once the agents are known and the first run may be sent."""
        self._connection = connection
        self._plan = plan
        self._store = JetStreamStore(connection)
        self._sent: dict[str, Run] = {}
        self._deciding: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send every run at its time; return when all are accepted."""
        for agent in (AGENT, TEAM):
            await self._until_registered(agent)
        self.started.set()
        await asyncio.gather(*(self._send(run) for run in self._plan.runs))

    async def _until_registered(self, agent: str) -> None:
        while True:
            try:
                await call(self._connection, REGISTRY, GET_AGENT, GetAgent(agent_id=agent), AgentView, timeout_s=2.0)
                return
            except (NotFoundError, InfrastructureError):
                await asyncio.sleep(0.1)

    async def _send(self, run: Run) -> None:
        await asyncio.sleep(run.at_s)
        run_id = derived_id("run", f"{self._plan.seed}-{run.number}")
        self._sent[run_id] = run
        request = UserInput(
            agent=run.agent,
            queue=run.agent,
            content=_encode(run.script).decode(),
            workspace=WORKSPACE,
            timeout_s=run.timeout_s,
            permissions=Permissions(mode="auto", ask=["ask_ring"]),
            budget=Budget(max_tokens=run.max_tokens, max_wall_time_s=run.max_wall_time_s),
        )
        lineage = Lineage(run_id=run_id, session_id=run.session, correlation_id=f"c-{run.number}")
        position = await self._append(request, run_id, lineage, 1)
        self.accepted[run_id] = run, position
        if run.cancel_after_s is not None:
            await asyncio.sleep(run.cancel_after_s)
            cancelling = CancelRequested(reason="enough", requested_by="client")
            await self._append(cancelling, run_id, msgspec.structs.replace(lineage, first_position=position), 0)

    async def _append(self, event: Event, run_id: str, lineage: Lineage, version: int) -> int:
        """Append as the ingress does, until it is known to be stored: a client repeats a request."""
        while True:
            new = NewEvent(
                aggregate_id=run_id,
                event=event,
                message_id=new_id(),
                source="ingress",
                time=now(),
                version=version,
                lineage=lineage,
            )
            try:
                return await self._store.append(new, 0)
            except RevisionConflictError:
                stored = await self._first(new)
                if stored is not None:
                    return stored.position
            except InfrastructureError:
                pass
            await asyncio.sleep(_RETRY_S)

    async def _first(self, new: NewEvent) -> Recorded | None:
        try:
            return await self._store.last(new.subject)
        except InfrastructureError:
            return None

    def decide(self, required: Recorded) -> None:
        """Decide an approval after a while, twice: the first decision counts."""
        assert isinstance(required.event, ApprovalRequired)
        run = self._sent[required.envelope.runid]
        for number in range(2):
            task = asyncio.get_running_loop().create_task(self._decide(run, required, again=bool(number)))
            self._deciding.add(task)
            task.add_done_callback(self._deciding.discard)

    async def _decide(self, run: Run, required: Recorded, *, again: bool) -> None:
        event, envelope = required.event, required.envelope
        assert isinstance(event, ApprovalRequired)
        await asyncio.sleep(run.decide_after_s + 0.01 * again)
        decision = ApprovalDecision(
            approval_id=event.approval_id,
            approved=run.approve != again,
            content_hash=event.content_hash,
            decided_by="second" if again else "first",
        )
        lineage = Lineage(
            run_id=envelope.runid,
            session_id=envelope.sessionid,
            correlation_id=envelope.correlationid,
            first_position=envelope.firstposition,
        )
        await self._append(decision, envelope.runid, lineage, 0)
