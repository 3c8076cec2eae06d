"""Creates runs: one append that expects no run by that id, so that a repeated request yields the run there is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from syntor.contracts.clock import now
from syntor.contracts.errors import IdempotencyError, OutcomeUnknownError, RejectionError, RevisionConflictError
from syntor.contracts.http.v1 import Accepted
from syntor.contracts.ids import derived_id, new_id
from syntor.contracts.run.v1 import Ceiling, UserInput
from syntor.directory.agents import queue_of
from syntor.eventsourcing.store import NewEvent
from syntor.ingress.api.ceilings import limited
from syntor.ingress.api.run_bodies import StartRun
from syntor.ingress.gateway import SOURCE, Gateway, RunBounds
from syntor.ingress.http.context import RequestContext
from syntor.ingress.http.errors import TooManyRequestsError

OPEN_RETRY_S = 1.0  # in Retry-After when too many runs are open

Digest = Callable[[], str]
"""Returns the digest of a request; called only where there is an idempotency key."""


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run to create."""

    run_id: str
    input: Callable[[], Awaitable[UserInput]]
    """Returns its first event, or raises the reason why there can be no such run."""
    session_id: str
    """Session to continue; empty: a new one."""
    key: str
    """Idempotency key; empty: none."""
    digest: Digest


class Created(msgspec.Struct, frozen=True):
    """Outcome of a creation."""

    accepted: Accepted
    agent: str
    replayed: bool
    """Whether the run existed already."""
    headers: dict[str, str]


def run_id_for(key: str) -> str:
    """Return the id of the run an idempotency key creates, or a new one."""
    return derived_id("run", key) if key else new_id()


class RunCreation:
    """Appends the first events of runs."""

    def __init__(self, gateway: Gateway, *, agent_timeout_s: float, max_open: int, ceiling: Ceiling) -> None:
        """Prepare.

        Args:
            ceiling: the most any run may do.
            max_open: runs that may be open before new ones are refused; 0: no limit.
        """
        self._gateway = gateway
        self._timeout_s = agent_timeout_s
        self._max_open = max_open
        self._ceiling = ceiling
        self._starting = 0
        """Appends in flight."""

    async def input_of(self, command: StartRun, context: RequestContext) -> UserInput:
        """Return the first event of the run a request creates.

        Raises:
            NotFoundError: there is no such agent.
        """
        profile = await self._gateway.find_agent(command.agent, context)
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

    async def create(self, new: NewRun, context: RequestContext) -> Created:
        """Append a run, or return the one that exists under its idempotency key.

        A repeated request gets the run there is, whatever would refuse a new one by now.

        Raises:
            TooManyRequestsError: too many runs are open, or the caller exceeds its rate.
            RejectionError: there can be no such run.
            IdempotencyError: the key was used with another request.
            InfrastructureError: as `EventStore.append`.
        """
        context.run_id = new.run_id
        digest = new.digest() if new.key else ""
        session_id = new.session_id or new_id()
        try:
            self._check_open(context)
            first = limited(await new.input(), context.ceiling, self._ceiling, context.caller)
        except RejectionError:
            bounds = await self._gateway.find_run(new.run_id) if new.key else None
            if bounds is None:
                raise
            return self._existing(new, digest, bounds)
        self._starting += 1
        try:
            position = await self._gateway.append(_event(new, first, digest, session_id, context), 0)
        except RevisionConflictError:
            return self._existing(new, digest, await self._gateway.run(new.run_id))
        except OutcomeUnknownError as exc:
            raise OutcomeUnknownError(f"run {new.run_id}: {exc}; GET /v1/runs/{new.run_id} once NATS is back") from exc
        finally:
            self._starting -= 1
        self._gateway.hub.record_run(new.run_id, position)
        return Created(Accepted(new.run_id, session_id, position), first.agent, False, _location(new.run_id))

    def _check_open(self, context: RequestContext) -> None:
        if context.refusal is not None:
            raise context.refusal
        open_runs = self._gateway.hub.open_runs + self._starting
        if 0 < self._max_open <= open_runs:
            raise TooManyRequestsError(
                f"{open_runs} runs have not ended yet, SYNTOR_MAX_OPEN_RUNS allows {self._max_open}", OPEN_RETRY_S
            )

    def _existing(self, new: NewRun, digest: str, bounds: RunBounds) -> Created:
        if bounds.request.request_digest != digest:
            raise IdempotencyError(
                f"the idempotency key belongs to run {new.run_id!r}, which was started with another body"
            )
        headers = _location(new.run_id) | ({"Idempotency-Replayed": "true"} if new.key else {})
        accepted = Accepted(new.run_id, bounds.first.envelope.sessionid, bounds.first.position)
        return Created(accepted, bounds.request.agent, True, headers)


def _event(new: NewRun, first: UserInput, digest: str, session_id: str, context: RequestContext) -> NewEvent:
    return NewEvent(
        aggregate_id=new.run_id,
        event=msgspec.structs.replace(first, request_digest=digest),
        message_id=new_id(),
        source=SOURCE,
        time=now(),
        version=1,
        lineage=context.lineage(run_id=new.run_id, session_id=session_id, correlation_id=context.trace_id),
    )


def _location(run_id: str) -> dict[str, str]:
    return {"Location": f"/v1/runs/{run_id}"}
