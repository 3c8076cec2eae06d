"""Backlog and live messages join without gap or duplicate, wherever a client is cut and resumes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from syntor.contracts import subjects
from syntor.contracts.subjects import RUN_CATEGORIES
from syntor.eventsourcing.store import RawEvent
from syntor.ingress.feed import hub as hub_module
from syntor.ingress.feed import subscription as subscription_module
from syntor.ingress.feed.hub import Hub
from syntor.ingress.feed.subscription import Subscription, read_chunks
from syntor.testing.memory import matches

RUN = "r1"


def stored(position: int, subject: str, payload: bytes = b'{"type":"x"}') -> RawEvent:
    return RawEvent(position, subject, payload)


class Log:
    """A log in a list, and instances whose consumers lag as told."""

    def __init__(self, instances: int) -> None:
        self.messages: list[RawEvent] = []
        self.hubs = [Hub(0) for _ in range(instances)]

    def append(self, subject: str) -> None:
        self.messages.append(stored(len(self.messages) + 1, subject))

    def feed(self, instance: int, count: int) -> None:
        hub = self.hubs[instance]
        batch = self.messages[hub.position : hub.position + count]
        if batch:
            hub.feed(batch)

    async def read(self, filter_subject: str, after: int, up_to: int | None) -> AsyncIterator[RawEvent]:
        position = after
        while position < (len(self.messages) if up_to is None else min(up_to, len(self.messages))):
            position += 1
            message = self.messages[position - 1]
            if matches(filter_subject, message.subject):
                yield message

    def subscribe(self, instance: int, after: int) -> Subscription:
        return Subscription(self.hubs[instance], self.read, subjects.run_everything(RUN), run_id=RUN, after=after)

    def of_run(self) -> list[int]:
        wanted = [f"syntor.events.{category}.{RUN}.>" for category in RUN_CATEGORIES]
        return [m.position for m in self.messages if any(matches(one, m.subject) for one in wanted)]


SUBJECTS = [
    subjects.event("run", RUN, "run_started"),
    subjects.event("output", f"{RUN}.t1", "agent_stream_delta"),
    subjects.event("task", f"{RUN}.t1", "llm_call_done"),
    subjects.event("run", "r2", "run_started"),
    subjects.event("session", RUN, "turn_taken"),
    subjects.event("agent", "worker", "agent_registered"),
]
STEP = st.one_of(
    st.tuples(st.just("append"), st.integers(0, len(SUBJECTS) - 1)),
    st.tuples(st.just("feed"), st.integers(0, 5)),
    st.tuples(st.just("client"), st.just(0)),
    st.tuples(st.just("cut"), st.just(0)),
)


class Client:
    """Reads a stream step by step; when cut it resumes after the last event it has, on the next instance."""

    def __init__(self, log: Log) -> None:
        self.received: list[int] = []
        self._log = log
        self._instance = 0
        self._live = False
        self._resume()

    async def step(self) -> None:
        """Take in one chunk of the backlog, or what has arrived since."""
        if not self._live:
            try:
                self._got(await anext(self._backlog))
                return
            except StopAsyncIteration:
                self._live = True
        self._got(self._subscription.drain())

    def cut(self) -> None:
        self._subscription.close()
        self._instance = (self._instance + 1) % len(self._log.hubs)
        self._resume()

    @property
    def live(self) -> bool:
        return self._live

    def _resume(self) -> None:
        self._subscription = self._log.subscribe(self._instance, self.received[-1] if self.received else 0)
        self._backlog = self._subscription.backlog()
        self._live = False

    def _got(self, messages: list[RawEvent]) -> None:
        self.received += [message.position for message in messages]


@settings(max_examples=300)
@given(st.lists(STEP, max_size=60), st.integers(1, 4), st.integers(1, 4))
async def test_a_client_gets_every_event_once_in_order(
    steps: list[tuple[str, int]], chunk_events: int, near_events: int
) -> None:
    log = Log(instances=2)
    client = Client(log)
    with (
        mock.patch.object(subscription_module, "CHUNK_EVENTS", chunk_events),
        mock.patch.object(subscription_module, "NEAR_EVENTS", near_events),
    ):
        for action, number in steps:
            match action:
                case "append":
                    log.append(SUBJECTS[number])
                case "feed":
                    log.feed(number % 2, number)
                case "cut":
                    client.cut()
                case _:
                    await client.step()
        for instance in range(2):
            log.feed(instance, len(log.messages))
        for _ in range(len(log.messages) + 3):
            await client.step()
    assert client.live
    assert client.received == log.of_run()


@given(st.lists(st.integers(0, len(SUBJECTS) - 1), max_size=30), st.integers(0, 30), st.integers(0, 30))
async def test_a_stream_cut_at_any_event_resumes_with_exactly_the_rest(kinds: list[int], cut: int, fed: int) -> None:
    log = Log(instances=1)
    for kind in kinds:
        log.append(SUBJECTS[kind])
    log.feed(0, fed)
    after = min(cut, len(kinds))
    subscription = log.subscribe(0, after)
    rest = [message.position async for chunk in subscription.backlog() for message in chunk]
    log.feed(0, len(kinds))
    rest += [message.position for message in subscription.drain()]
    assert rest == [position for position in log.of_run() if position > after]


async def test_a_listener_opened_before_the_first_append_needs_no_backlog() -> None:
    log = Log(instances=1)
    subscription = log.subscribe(0, 0)
    subscription.go_live()
    log.append(SUBJECTS[0])
    log.feed(0, 1)
    assert [message.position for message in subscription.drain()] == [1]
    subscription.close()
    assert log.hubs[0].listeners == 0


async def test_an_instance_behind_the_position_to_resume_from_repeats_nothing() -> None:
    log = Log(instances=2)
    for _ in range(4):
        log.append(SUBJECTS[1])
    subscription = log.subscribe(1, 3)  # instance 1 has fed nothing yet
    assert [chunk async for chunk in subscription.backlog()] == []
    log.feed(1, 4)
    assert [message.position for message in subscription.drain()] == [4]


async def test_a_long_backlog_is_read_before_the_listener_is_opened() -> None:
    log = Log(instances=1)
    for _ in range(hub_module.MAX_PENDING_EVENTS + 500):
        log.append(SUBJECTS[1])
    log.feed(0, len(log.messages))
    subscription = log.subscribe(0, 0)
    received = 0
    async for chunk in subscription.backlog():
        if received < 1000:
            assert subscription.listener is None
        received += len(chunk)
    assert received == len(log.messages)
    assert subscription.listener is not None


async def test_chunks_end_at_a_number_of_events_or_bytes() -> None:
    async def stream(messages: list[RawEvent]) -> AsyncIterator[RawEvent]:
        for message in messages:
            yield message

    small = [stored(position, SUBJECTS[0]) for position in range(1, 200)]
    assert [len(chunk) async for chunk in read_chunks(stream(small))] == [128, 71]
    large = [stored(position, SUBJECTS[0], b"x" * 200_000) for position in range(1, 4)]
    assert [len(chunk) async for chunk in read_chunks(stream(large))] == [2, 1]
