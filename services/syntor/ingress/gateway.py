"""Access of all handlers to the log, the hub, the agent directory and other services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.clock import now
from syntor.contracts.envelope import Lineage, decode_envelope, encode_envelope
from syntor.contracts.errors import ConflictError, NotFoundError, NotReachableError, SyntorError
from syntor.contracts.events import TERMINAL_RUN_TYPES, Event
from syntor.contracts.http.v1 import DeadLetter
from syntor.contracts.ids import new_id
from syntor.contracts.request.v1 import RequestEvent
from syntor.contracts.rpc.v1 import GET_AGENT, REGISTRY, GetAgent
from syntor.contracts.run.v1 import UserInput
from syntor.contracts.task.v1 import LlmCallDone, LlmCallStarted
from syntor.contracts.topology import DEAD_LETTERS, EVENTS
from syntor.directory.agents import AgentDirectory
from syntor.eventsourcing.aggregate import append_next
from syntor.eventsourcing.store import NewEvent, RawEvent, Recorded
from syntor.ingress.feed.hub import Hub
from syntor.ingress.feed.subscription import Subscription
from syntor.ingress.http.context import RequestContext
from syntor.ingress.http.errors import BeyondLogError
from syntor.jetstream.admin import stream_state
from syntor.jetstream.connection import Connection
from syntor.jetstream.dead_letters import drop, letter_of, letters
from syntor.jetstream.requests import call
from syntor.jetstream.store import JetStreamStore

CONNECT_WAIT_S = 3.0  # a restart of NATS on one machine takes about one second
CALL_TIMEOUT_S = 5.0
SOURCE = "ingress"
_RAW: Any = msgspec.Raw  # replies are passed on as they are


class _Registered(msgspec.Struct):
    """The part of an `AgentView` that is read."""

    profile: AgentProfile


class RunBounds(msgspec.Struct, frozen=True):
    """First and terminal event of a run."""

    first: Recorded
    """Its `user_input`."""
    last: Recorded | None
    """Its terminal event, None while it has not ended."""

    @property
    def request(self) -> UserInput:
        """The request that created it."""
        assert isinstance(self.first.event, UserInput)
        return self.first.event

    def require_open(self) -> None:
        """Check that the run has not ended.

        Raises:
            ConflictError: it has.
        """
        if self.last is not None:
            raise ConflictError(f"run {self.last.envelope.runid!r} has already ended: {self.last.envelope.type}")


def request(context: RequestContext, event: RequestEvent, run_id: str, run: RunBounds) -> NewEvent:
    """Return a request event about a run, to append."""
    first = run.first
    return NewEvent(
        aggregate_id=run_id,
        event=event,
        message_id=new_id(),
        source=SOURCE,
        time=now(),
        version=0,
        lineage=context.lineage(
            run_id=run_id,
            session_id=first.envelope.sessionid,
            correlation_id=first.envelope.correlationid,
            first_position=first.position,
        ),
    )


def session_lineage(context: RequestContext, session_id: str) -> Lineage:
    """Return the lineage of an event of a session that a request causes."""
    return context.lineage(session_id=session_id, correlation_id=context.trace_id)


class Gateway:
    """The log, the hub, the agent directory and other services."""

    def __init__(self, connection: Connection, store: JetStreamStore, hub: Hub, directory: AgentDirectory) -> None:
        self.hub = hub
        self.directory = directory
        self._connection = connection
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._store = store

    async def append(self, new: NewEvent, expected_revision: int | None) -> int:
        """Append to the log; while NATS is disconnected, wait briefly before anything is sent.

        Raises:
            InfrastructureError: as `EventStore.append`.
        """
        await self._wait_connected()
        return await self._store.append(new, expected_revision)

    async def append_next(self, event: Event, aggregate_id: str, lineage: Lineage) -> int:
        """Append an event after the last one of its aggregate, and return its position; errors as `append`."""
        await self._wait_connected()
        return await append_next(self._store, event, aggregate_id, lineage, SOURCE, now())

    async def append_first(self, event: Event, aggregate_id: str, lineage: Lineage) -> int:
        """Append the first event of an aggregate, and return its position.

        Raises:
            RevisionConflictError: the aggregate has one already.
            InfrastructureError: as `EventStore.append`.
        """
        new = NewEvent(
            aggregate_id=aggregate_id,
            event=event,
            message_id=new_id(),
            source=SOURCE,
            time=now(),
            version=1,
            lineage=lineage,
        )
        return await self.append(new, 0)

    async def append_request(self, new: NewEvent) -> int:
        """Append the first event under its subject, and return its position.

        Raises:
            RevisionConflictError: there is one already.
            InfrastructureError: as `EventStore.append`.
        """
        position = await self.append(new, 0)
        self.hub.record_position(new.lineage.run_id, position)
        return position

    async def _wait_connected(self) -> None:
        if not self._connection.is_connected and not await self._connection.wait_connected(CONNECT_WAIT_S):
            raise NotReachableError(f"NATS at {self._connection.url} is unavailable; nothing was stored")

    async def newest_context(self, run_id: str) -> tuple[Recorded, Recorded | None] | None:
        """Return a run's newest call of a model whose prompt is recorded, and the newest end of a call of that task.

        Raises:
            InfrastructureError: the log could not be read.
        """
        found = await self._store.last_of_each([subjects.of_type(LlmCallStarted, f"{run_id}.*")])
        for started in reversed(found):
            if isinstance(started.event, LlmCallStarted) and started.event.context:
                task = started.envelope.subject.removeprefix("task.")
                return started, await self._store.last(subjects.of_type(LlmCallDone, task))
        return None

    async def find_run(self, run_id: str) -> RunBounds | None:
        """Return first and terminal event of a run, or None where there is no such run."""
        filters = [subjects.event("run", run_id, type_) for type_ in ("user_input", *sorted(TERMINAL_RUN_TYPES))]
        found = await self._store.last_of_each(filters)
        if not found or not isinstance(found[0].event, UserInput):
            return None
        return RunBounds(found[0], found[-1] if len(found) > 1 else None)

    async def run(self, run_id: str) -> RunBounds:
        """Return first and terminal event of a run.

        Raises:
            NotFoundError: no such run.
        """
        bounds = await self.find_run(run_id)
        if bounds is None:
            raise NotFoundError(f"no run {run_id!r}")
        return bounds

    async def task_events(self, run_id: str, task_id: str, type_: str) -> list[Recorded]:
        """Return the events of one type of a task, oldest first."""
        filter_subject = subjects.event("task", subjects.task_id(run_id, task_id), type_)
        return [recorded async for recorded in self._store.load(filter_subject)]

    async def last(self, filter_subject: str, up_to: int | None = None) -> Recorded | None:
        """Return the last event that matches, up to a position where one is given, or None."""
        if up_to is None:
            return await self._store.last(filter_subject)
        found = await self._store.last_of_each([filter_subject], up_to)
        return found[-1] if found else None

    async def stored(self, position: int) -> RawEvent | None:
        """Return the message at a position, not decoded, or None."""
        return await self._store.get_raw(position)

    async def log_end(self) -> int:
        """Return the last position of the log, as its server has it now."""
        return (await stream_state(self._connection, EVENTS)).last

    async def require_position(self, field: str, position: int) -> None:
        """Check that the log has reached a position a client names.

        Raises:
            BeyondLogError: it has not.
        """
        if position > self.hub.position and position > (end := await self.log_end()):
            raise BeyondLogError(field, position, end)

    async def dead_letters(self, before: int, limit: int) -> tuple[list[DeadLetter], int | None]:
        """Return dead letters, newest first, and the cursor of the next page.

        Raises:
            BeyondLogError: there never was a dead letter of the number `before`.
        """
        end = (await stream_state(self._connection, DEAD_LETTERS)).last
        if before > end:
            raise BeyondLogError("cursor", before, end)
        return await letters(self._connection, before=before, limit=limit)

    async def dead_letter(self, number: int) -> DeadLetter | None:
        """Return one dead letter, or None."""
        return await letter_of(self._connection, number)

    async def drop_dead_letter(self, number: int) -> None:
        """Remove one dead letter."""
        await drop(self._connection, number)

    async def find_agent(self, name: str, context: RequestContext) -> AgentProfile:
        """Return an agent by id or alias; one the directory does not have yet is requested from the registry.

        Raises:
            NotFoundError: there is none; names the registered ones.
        """
        profile = self.directory.find(name)
        if profile is not None:
            return profile
        try:
            body = await self.call(REGISTRY, GET_AGENT, GetAgent(agent_id=name), context)
        except NotFoundError:
            raise
        except SyntorError:
            return self.directory.resolve(name)  # the registry is unavailable: the directory decides
        return msgspec.json.decode(body, type=_Registered).profile

    def history(self, filter_subject: str, after: int, up_to: int | None) -> AsyncIterator[RawEvent]:
        """Yield stored messages, not decoded, oldest first."""
        return self._store.load_raw(filter_subject, after, up_to)

    def subscribe_run(self, run_id: str, after: int = 0) -> Subscription:
        """Return a subscription to everything about a run after a position."""
        return Subscription(self.hub, self.history, subjects.run_everything(run_id), run_id=run_id, after=after)

    def subscribe(self, filter_subject: str, after: int) -> Subscription:
        """Return a subscription to what matches a filter after a position."""
        return Subscription(self.hub, self.history, filter_subject, after=after)

    async def hydrate(self, message: RawEvent) -> RawEvent:
        """Return a message with its data inline where the log keeps it as a blob."""
        envelope = decode_envelope(message.payload)
        if not envelope.dataref:
            return message
        whole = await self._store.recorded.hydrate(envelope)
        return RawEvent(message.position, message.subject, encode_envelope(whole))

    async def call(self, service: str, endpoint: str, request: msgspec.Struct, context: RequestContext) -> bytes:
        """Send a request to a service and return its reply, not decoded.

        Raises:
            SyntorError: the service refused, or is not reachable.
        """
        raw = await call(
            self._connection,
            service,
            endpoint,
            request,
            _RAW,
            timeout_s=CALL_TIMEOUT_S,
            traceparent=context.traceparent,
        )
        return bytes(raw)
