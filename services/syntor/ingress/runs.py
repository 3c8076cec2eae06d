"""Starts, follows, cancels and repeats runs. A run is one append; whoever repeats a request gets the same run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from syntor.contracts.errors import (
    ConflictError,
    IdempotencyError,
    InfrastructureError,
    OutcomeUnknownError,
    RevisionConflictError,
)
from syntor.contracts.events import TERMINAL_RUN_TYPES
from syntor.contracts.ids import derived_id, new_id
from syntor.contracts.request.v1 import CancelRequested
from syntor.contracts.rpc.v1 import GET_RUN, PROJECTOR, GetRun
from syntor.contracts.run.v1 import UserInput
from syntor.directory.agents import queue_of
from syntor.eventsourcing.store import NewEvent
from syntor.ingress.commands import StartRun, read_cancel, read_invoke, read_nothing, read_start_run
from syntor.ingress.errors import FieldFault, InvalidFieldsError, TooManyRequestsError
from syntor.ingress.exchange import Exchange, Headers, encode
from syntor.ingress.following import Following
from syntor.ingress.frames import event_type
from syntor.ingress.gateway import SOURCE, Gateway, RunEnds, request
from syntor.ingress.streaming import EventStream
from syntor.runtime.telemetry import get_logger

MAX_WAIT_S = 60
OPEN_RETRY_S = 1.0  # until somebody who was refused because too many runs are open should ask again
MAX_KEY_LENGTH = 255

Digest = Callable[[], str]
"""Makes the digest of a request; only asked when there is a key."""

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?", re.IGNORECASE)  # RFC 7240

_log = get_logger()


class Accepted(msgspec.Struct, frozen=True):
    """A run that is in the log."""

    run_id: str
    session_id: str
    position: int
    """Stream sequence of its first event."""


class Invoked(msgspec.Struct, frozen=True):
    """Answer of POST /internal/invoke."""

    run_id: str
    session_id: str
    agent_id: str


class CancelAccepted(msgspec.Struct, frozen=True):
    """Answer of a cancellation."""

    run_id: str
    position: int
    """Stream sequence of the request."""


class Runs:
    """Handlers of what changes runs."""

    def __init__(self, gateway: Gateway, *, agent_timeout_s: float, max_open: int) -> None:
        self._gateway = gateway
        self._timeout_s = agent_timeout_s
        self._max_open = max_open
        self._starting = 0
        """Runs being appended."""

    async def start(self, exchange: Exchange) -> None:
        """POST /v1/runs."""
        command = read_start_run(await exchange.body())
        asked = await self._asked(exchange, command)
        await self._submit(exchange, asked, command.session_id, _key_of(exchange), command.digest)

    async def invoke(self, exchange: Exchange) -> None:
        """POST /internal/invoke."""
        command, request_id = read_invoke(await exchange.body())
        asked = await self._asked(exchange, command)
        key = request_id or _key_of(exchange)
        accepted, headers, _ = await self._append(exchange, asked, command.session_id, key, command.digest, None)
        body = encode(Invoked(accepted.run_id, accepted.session_id, asked.agent))
        await exchange.answer(200, body, headers=headers)

    async def retry(self, exchange: Exchange) -> None:
        """POST /v1/runs/{run_id}/retry: the same question again, as a new run of the same session."""
        run_id = exchange.token("run_id", "run")
        read_nothing(await exchange.body())
        ends = await self._gateway.run(run_id)
        if ends.last is None:
            raise ConflictError(f"run {run_id!r} has not ended yet; cancel it first")
        profile = self._gateway.directory.find(ends.request.agent)
        if profile is None:
            profile = await self._gateway.find_agent(ends.request.agent, exchange)
        asked = msgspec.structs.replace(
            ends.request, agent=profile.agent_id, queue=queue_of(profile), retry_of=run_id, request_digest=""
        )
        await self._submit(
            exchange, asked, ends.first.envelope.sessionid, _key_of(exchange), lambda: f"retry of {run_id}"
        )

    async def cancel(self, exchange: Exchange) -> None:
        """POST /v1/runs/{run_id}/cancel."""
        run_id = exchange.token("run_id", "run")
        command = read_cancel(await exchange.body())
        ends = await self._gateway.run(run_id)
        if ends.last is not None:
            raise ConflictError(f"run {run_id!r} has already ended: {ends.last.envelope.type}")
        event = CancelRequested(reason=command.reason, requested_by=exchange.caller or "http")
        new = request(exchange, event, run_id, ends)
        position = await self._gateway.append(new, None)
        await exchange.answer(202, encode(CancelAccepted(run_id, position)), headers=_location(run_id))

    async def _asked(self, exchange: Exchange, command: StartRun) -> UserInput:
        profile = self._gateway.directory.find(command.agent)
        if profile is None:
            profile = await self._gateway.find_agent(command.agent, exchange)
        return UserInput(
            agent=profile.agent_id,
            queue=queue_of(profile),
            content=command.input,
            attachments=command.event_attachments(),
            model=command.model,
            budget=command.event_budget(),
            session_budget=command.event_session_budget(),
            permissions=command.event_permissions(),
            timeout_s=self._timeout_s if command.timeout_s is None else command.timeout_s,
            metadata=command.metadata,
            workspace=command.workspace,
        )

    async def _submit(self, exchange: Exchange, asked: UserInput, session_id: str, key: str, digest: Digest) -> None:
        """Append the run and answer as the client asked for: at once, when it ended, or as a stream."""
        wait_s = 0 if exchange.wants_events else _wait_of(exchange)
        following: Following | None = None
        run_id = derived_id("run", key) if key else new_id()
        if exchange.wants_events or wait_s:
            following = self._gateway.follow_run(run_id)
            following.begin_live()
        try:
            accepted, headers, replayed = await self._append(exchange, asked, session_id, key, digest, run_id)
            headers += _location(accepted.run_id)
            if following is not None and replayed:
                following.close()
                following = self._gateway.follow_run(run_id, after=accepted.position - 1)
            if following is None:
                await exchange.answer(202, encode(accepted), headers=headers)
            elif exchange.wants_events:
                await EventStream(exchange, following, self._gateway.hydrate, ends=True).run(headers)
            else:
                await self._wait(exchange, following, accepted, wait_s, headers)
        finally:
            if following is not None:
                following.close()

    async def _append(
        self, exchange: Exchange, asked: UserInput, session_id: str, key: str, digest: Digest, run_id: str | None
    ) -> tuple[Accepted, Headers, bool]:
        """Append the first event of a run; the third result is whether it was there already."""
        if run_id is None:
            run_id = derived_id("run", key) if key else new_id()
        exchange.run_id = run_id
        hub = self._gateway.hub
        open_runs = hub.open_runs + self._starting
        if 0 < self._max_open <= open_runs and not hub.seen(run_id):
            raise TooManyRequestsError(
                f"{open_runs} runs have not ended yet, SYNTOR_MAX_OPEN_RUNS allows {self._max_open}", OPEN_RETRY_S
            )
        if key:
            asked = msgspec.structs.replace(asked, request_digest=digest())
        session_id = session_id or new_id()
        new = NewEvent(
            aggregate_id=run_id,
            event=asked,
            message_id=new_id(),
            source=SOURCE,
            time=datetime.now(UTC),
            version=1,
            run_id=run_id,
            session_id=session_id,
            correlation_id=exchange.trace_id,
            traceparent=exchange.traceparent,
        )
        self._starting += 1
        try:
            position = await self._gateway.append(new, 0)
        except RevisionConflictError:
            ends = await self._gateway.run(run_id)
            headers: Headers = [(b"idempotency-replayed", b"true")] if key else []
            return _repeated(ends, asked, run_id), headers, True
        except OutcomeUnknownError as exc:
            raise OutcomeUnknownError(f"run {run_id}: {exc}; GET /v1/runs/{run_id} tells when NATS is back") from exc
        finally:
            self._starting -= 1
        hub.began(run_id, position)
        return Accepted(run_id, session_id, position), [], False

    async def _wait(
        self, exchange: Exchange, following: Following, accepted: Accepted, wait_s: int, headers: Headers
    ) -> None:
        headers.append((b"preference-applied", b"wait=%d" % wait_s))
        try:
            async with asyncio.timeout(wait_s):
                position = await _end_of(following)
        except TimeoutError:
            position = 0
        view = await self._view(exchange, accepted.run_id, position) if position else None
        if view is None:
            await exchange.answer(202, encode(accepted), headers=headers)
        else:
            await exchange.answer(200, view, headers=headers)

    async def _view(self, exchange: Exchange, run_id: str, position: int) -> bytes | None:
        """Return a run as it ended, or None when nobody can show it now: the run is accepted all the same."""
        try:
            request = GetRun(run_id=run_id, min_position=position)
            return await self._gateway.ask(PROJECTOR, GET_RUN, request, exchange)
        except InfrastructureError as exc:
            _log.warning("run_view_not_available", run_id=run_id, trace_id=exchange.trace_id, error=str(exc))
            return None


async def _end_of(following: Following) -> int:
    """Return the position of a run's terminal event once it is there; 0 when the process stops first."""
    if following.listener is None:
        async for chunk in following.past():
            for message in chunk:
                if event_type(message.subject) in TERMINAL_RUN_TYPES:
                    return message.position
    listener = following.listener
    assert listener is not None
    while not listener.closed and not listener.overflowed:
        await listener.wait()
        for message in following.take():
            if event_type(message.subject) in TERMINAL_RUN_TYPES:
                return message.position
    return 0


def _repeated(ends: RunEnds, asked: UserInput, run_id: str) -> Accepted:
    """Return the run an earlier request with the same key began.

    Raises:
        IdempotencyError: that was another request.
    """
    if ends.request.request_digest != asked.request_digest:
        raise IdempotencyError(f"the idempotency key belongs to run {run_id!r}, which was started with another body")
    return Accepted(run_id, ends.first.envelope.sessionid, ends.first.position)


def _location(run_id: str) -> Headers:
    return [(b"location", f"/v1/runs/{run_id}".encode())]


def _key_of(exchange: Exchange) -> str:
    key = exchange.header(b"idempotency-key")
    if len(key) > MAX_KEY_LENGTH:
        raise InvalidFieldsError(
            [FieldFault("Idempotency-Key", f"expected at most {MAX_KEY_LENGTH} characters, found {len(key)}")]
        )
    return key


def _wait_of(exchange: Exchange) -> int:
    """Return the seconds of `Prefer: wait=N`, at most `MAX_WAIT_S`; 0: no such preference."""
    found = _WAIT.search(exchange.header(b"prefer"))
    return min(int(found[1]), MAX_WAIT_S) if found else 0
