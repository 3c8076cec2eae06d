"""Events of the log: of one run as a page or a stream, and of the whole log as a stream."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from syntor.contracts import subjects
from syntor.contracts.bounds import Position
from syntor.contracts.http.v1 import EventPage
from syntor.ingress.api.resumption import LAST_EVENT_ID, last_event_of_run
from syntor.ingress.feed.event_stream import DATAREF, EventStream
from syntor.ingress.feed.frames import event_object, event_type
from syntor.ingress.feed.subscription import only_of_runs
from syntor.ingress.gateway import Gateway, RunBounds
from syntor.ingress.http.bounds import SubjectFilter
from syntor.ingress.http.operation import EVENT_STREAM, Call, Operation, Reply, reply
from syntor.ingress.http.parameters import Query

PAGE_BYTES = 8 * 1024 * 1024  # a page ends here even if it has fewer events than the limit

After = Annotated[Position, Meta(description="Only events after this position.")]


class RunEventsQuery(Query, frozen=True, kw_only=True):
    """Parameters of GET /v1/runs/{run_id}/events."""

    after: After = 0
    types: Annotated[
        str, Meta(max_length=2000, description="Only these event types, separated by commas; empty: all.")
    ] = ""
    limit: Annotated[int, Meta(ge=1, le=1000, description="Largest number of events in a page.")] = 500


class LogQuery(Query, frozen=True, kw_only=True):
    """Parameters of GET /v1/events."""

    subject: Annotated[
        SubjectFilter, Meta(description="NATS filter, such as run.*.run_done; `syntor.events.` may be left out.")
    ] = ""
    after: After | msgspec.UnsetType = msgspec.UNSET


class EventRoutes:
    """Handlers that read the log."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def operations(self) -> list[Operation]:
        """Return the rows of the route table."""
        return [
            Operation(
                method="GET",
                path="/v1/runs/{run_id}/events",
                handler=self.of_run,
                id="listRunEvents",
                scope="read",
                tag="Runs",
                summary="Read or follow the events of a run",
                description="The oldest event comes first. A stream ends with the run.",
                query=RunEventsQuery,
                headers=(LAST_EVENT_ID,),
                replies=(
                    Reply(description="A page of events.", schema=EventPage, events=True),
                    Reply(status=204, description="The run ended at or before the position to resume after."),
                ),
                problems=("not_found", "beyond_log"),
            ),
            Operation(
                method="GET",
                path="/v1/events",
                handler=self.of_log,
                id="followLog",
                scope="read",
                tag="Events",
                summary="Follow the whole log",
                description="Without a position it begins with the next event.",
                query=LogQuery,
                headers=(LAST_EVENT_ID,),
                replies=(Reply(description="The events.", media_type=EVENT_STREAM, events=True),),
                problems=("beyond_log",),
            ),
        ]

    async def of_run(self, call: Call[RunEventsQuery, None]) -> Response:
        """GET /v1/runs/{run_id}/events."""
        run_id, query = call.path("run_id"), call.query
        types = frozenset(name.strip() for name in query.types.split(",") if name.strip())
        bounds = await self._gateway.run(run_id)
        received = await last_event_of_run(self._gateway, call.request, run_id)
        after = received or query.after
        await self._gateway.require_position("after", after)
        if call.wants_events:
            return self._stream(bounds, run_id, after, received, types)
        return reply(await self._page(run_id, max(after, bounds.first.position - 1), types, query.limit))

    async def of_log(self, call: Call[LogQuery, None]) -> Response:
        """GET /v1/events."""
        resume = LAST_EVENT_ID.read(call.request)
        after = call.query.after if resume is None else resume
        if isinstance(after, msgspec.UnsetType):
            subscription = self._gateway.subscribe(_full(call.query.subject), 0)
            subscription.go_live()
        else:
            await self._gateway.require_position("after" if resume is None else LAST_EVENT_ID.name, after)
            subscription = self._gateway.subscribe(_full(call.query.subject), after)
        received = subscription.listener.opened_at if subscription.listener else subscription.position
        return EventStream(subscription, self._gateway.hydrate, until_terminal=False, received=received)

    def _stream(self, bounds: RunBounds, run_id: str, after: int, received: int, types: frozenset[str]) -> Response:
        if bounds.last is not None and after >= bounds.last.position:
            return Response(status_code=204)
        subscription = self._gateway.subscribe_run(run_id, after=max(after, bounds.first.position - 1))
        hydrate = self._gateway.hydrate
        return EventStream(subscription, hydrate, until_terminal=True, types=types, received=received)

    async def _page(self, run_id: str, after: int, types: frozenset[str], limit: int) -> bytes:
        events: list[bytes] = []
        size = 0
        next_after: int | None = None
        messages = self._gateway.history(subjects.run_everything(run_id), after, None)
        async for message in only_of_runs(messages):
            if types and event_type(message.subject) not in types:
                continue
            if len(events) == limit or size > PAGE_BYTES:
                next_after = after
                break
            whole = await self._gateway.hydrate(message) if DATAREF in message.payload else message
            events.append(event_object(whole.position, whole.payload))
            size += len(whole.payload)
            after = message.position
        tail = b"null" if next_after is None else b"%d" % next_after
        return b'{"events":[%b],"next_after":%b}' % (b",".join(events), tail)


def _full(filter_subject: str) -> str:
    """Return the whole filter; the prefix of all events may be left out."""
    if not filter_subject:
        return subjects.ALL_EVENTS
    is_full = filter_subject.startswith("syntor.")
    return filter_subject if is_full else f"{subjects.EVENTS_PREFIX}.{filter_subject}"
