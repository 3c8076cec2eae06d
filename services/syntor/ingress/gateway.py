"""What all handlers stand on: the log, the hub, the directory, and requests to other services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from syntor.contracts import subjects
from syntor.contracts.agent.v1 import AgentProfile
from syntor.contracts.envelope import decode_envelope, encode_envelope
from syntor.contracts.errors import NotFoundError, NotReachableError, SyntorError
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.ids import new_id
from syntor.contracts.request.v1 import RequestEvent
from syntor.contracts.rpc.v1 import GET_AGENT, REGISTRY, GetAgent
from syntor.contracts.run.v1 import UserInput
from syntor.directory.agents import AgentDirectory
from syntor.eventsourcing.store import NewEvent, Recorded
from syntor.ingress.exchange import Exchange
from syntor.ingress.following import Following
from syntor.ingress.hub import Hub, Stored
from syntor.jetstream.connection import Connection
from syntor.jetstream.dead_letters import DeadLetter, drop, letter_of, letters
from syntor.jetstream.requests import call
from syntor.jetstream.store import JetStreamStore

CONNECT_WAIT_S = 3.0  # a restart of NATS on one machine takes about one second
CALL_TIMEOUT_S = 5.0
SOURCE = "ingress"
_AS_IT_IS: Any = msgspec.Raw  # the bytes of an answer, undecoded: they are passed on


class Hydrated(msgspec.Struct, frozen=True):
    """A message with its data inside."""

    position: int
    subject: str
    payload: bytes


class _Known(msgspec.Struct):
    """What is needed of an `AgentView`."""

    profile: AgentProfile


class RunEnds(msgspec.Struct, frozen=True):
    """First and last event of a run."""

    first: Recorded
    """Its `user_input`."""
    last: Recorded | None
    """Its terminal event, None while it goes on."""

    @property
    def request(self) -> UserInput:
        """What was asked."""
        assert isinstance(self.first.event, UserInput)
        return self.first.event


def request(exchange: Exchange, event: RequestEvent, aggregate_id: str, run: RunEnds | None = None) -> NewEvent:
    """Return a request event to append.

    Args:
        aggregate_id: run the request is about, or session.
        run: the run, if it is about one.
    """
    first = run.first if run is not None else None
    return NewEvent(
        aggregate_id=aggregate_id,
        event=event,
        message_id=new_id(),
        source=SOURCE,
        time=datetime.now(UTC),
        version=0,
        run_id=aggregate_id if first is not None else "",
        session_id=first.envelope.sessionid if first is not None else aggregate_id,
        correlation_id=first.envelope.correlationid if first is not None else exchange.trace_id,
        first_position=first.position if first is not None else 0,
        traceparent=exchange.traceparent,
    )


class Gateway:
    """Ways to the log and to other services."""

    def __init__(self, connection: Connection, store: JetStreamStore, hub: Hub, directory: AgentDirectory) -> None:
        self.hub = hub
        self.directory = directory
        self._connection = connection
        self._store = store

    async def append(self, new: NewEvent, expected_revision: int | None) -> int:
        """Append to the log; a NATS that is away is waited for briefly, before anything is sent.

        Raises:
            InfrastructureError: as `EventStore.append`.
        """
        if not self._connection.is_connected and not await self._connection.wait_connected(CONNECT_WAIT_S):
            raise NotReachableError(f"NATS at {self._connection.url} is away; nothing was stored")
        return await self._store.append(new, expected_revision)

    async def find_run(self, run_id: str) -> RunEnds | None:
        """Return first and last event of a run, or None where there is no such run."""
        filters = [subjects.event("run", run_id, type_) for type_ in ("user_input", *sorted(TERMINAL_RUN_TYPES))]
        found = await self._store.last_of_each(filters)
        if not found or not isinstance(found[0].event, UserInput):
            return None
        return RunEnds(found[0], found[-1] if len(found) > 1 else None)

    async def run(self, run_id: str) -> RunEnds:
        """Return first and last event of a run.

        Raises:
            NotFoundError: no such run.
        """
        ends = await self.find_run(run_id)
        if ends is None:
            raise NotFoundError(f"no run {run_id!r}")
        return ends

    async def of_task(self, run_id: str, task_id: str, type_: str) -> list[Recorded]:
        """Return the events of one type of a task, oldest first."""
        filter_subject = subjects.event("task", subjects.task_id(run_id, task_id), type_)
        return [recorded async for recorded in self._store.load(filter_subject)]

    async def last(self, filter_subject: str) -> Recorded | None:
        """Return the last event that matches, or None."""
        return await self._store.last(filter_subject)

    async def dead_letters(self, before: int, limit: int) -> tuple[list[DeadLetter], int | None]:
        """Return messages that were given up, newest first."""
        return await letters(self._connection, before=before, limit=limit)

    async def dead_letter(self, number: int) -> DeadLetter | None:
        """Return one of them, or None."""
        return await letter_of(self._connection, number)

    async def drop_dead_letter(self, number: int) -> None:
        """Remove one of them."""
        await drop(self._connection, number)

    async def find_agent(self, name: str, exchange: Exchange) -> AgentProfile:
        """Return an agent this process has not heard of: one that registered a moment ago.

        Raises:
            NotFoundError: there is none; names those there are.
        """
        try:
            body = await self.ask(REGISTRY, GET_AGENT, GetAgent(agent_id=name), exchange)
        except NotFoundError:
            raise
        except SyntorError:
            return self.directory.resolve(name)  # nobody to ask: what is known here decides
        return msgspec.json.decode(body, type=_Known).profile

    def history(self, filter_subject: str, after: int, up_to: int | None) -> AsyncIterator[Stored]:
        """Read stored messages without decoding them, oldest first."""
        return self._store.load_raw(filter_subject, after, up_to)

    def follow_run(self, run_id: str, after: int = 0) -> Following:
        """Follow everything about a run from a position on."""
        return Following(self.hub, self.history, subjects.run_everything(run_id), run_id=run_id, after=after)

    async def hydrate(self, message: Stored) -> Stored:
        """Return a message with data kept as a blob put in."""
        envelope = decode_envelope(message.payload)
        if not envelope.dataref:
            return message
        whole = await self._store.recorded.hydrate(envelope)
        return Hydrated(message.position, message.subject, encode_envelope(whole))

    async def ask(self, service: str, endpoint: str, request: msgspec.Struct, exchange: Exchange) -> bytes:
        """Ask a service and return its answer as it came.

        Raises:
            SyntorError: the service refused, or does not answer.
        """
        answer = await call(
            self._connection,
            service,
            endpoint,
            request,
            _AS_IT_IS,
            timeout_s=CALL_TIMEOUT_S,
            traceparent=exchange.traceparent,
        )
        return bytes(answer)
