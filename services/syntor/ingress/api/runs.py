"""Runs: creating, waiting for, cancelling and repeating them."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from syntor.contracts.errors import ConflictError
from syntor.contracts.http.v1 import Accepted, CancelAccepted, FieldFault, Invoked
from syntor.contracts.request.v1 import CancelRequested
from syntor.contracts.rpc import v1 as rpc
from syntor.contracts.run.v1 import RunCancelled, UserInput
from syntor.directory.agents import queue_of
from syntor.ingress.api.idempotency import IDEMPOTENCY_KEY
from syntor.ingress.api.resumption import LAST_EVENT_ID, last_event_of_run
from syntor.ingress.api.run_bodies import CancelRun, Invoke, NoFields, StartRun
from syntor.ingress.api.run_creation import Created, NewRun, RunCreation, run_id_for
from syntor.ingress.api.run_waiting import ended_run, wait_for_end
from syntor.ingress.feed.event_stream import EventStream
from syntor.ingress.feed.subscription import Subscription
from syntor.ingress.gateway import Gateway, request
from syntor.ingress.http.errors import InvalidFieldsError
from syntor.ingress.http.operation import Call, Operation, Reply, reply
from syntor.ingress.http.parameters import HeaderParameter, Query

MAX_WAIT_S = 60

PREFER = HeaderParameter(
    name="Prefer",
    annotation=Annotated[str, Meta(max_length=255)],
    description="`wait=N`: respond when the run has ended, at most N (60) seconds from now (RFC 7240).",
)
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?", re.IGNORECASE)  # RFC 7240
_EXAMPLE = {"agent": "worker", "input": "What is in this folder?", "workspace": "/home/me/project"}

AnyCall = Call[Any, Any]


class RunRoutes:
    """Handlers that change runs."""

    def __init__(self, gateway: Gateway, creation: RunCreation) -> None:
        self._gateway = gateway
        self._creation = creation

    def operations(self) -> list[Operation]:
        """Return the rows of the route table."""
        replies = (
            Reply(
                status=202,
                description="The run is in the log.",
                schema=Accepted,
                headers=("Location", "Idempotency-Replayed", "Preference-Applied"),
            ),
            Reply(
                description="With `Prefer: wait`, the run that has ended.",
                schema=rpc.RunView,
                events=True,
                headers=("Location", "Idempotency-Replayed", "Preference-Applied"),
            ),
            Reply(status=204, description="The run ended at or before the event to resume after."),
        )
        return [
            Operation(
                method="POST",
                path="/v1/runs",
                handler=self.start,
                id="startRun",
                scope="run",
                tag="Runs",
                summary="Start a run",
                description="A run continues when the client closes the connection.",
                headers=(IDEMPOTENCY_KEY, PREFER, LAST_EVENT_ID),
                body=StartRun,
                example=_EXAMPLE,
                replies=replies,
                problems=("not_found", "idempotency_key_reused"),
            ),
            Operation(
                method="POST",
                path="/v1/runs/{run_id}/retry",
                handler=self.retry,
                id="retryRun",
                scope="run",
                tag="Runs",
                summary="Repeat a run that has ended, as a new run",
                description="The new run has the input and the session of the old one.",
                headers=(IDEMPOTENCY_KEY, PREFER, LAST_EVENT_ID),
                body=NoFields,
                body_required=False,
                replies=replies,
                problems=("not_found", "conflict", "idempotency_key_reused"),
            ),
            Operation(
                method="POST",
                path="/v1/runs/{run_id}/cancel",
                handler=self.cancel,
                id="cancelRun",
                scope="run",
                tag="Runs",
                summary="Cancel a run",
                description="The orchestrator ends the run with `run_cancelled`; a repeated request is accepted again.",
                body=CancelRun,
                body_required=False,
                example={"reason": "not needed any more"},
                replies=(
                    Reply(
                        status=202,
                        description="The request is in the log.",
                        schema=CancelAccepted,
                        headers=("Location",),
                    ),
                ),
                problems=("not_found", "conflict"),
            ),
            Operation(
                method="POST",
                path="/internal/invoke",
                handler=self.invoke,
                id="invokeAgent",
                scope="run",
                tag="Runs",
                summary="Start a run, in the vocabulary of other runtimes",
                description="`request_id` is the idempotency key.",
                headers=(IDEMPOTENCY_KEY,),
                body=Invoke,
                example={
                    "session_id": "s1",
                    "agent_id": "worker",
                    "input_message": {"role": "user", "content": "What is in this folder?"},
                },
                replies=(
                    Reply(
                        description="The run is in the log.",
                        schema=Invoked,
                        headers=("Location", "Idempotency-Replayed"),
                    ),
                ),
                problems=("not_found", "idempotency_key_reused"),
            ),
        ]

    async def start(self, call: Call[Query, StartRun]) -> Response:
        """POST /v1/runs."""
        key = _key_of(call)
        new = NewRun(
            run_id=run_id_for(key),
            input=lambda: self._creation.input_of(call.body, call.context),
            session_id=call.body.session_id,
            key=key,
            digest=call.body.digest,
        )
        return await self._submit(call, new)

    async def invoke(self, call: Call[Query, Invoke]) -> Response:
        """POST /internal/invoke."""
        command = call.body.start_run()
        header = _key_of(call)
        key = call.body.request_id or header
        new = NewRun(
            run_id=run_id_for(key),
            input=lambda: self._creation.input_of(command, call.context),
            session_id=command.session_id,
            key=key,
            digest=command.digest,
        )
        created = await self._creation.create(new, call.context)
        body = Invoked(created.accepted.run_id, created.accepted.session_id, created.agent)
        return reply(body, headers=created.headers)

    async def retry(self, call: Call[Query, NoFields]) -> Response:
        """POST /v1/runs/{run_id}/retry: the same input, as a new run of the same session."""
        run_id = call.path("run_id")
        bounds = await self._gateway.run(run_id)
        if bounds.last is None:
            raise ConflictError(f"run {run_id!r} has not ended yet; cancel it first")
        key = _key_of(call)

        async def first() -> UserInput:
            profile = await self._gateway.find_agent(bounds.request.agent, call.context)
            return msgspec.structs.replace(
                bounds.request, agent=profile.agent_id, queue=queue_of(profile), retry_of=run_id
            )

        new = NewRun(
            run_id=run_id_for(key),
            input=first,
            session_id=bounds.first.envelope.sessionid,
            key=key,
            digest=lambda: f"retry of {run_id}",
        )
        return await self._submit(call, new)

    async def cancel(self, call: Call[Query, CancelRun]) -> Response:
        """POST /v1/runs/{run_id}/cancel."""
        run_id = call.path("run_id")
        bounds = await self._gateway.run(run_id)
        if bounds.last is not None and isinstance(bounds.last.event, RunCancelled):  # a repeated request
            return reply(CancelAccepted(run_id, bounds.last.position), 202, {"Location": f"/v1/runs/{run_id}"})
        bounds.require_open()
        event = CancelRequested(reason=call.body.reason, requested_by=call.context.caller)
        position = await self._gateway.append(request(call.context, event, run_id, bounds), None)
        return reply(CancelAccepted(run_id, position), 202, {"Location": f"/v1/runs/{run_id}"})

    async def _submit(self, call: AnyCall, new: NewRun) -> Response:
        """Create a run and respond as the client wants: immediately, when it has ended, or with its events."""
        wait_s = 0 if call.wants_events else _wait_of(call)
        if not (call.wants_events or wait_s):
            created = await self._creation.create(new, call.context)
            return reply(created.accepted, 202, created.headers)
        received = await self._received(call, new) if call.wants_events else 0
        subscription = self._gateway.subscribe_run(new.run_id)
        subscription.go_live()
        handed_over = False
        try:
            created = await self._creation.create(new, call.context)
            if created.replayed:
                subscription.close()
                after = received or created.accepted.position - 1
                subscription = self._gateway.subscribe_run(new.run_id, after=after)
            if received and await self._ended_by(new.run_id, received):
                return Response(status_code=204, headers=created.headers)
            if call.wants_events:
                handed_over = True  # the stream closes it
                hydrate, headers = self._gateway.hydrate, created.headers
                return EventStream(subscription, hydrate, until_terminal=True, received=received, headers=headers)
            return await self._wait(call, subscription, created, wait_s)
        finally:
            if not handed_over:
                subscription.close()

    async def _received(self, call: AnyCall, new: NewRun) -> int:
        """Return the position of the last event of the run's stream that the client received; 0: it names none."""
        if not new.key and LAST_EVENT_ID.read(call.request):
            text = "resumes the stream of an earlier request with the same Idempotency-Key, and this one has none"
            raise InvalidFieldsError([FieldFault(LAST_EVENT_ID.name, text)])
        return await last_event_of_run(self._gateway, call.request, new.run_id)

    async def _ended_by(self, run_id: str, position: int) -> bool:
        bounds = await self._gateway.run(run_id)
        return bounds.last is not None and bounds.last.position <= position

    async def _wait(self, call: AnyCall, subscription: Subscription, created: Created, wait_s: int) -> Response:
        call.context.kind = "wait"
        headers = created.headers | {"Preference-Applied": f"wait={wait_s}"}
        position = await wait_for_end(subscription, wait_s, call.context.recheck)
        view = await ended_run(self._gateway, created.accepted.run_id, position, call.context) if position else None
        return reply(created.accepted, 202, headers) if view is None else reply(view, headers=headers)


def _key_of(call: AnyCall) -> str:
    return IDEMPOTENCY_KEY.read(call.request) or ""


def _wait_of(call: AnyCall) -> int:
    """Return the seconds of `Prefer: wait=N`, at most `MAX_WAIT_S`; 0: no such preference."""
    found = _WAIT.search(PREFER.read(call.request) or "")
    return min(int(found[1]), MAX_WAIT_S) if found else 0
