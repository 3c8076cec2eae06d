"""The hub distributes messages to the listeners they match; a slow listener delays no other."""

from __future__ import annotations

import asyncio

import pytest

from syntor.contracts import subjects
from syntor.eventsourcing.store import RawEvent
from syntor.ingress.feed import hub as hub_module
from syntor.ingress.feed.hub import MAX_PENDING_BYTES, MAX_PENDING_EVENTS, Hub


def message(position: int, subject: str) -> RawEvent:
    return RawEvent(position, subject, b"{}")


def delta(position: int, run_id: str = "r1", size: int = 2) -> RawEvent:
    return RawEvent(position, subjects.event("output", f"{run_id}.t1", "agent_stream_delta"), b"x" * size)


def positions(messages: list[RawEvent]) -> list[int]:
    return [one.position for one in messages]


async def test_a_listener_receives_the_messages_of_its_run_only_and_in_order() -> None:
    hub = Hub(0)
    one, other = hub.open_run("r1"), hub.open_run("r2")
    session = message(3, subjects.event("session", "r1", "turn_taken"))
    hub.feed([delta(1), delta(2, "r2"), session, delta(4)])
    assert positions(one.take()) == [1, 4]
    assert positions(other.take()) == [2]
    assert one.take() == []
    assert hub.position == 4


async def test_two_clients_of_a_run_both_receive_everything() -> None:
    hub = Hub(0)
    clients = [hub.open_run("r1"), hub.open_run("r1")]
    hub.feed([delta(1)])
    assert [positions(client.take()) for client in clients] == [[1], [1]]
    hub.drop(clients[0], "r1")
    hub.feed([delta(2)])
    assert positions(clients[1].take()) == [2]
    assert clients[0].take() == []
    assert hub.listeners == 1


@pytest.mark.parametrize(
    ("filter_subject", "expected"),
    [
        ("syntor.events.>", [1, 2, 3]),
        ("syntor.events.run.*.run_done", [2]),
        ("syntor.events.run.*", []),
        ("syntor.events.output.r1.>", [1]),
        ("syntor.events.*.r1.>", [1, 2]),
    ],
)
async def test_a_filter_receives_what_matches(filter_subject: str, expected: list[int]) -> None:
    hub = Hub(0)
    listener = hub.open_filter(filter_subject)
    done = message(2, subjects.event("run", "r1", "run_done"))
    agent = message(3, subjects.event("agent", "worker", "agent_registered"))
    hub.feed([delta(1), done, agent])
    assert positions(listener.take()) == expected
    hub.drop(listener)
    assert hub.listeners == 0


async def test_a_slow_client_overflows_and_delays_no_other() -> None:
    hub = Hub(0)
    slow, quick = hub.open_run("r1"), hub.open_run("r1")
    for position in range(1, MAX_PENDING_EVENTS + 10):
        hub.feed([delta(position)])
        assert positions(quick.take()) == [position]
    assert slow.overflowed
    assert slow.take() == []
    assert not quick.overflowed


async def test_large_events_count_by_their_bytes() -> None:
    hub = Hub(0)
    slow = hub.open_run("r1")
    hub.feed([delta(1, size=MAX_PENDING_BYTES), delta(2)])
    assert slow.overflowed


async def test_waiting_ends_when_a_message_arrives() -> None:
    hub = Hub(0)
    listener = hub.open_run("r1")
    waiting = asyncio.ensure_future(listener.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    hub.feed([delta(1), delta(2)])
    await waiting
    assert positions(listener.take()) == [1, 2]


async def test_closing_the_hub_closes_every_listener_and_those_opened_later() -> None:
    hub = Hub(0)
    listeners = [hub.open_run("r1"), hub.open_filter("syntor.events.>")]
    waiting = [asyncio.ensure_future(listener.wait()) for listener in listeners]
    await asyncio.sleep(0)
    hub.close()
    await asyncio.gather(*waiting)
    late = hub.open_run("r2")
    await late.wait()
    assert all(listener.closed for listener in [*listeners, late])


async def test_the_position_of_a_run_is_that_of_its_last_message_in_the_read_model() -> None:
    hub = Hub(0)
    hub.feed([message(5, subjects.event("run", "r1", "run_started")), delta(6)])
    assert (hub.run_position("r1"), hub.read_model_position, hub.position) == (5, 5, 6)
    hub.record_position("r2", 9)
    assert (hub.run_position("r2"), hub.read_model_position, hub.run_position("r3")) == (9, 9, 0)


async def test_what_happened_before_the_process_started_counts_as_read() -> None:
    hub = Hub(7)
    assert (hub.run_position("r1"), hub.read_model_position) == (7, 7)


async def test_positions_of_old_runs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "KNOWN_RUNS", 2)
    hub = Hub(0)
    for number, run_id in enumerate(["r1", "r2", "r3"], 1):
        hub.record_position(run_id, number)
    assert [hub.run_position(run_id) for run_id in ("r1", "r2", "r3")] == [1, 2, 3]


@pytest.mark.parametrize("subject", ["syntor.events.x", "syntor.events.run.r1", "syntor.events.run"])
async def test_a_subject_of_no_event_reaches_those_that_match_it_and_ends_nothing(subject: str) -> None:
    hub = Hub(0)
    all_events, run = hub.open_filter(subjects.ALL_EVENTS), hub.open_run("r1")
    hub.feed([message(1, subject), delta(2)])
    assert positions(all_events.take()) == [1, 2]
    assert positions(run.take()) == [2]
    assert hub.position == 2


def test_runs_that_end_while_the_open_ones_are_read_are_not_counted() -> None:
    hub = Hub(0)
    hub.await_open()
    hub.feed([RawEvent(1, "syntor.events.run.a.run_done", b""), RawEvent(2, "syntor.events.run.c.user_input", b"")])
    hub.record_open({"a", "b"})
    assert hub.open_runs == 2  # b and c
    hub.feed([RawEvent(3, "syntor.events.run.b.run_failed", b"")])
    assert hub.open_runs == 1
