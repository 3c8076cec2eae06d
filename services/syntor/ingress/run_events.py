"""Shows what the log holds: the events of a run as a page or a stream, and the stream of everything."""

from __future__ import annotations

from syntor.contracts import subjects
from syntor.contracts.ids import is_token
from syntor.ingress.errors import FieldFault, InvalidFieldsError
from syntor.ingress.exchange import Exchange, whole_number
from syntor.ingress.following import Following, only_of_runs
from syntor.ingress.frames import event_object, event_type
from syntor.ingress.gateway import Gateway, RunEnds
from syntor.ingress.streaming import DATAREF, EventStream

DEFAULT_LIMIT, MAX_LIMIT = 500, 1000
PAGE_BYTES = 8 * 1024 * 1024  # a page ends here even if it has fewer events than asked for
ANY_POSITION = 1 << 63


class RunEvents:
    """Handlers of what is read from the log."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def of_run(self, exchange: Exchange) -> None:
        """GET /v1/runs/{run_id}/events."""
        run_id = exchange.token("run_id", "run")
        values = exchange.query("after", "types", "limit")
        after = whole_number(values, "after", 0, 0, ANY_POSITION)
        types = _types(values.get("types", ""))
        limit = whole_number(values, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        ends = await self._gateway.run(run_id)
        if exchange.wants_events:
            await self._stream(exchange, ends, run_id, _resume(exchange, after), types)
        else:
            after = max(after, ends.first.position - 1)
            await exchange.answer(200, await self._page(run_id, after, types, limit))

    async def of_everything(self, exchange: Exchange) -> None:
        """GET /v1/events: the tail of the whole log; without a position it begins now."""
        values = exchange.query("after", "subject")
        filter_subject = _filter(values.get("subject", ""))
        after = _resume(exchange, whole_number(values, "after", 0, 0, ANY_POSITION))
        following = Following(self._gateway.hub, self._gateway.history, filter_subject, after=after)
        if "after" not in values and b"last-event-id" not in exchange.headers:
            following.begin_live()
        await EventStream(exchange, following, self._gateway.hydrate, ends=False).run([])

    async def _stream(self, exchange: Exchange, ends: RunEnds, run_id: str, after: int, types: frozenset[str]) -> None:
        if ends.last is not None and after >= ends.last.position:
            await exchange.answer_nothing()
            return
        following = self._gateway.follow_run(run_id, after=max(after, ends.first.position - 1))
        await EventStream(exchange, following, self._gateway.hydrate, ends=True, types=types).run([])

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


def _resume(exchange: Exchange, after: int) -> int:
    """Return the position to resume behind: the header of a reconnecting client wins over the query."""
    text = exchange.header(b"last-event-id")
    return whole_number({"Last-Event-ID": text}, "Last-Event-ID", 0, 0, ANY_POSITION) if text else after


def _types(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _filter(text: str) -> str:
    """Return the subject filter a client means; the prefix of all events may be left out.

    Raises:
        InvalidInputError: it is not a filter of events.
    """
    if not text:
        return subjects.ALL_EVENTS
    full = text if text.startswith("syntor.") or text == "syntor" else f"{subjects.EVENTS_PREFIX}.{text}"
    tokens = full.split(".")
    wrong = [token for token in tokens if not (is_token(token) or token == "*" or token == ">")]
    if wrong or ">" in tokens[:-1] or tokens[:2] != subjects.EVENTS_PREFIX.split(".") or len(tokens) < 3:
        expected = "expected a subject filter such as 'run.*.run_done' or 'syntor.events.run.>'"
        raise InvalidFieldsError([FieldFault("subject", f"{expected}, found {text!r}")])
    return full
